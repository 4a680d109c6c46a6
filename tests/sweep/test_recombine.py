"""Combinations of presets: composed from single changes, equal to Hydra's composition, and left to Hydra otherwise."""

import shutil
from itertools import product
from pathlib import Path

import pytest
from composing import Ask, composer_of, loader_of, replace
from omegaconf import open_dict
from processes import REPOSITORY

from sweeper.config import to_config
from sweeper.sweep.compose import Composed, Composer
from sweeper.sweep.expand import Job

SWEPT = {"model": ("mlp", "cnn"), "activation": ("relu", "selu", "leaky_relu"), "norm": ("none", "group")}
PRODUCT: list[Job] = [
    [f"{key}={value}" for key, value in zip(SWEPT, values, strict=True)] for values in product(*SWEPT.values())
]


@pytest.fixture
def composer(shared: Composer) -> Composer:
    """A composer that has composed nothing yet."""
    return Composer(shared.loader, shared.master)


@pytest.mark.parametrize("common", [[], ["experiment=p5_cnn_pool"], ["optimizer=sgd", "epochs=2"]], ids=str)
def test_a_product_needs_one_composition_for_each_preset(
    common: Job, composer: Composer, asked: list[Job], hydras: Ask
) -> None:
    composed = [composer([*common, *job]) for job in PRODUCT]
    assert len(asked) == 1 + 1 + 2 + 1
    assert composed == [hydras([*common, *job]) for job in PRODUCT]


def test_seeds_need_no_composition(composer: Composer, asked: list[Job], hydras: Ask) -> None:
    jobs = [["model=mlp", f"seed={seed}", "optimizer.lr=0.1"] for seed in (0, 1, 7)]
    assert [composer(job) for job in jobs] == [hydras(job) for job in jobs]
    assert len(asked) == 1
    for job in (["seed=1", "seed=2"], ["seed=4", "epochs=${seed}"], ["seed=1", "+sweep.name=seed"], ["seed=1.5"]):
        try:
            expected = hydras(job)
        except Exception as error:
            with pytest.raises(type(error)):
                composer(job)
        else:
            assert not isinstance(expected, Composed) or composer(job) == expected


# The text of each file; of config.yaml, what is added to it.
EDITS: dict[str, dict[str, str]] = {
    "no change": {},
    "a preset with defaults": {
        "activation/selu.yaml": "defaults:\n  - more\nname: selu\n",
        "activation/more.yaml": "# @package _global_\nepochs: 9\n",
    },
    "a preset of another package": {
        "activation/selu.yaml": "# @package _global_\nactivation: {name: selu}\nepochs: 9\n"
    },
    "a value that refers to another group": {
        "activation/selu.yaml": "name: leaky_relu\nnegative_slope: ${optimizer.lr}\n"
    },
    "defaults that refer to two groups": {
        "config.yaml": "  - optional pair: ${model}_${activation}\n",
        "pair/cnn_selu.yaml": "# @package _global_\nepochs: 9\n",
    },
    "a value that refers to the seed": {"config.yaml": "epochs: ${seed}\n"},
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_a_preset_does_beside_its_group_is_as_hydra_does_it(edit: str, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    for name, text in EDITS[edit].items():
        file = tmp_path / "conf" / name
        file.parent.mkdir(exist_ok=True)
        if name == "config.yaml":
            before = "  - _self_\n" if text.startswith("  - ") else "hydra:\n"
            replace(file, before, f"{text}{before}" if before == "hydra:\n" else f"{before}{text}")
        else:
            file.write_text(text)
    composer = composer_of(loader_of(tmp_path / "conf"))
    for model, activation, seed in product(("mlp", "cnn"), ("relu", "selu"), (3, 4)):
        job = [f"model={model}", f"activation={activation}", f"seed={seed}"]
        expected = composer.loader.load_sweep_config(composer.master, job)
        with open_dict(expected):
            del expected["hydra"]
        assert composer(job).config == to_config(expected), job

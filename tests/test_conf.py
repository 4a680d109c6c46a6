"""Every YAML file in conf/ composes, builds and trains a step, and has its function; every function has its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support import REPOSITORY, composed
from torchvision.models import resnet18

from sweeper.choice import SLOTS, keyword_only
from sweeper.cli import help_text
from sweeper.config import Config, settings, validate
from sweeper.data.augmentation import AUGMENTATIONS
from sweeper.data.cache import COMMON, load, prepare
from sweeper.data.sources import DATASETS
from sweeper.errors import UserError
from sweeper.models import MODELS
from sweeper.models.layers import ACTIVATIONS, DROPOUTS, NORMS
from sweeper.training.build import build, check, choose_all
from sweeper.training.loop import Progress, train_epoch
from sweeper.training.optimizers import OPTIMIZERS
from sweeper.training.schedules import SCHEDULERS

CONF = REPOSITORY / "conf"
GROUPS: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    "data": (DATASETS, COMMON),
    "model": (MODELS, ()),
    "optimizer": (OPTIMIZERS, ()),
    "scheduler": (SCHEDULERS, ()),
    "activation": (ACTIVATIONS, ()),
    "norm": (NORMS, ()),
    "dropout": (DROPOUTS, ()),
    "augmentation": (AUGMENTATIONS, ()),
}
FILES = [(path.parent.name, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_has_its_function_and_every_function_its_file(group: str) -> None:
    assert {name for where, name in FILES if where == group} == set(GROUPS[group][0])


@pytest.mark.parametrize(("group", "name"), FILES)
def test_a_file_sets_what_its_function_uses_and_no_more(group: str, name: str) -> None:
    functions, common = GROUPS[group]
    content = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert isinstance(content, dict)
    assert content.pop("name") == name
    content.pop("defaults", None)
    used = [key for key in keyword_only(functions[name]) if key not in SLOTS]
    assert sorted(content) == sorted([*used, *common])


def test_no_targets_in_our_groups() -> None:
    assert [path for group in GROUPS for path in (CONF / group).glob("*.yaml") if "_target_" in path.read_text()] == []


@pytest.mark.parametrize(
    "choice",
    [f"{group}={name}" for group, name in FILES if group != "data"] + [f"experiment={name}" for name in EXPERIMENTS],
)
def test_every_choice_trains_a_step(choice: str, small: list[str], tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(resnet18(weights=None).state_dict(), weights)
    pretrained = [f"model.weights={weights}"] if choice.endswith(("pretrained", "finetune")) else []
    config = composed(*small, choice, *pretrained)
    config.batch_size, config.data.val_size = 60, 58  # 62 images: one batch of 60 and one of 2
    validate(config)
    choices = choose_all(config)
    cached = prepare(config.data)
    check(config, choices, cached)
    built = build(config, choices, load(cached))
    before = [parameter.clone() for parameter in built.training.model.parameters()]
    progress = Progress()
    train_epoch(built.training, built.train, progress)
    assert (progress.batch, progress.seen) == (2, 62)
    assert any(not torch.equal(*pair) for pair in zip(before, built.training.model.parameters(), strict=True))


def test_digits_train_a_step(cache: Path) -> None:
    config = composed("data=digits", "model=softmax", f"data.cache={cache}")
    built = build(config, choose_all(config), load(prepare(config.data)))
    train_epoch(built.training, built.train, progress := Progress())
    assert progress.seen == 1300


def test_every_setting_says_what_it_means() -> None:
    assert all(item.metadata["help"] for _, item, _ in settings(Config()))
    assert all(key in help_text() for key, _, _ in settings(Config()))


@pytest.mark.parametrize("key", ["epochs", "seed", "optimizer.lr", "dropout.rate", "data.val_size"])
def test_a_value_that_is_not_finite_or_too_small_is_refused(key: str) -> None:
    for value in ("nan", "-1e9") if key in ("optimizer.lr", "dropout.rate") else ("-1000000000",):
        with pytest.raises(UserError, match=f"^{key}="):
            validate(composed(f"{key}={value}"))


@pytest.mark.parametrize(
    ("overrides", "norm"),
    [
        (("model=resnet18",), "batch"),
        (("model=resnet18", "norm=group"), "group"),
        (("model=resnet18", "norm=none"), "none"),
        (("model=mlp",), "none"),
        (("experiment=p8_resnet18_scratch",), "batch"),
    ],
)
def test_a_resnet_has_batch_norm_unless_asked_otherwise(overrides: tuple[str, ...], norm: str) -> None:
    assert composed(*overrides).norm.name == norm

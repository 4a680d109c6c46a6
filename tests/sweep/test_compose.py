"""Configs of a sweep's jobs: equal to Hydra's in any order, remembered ones as well as new ones."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from joblib.externals.loky import get_reusable_executor
from omegaconf import DictConfig, open_dict
from processes import REPOSITORY

from sweeper import config as schema
from sweeper.cli import register_schema
from sweeper.config import Config, from_plain, to_config
from sweeper.errors import UserError
from sweeper.sweep import compose
from sweeper.sweep.compose import Composed, Composer
from sweeper.sweep.expand import Job

JOBS: list[Job] = [
    [],
    ["model=mlp"],
    ["model=mlp_deep", "optimizer=sgd", "activation=selu", "norm=layer", "dropout=heavy", "optimizer.lr=0.5"],
    ["data=digits", "augmentation=cutout", "scheduler=onecycle"],
    ["augmentation=flip", "augmentation.cutout=4", "mixing=none", "init=lecun_normal"],
    ["select=val_loss"],
    ["model=resnet18", "norm=none"],
    ["norm=group", "model=resnet18"],
    ["epochs=3", "seed=1", "output_dir=elsewhere"],
    ["optimizer=momentum", "optimizer.lr=0.1"],
    ["optimizer=momentum", "optimizer.lr=0.2"],
    ["optimizer.lr=0.1", "optimizer=momentum"],
    ["optimizer.nesterov=true", "optimizer=momentum", "optimizer.momentum=0"],
    ["optimizer.name=sgd"],
    ["experiment=p1_softmax"],
    ["experiment=p8_resnet18_scratch", "epochs=2"],
    ["epochs=2", "experiment=p8_resnet18_scratch", "model.stem=cifar"],
    ["model=softmax", "experiment=p2_mlp"],
    ["data.root='a b'"],
    ["data.root='x,y'"],
    ["data.root=a\\,b"],
    ["data.root='it\\'s'"],
    ["data.root="],
    ["epochs='3'"],
    ["seed=007"],
    ["optimizer.lr=1e-3", "optimizer.weight_decay=0"],
    ["optimizer.lr=inf"],
    ["model=mlp", "model.hidden=[8,4]"],
    ["model=mlp", "model.hidden=[]"],
    ["model=mlp", "model.hidden=null"],
    ["model=mlp", "batch_size=2"],
    ["data.mean.1=0.25"],
    ["sweep.exclude=[{model:mlp,epochs:null},{seed:1}]", "sweep.zip=[[model,optimizer]]"],
    ["sweep={name:x,dry_run:true}"],
    ["sweep.name=null", "patience=null", "data.val_size=null"],
    ["sweep.name=5"],
    ["sweep.name=${model.name}", "model=mlp"],
    ["epochs=${seed}", "seed=4"],
    ["epochs=int(3.7)"],
    ["++epochs=3"],
    ["++optimizer.lr=0.3", "optimizer=sgd"],
    ["~epochs"],
    ["~dropout"],
]
SIMPLE = [job for job in JOBS if not any(override.startswith(("+", "~")) for override in job)]
REMEMBERED = [job for job in JOBS if not any("${" in override for override in job)]

WRONG: list[Job] = [
    ["model=zz"],
    ["model=MLP", "epochs=many"],
    ["model=mlp,cnn"],
    ["mdel=mlp"],
    ["extra=1"],
    ["model.hiden=[3]"],
    ["sweep={nme:x}"],
    ["++extra=1"],
    ["+epochs=3"],
    ["+model=mlp"],
    ["~extra"],
    ["norm@elsewhere=batch"],
    ["epochs@elsewhere=3"],
    ["epochs=many"],
    ["epochs=1.5"],
    ["epochs=1,2"],
    ["epochs=null"],
    ["optimizer=sgd", "optimizer.lr=fast"],
    ["optimizer.lr.x=1"],
    ["optimizer.betas=3"],
    ["sweep.exclude={model:mlp}"],
    ["dropout=0.3"],
    ["optimizer=null"],
    ["epochs=${nothing}"],
    ["data.root=${oc.env:SWEEPER_TEST_UNSET}"],
]

GROUPS = [item.name for item in fields(Config) if "help" not in item.metadata and item.name != "sweep"]

Ask = Callable[[Job], Any]


class Asked(Exception):
    """Hydra was asked to compose a remembered config."""


def loader_of(conf: Path) -> Any:
    """Hydra's loader of a folder of YAML files."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()
    return loader


def composer_of(loader: Any, *overrides: str) -> Composer:
    """The composer of a sweep whose command line begins with these overrides."""
    return Composer(loader, loader.load_configuration("config", ["data=digits", *overrides], RunMode.MULTIRUN))


@pytest.fixture(scope="module")
def loader() -> Any:
    return loader_of(REPOSITORY / "conf")


@pytest.fixture(scope="module")
def shared(loader: Any) -> Composer:
    return composer_of(loader)


@pytest.fixture
def composer(shared: Composer) -> Composer:
    """A composer that has composed nothing yet."""
    return Composer(shared.loader, shared.master)


def outcome(ask: Ask, job: Job) -> Any:
    """The composed config, or everything that may be reported to the user instead."""
    try:
        return ask(job)
    except Exception as error:
        inner = error.__cause__
        return type(error), str(error), type(inner), str(inner), getattr(inner or error, "full_key", None)


@pytest.fixture(scope="module")
def hydras(shared: Composer) -> Ask:
    """The config of a job, and the preset of each group, as Hydra composes it by itself."""

    def whole(job: Job) -> Composed:
        composed: Any = shared.loader.load_sweep_config(shared.master, job)
        presets = {group: composed.hydra.runtime.choices.get(group) for group in GROUPS}
        with open_dict(composed):
            del composed["hydra"]
        return Composed(to_config(composed), {group: preset for group, preset in presets.items() if preset})

    known = cache(lambda text: outcome(whole, json.loads(text)))
    return lambda job: known(json.dumps(job))


@pytest.fixture
def asked(loader: Any, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Record the jobs that Hydra is asked to compose."""
    jobs: list[Job] = []
    original = loader.load_sweep_config

    def spy(master: DictConfig, job: Job) -> Any:
        jobs.append(job)
        return original(master, job)

    monkeypatch.setattr(loader, "load_sweep_config", spy)
    return jobs


def refuse(*_: Any, **__: Any) -> None:
    raise Asked


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_config_is_the_one_that_hydra_composes(job: Job, shared: Composer, hydras: Ask) -> None:
    composed = shared(job)
    assert isinstance(composed, Composed)
    assert composed == hydras(job)
    assert shared(job) == composed


@pytest.mark.parametrize("job", WRONG, ids=" ".join)
def test_an_error_is_hydras(job: Job, shared: Composer, hydras: Ask) -> None:
    expected = hydras(job)
    assert isinstance(expected, tuple)
    assert outcome(shared, job) == outcome(shared, job) == expected


def test_no_job_depends_on_those_before_it(composer: Composer, hydras: Ask) -> None:
    for job in reversed([*JOBS[::2], *WRONG[::4], *JOBS[::5]]):
        assert outcome(composer, job) == hydras(job), job


def test_the_jobs_differ(hydras: Ask) -> None:
    assert len({repr(hydras(job)) for job in JOBS}) > 37


def test_groups_are_composed_once_for_all_values(composer: Composer, asked: list[Job]) -> None:
    for model in ("mlp", "cnn"):
        for lr in ("0.1", "0.2", "0.3"):
            composer([f"optimizer.lr={lr}", f"model={model}", "epochs=2"])
    assert asked == [["model=mlp"], ["model=cnn"]]


def test_a_changed_config_changes_no_later_config(composer: Composer, hydras: Ask) -> None:
    filled = composer(["model=mlp"])
    filled.config.data.val_size, filled.config.model.hidden, filled.config.epochs = 7, None, 7
    filled.presets["model"] = "cnn"
    assert composer(["model=mlp"]) == hydras(["model=mlp"]) != filled
    assert composer(["model=mlp", "seed=0"]) == hydras(["model=mlp"])


def test_changed_lists_change_no_later_config(composer: Composer, hydras: Ask) -> None:
    job = ["model=mlp", "sweep.exclude=[{model:mlp}]", "sweep.zip=[[model,optimizer]]"]
    changed = composer(job)
    assert changed.config.model.hidden is not None
    changed.config.model.hidden.append(7)
    changed.config.sweep.exclude[0]["model"] = "cnn"
    changed.config.sweep.zip[0].append("seed")
    assert composer(job) == hydras(job) != changed


def test_a_config_of_plain_values_is_equal_and_independent() -> None:
    config = Config(epochs=7, grad_clip=0.5)
    config.model.hidden, config.sweep.exclude = [8, 4], [{"model": "mlp", "seeds": [1]}]
    values = asdict(config)
    found = from_plain(values)
    assert found == config
    assert found.model.hidden is not None
    found.model.hidden.clear()
    found.sweep.exclude[0]["seeds"].clear()
    assert values == asdict(config)
    assert from_plain(values) == config


def test_an_experiment_that_defines_a_sweep_cannot_be_swept_over(loader: Any, composer: Composer, hydras: Ask) -> None:
    job = ["experiment=o8_activations", "model=mlp", "activation=selu"]
    for swept in (job, ["experiment=o8_activations"], [*job, "++epochs=2"]):
        with pytest.raises(UserError, match="an experiment that defines its own sweep cannot be swept over"):
            composer(swept)
    assert composer_of(loader, "experiment=o8_activations")(job) == hydras(job)


def test_remembered_configs_equal_the_saved_configs_without_hydra(
    shared: Composer, hydras: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composer = shared
    for job in JOBS:
        composer(job)
    expected = [hydras(job) for job in REMEMBERED]
    monkeypatch.setattr(shared.loader, "load_sweep_config", refuse)
    for _ in range(2):  # remembered configs are saved again
        composer.save(tmp_path / "configs.json")
        composer = Composer(shared.loader, shared.master)
        composer.remember(tmp_path / "configs.json")
        assert [composer(job) for job in REMEMBERED] == expected
        for job in (["model=mlp", "activation=tanh"], *(job for job in JOBS if job not in REMEMBERED)):
            with pytest.raises(Asked):
                composer(job)


def test_a_changed_remembered_config_is_saved_unchanged(composer: Composer, hydras: Ask, tmp_path: Path) -> None:
    composer(["model=mlp"])
    composer.save(tmp_path / "configs.json")
    again = Composer(composer.loader, composer.master)
    again.remember(tmp_path / "configs.json")
    filled = again(["model=mlp"])
    assert filled.config.model.hidden is not None
    filled.config.data.val_size, filled.config.model.hidden[:] = 7, [7]
    assert again(["model=mlp"]) == hydras(["model=mlp"])
    again.save(tmp_path / "configs.json")
    assert json.loads((tmp_path / "configs.json").read_text())["configs"] == composer.composed


def assert_composed_again(composer: Composer, file: Path, asked: list[Job], hydras: Ask) -> None:
    asked.clear()
    composer.remember(file)
    assert composer(["model=mlp"]) == hydras(["model=mlp"])
    assert asked == [["model=mlp"]]


def saved(composer: Composer, file: Path) -> str:
    """The configs.json of a plan of a single job."""
    fresh = Composer(composer.loader, composer.master)
    fresh(["model=mlp"])
    fresh.save(file)
    return file.read_text()


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -2])
def test_a_torn_file_is_not_used(kept: int, composer: Composer, asked: list[Job], hydras: Ask, tmp_path: Path) -> None:
    text = saved(composer, tmp_path / "configs.json")
    (tmp_path / "configs.json").write_text(text[:kept])
    assert_composed_again(composer, tmp_path / "configs.json", asked, hydras)


def test_a_missing_file_is_not_used(composer: Composer, asked: list[Job], hydras: Ask, tmp_path: Path) -> None:
    assert_composed_again(composer, tmp_path / "configs.json", asked, hydras)


@pytest.mark.parametrize("change", [{"schema": 1}, {"schema": 3}, {"sources": "0" * 64}, {"sources": None}], ids=str)
def test_a_file_of_another_version_or_of_other_sources_is_not_used(
    change: dict[str, Any], composer: Composer, asked: list[Job], hydras: Ask, tmp_path: Path
) -> None:
    text = saved(composer, tmp_path / "configs.json")
    (tmp_path / "configs.json").write_text(json.dumps(json.loads(text) | change))
    assert_composed_again(composer, tmp_path / "configs.json", asked, hydras)


def test_configs_of_other_overrides_of_hydra_are_not_used(
    loader: Any, composer: Composer, asked: list[Job], hydras: Ask, tmp_path: Path
) -> None:
    saved(composer, tmp_path / "configs.json")
    other = composer_of(loader, "hydra.job.name=other")
    assert_composed_again(other, tmp_path / "configs.json", asked, hydras)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ to change, whose model=mlp takes its weights from the environment."""
    shutil.copytree(REPOSITORY / "conf", tmp_path / "conf")
    variables = "weights: ${oc.env:SWEEPER_TEST_ONE}-${oc.env:SWEEPER_TEST_TWO,none}\n"
    replace(tmp_path / "conf/model/mlp.yaml", "name: mlp\n", f"name: mlp\n{variables}")
    monkeypatch.setenv("SWEEPER_TEST_ONE", "first")
    monkeypatch.delenv("SWEEPER_TEST_TWO", raising=False)
    return tmp_path / "conf"


Change = Callable[[Path, pytest.MonkeyPatch], object]
CHANGES: dict[str, Change] = {
    "a value in a group": lambda conf, patch: replace(conf / "model/mlp.yaml", "[1024]", "[512]"),
    "a value in config.yaml": lambda conf, patch: replace(conf / "config.yaml", "hydra:", "epochs: 9\nhydra:"),
    "a new file": lambda conf, patch: (conf / "model/other.yaml").write_text("name: mlp\n"),
    "a removed file": lambda conf, patch: (conf / "model/cnn.yaml").unlink(),
    "a file's name": lambda conf, patch: (conf / "model/cnn.yaml").rename(conf / "model/cn.yaml"),
    "a variable": lambda conf, patch: patch.setenv("SWEEPER_TEST_ONE", "second"),
    "a variable with a default": lambda conf, patch: patch.setenv("SWEEPER_TEST_TWO", "second"),
    "a version": lambda conf, patch: patch.setattr(compose, "version", lambda name: f"{name} 9"),
    "the schema": lambda conf, patch: patch.setattr(schema, "__file__", str(conf / "model/mlp.yaml")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_configs_are_not_used_when_a_source_has_changed(
    change: str, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, loader = conf.parent / "configs.json", loader_of(conf)
    composer = composer_of(loader)
    before = composer(["model=mlp"])
    composer.save(file)
    composer.remember(file)
    assert len(composer.remembered) == 1
    CHANGES[change](conf, monkeypatch)
    again = composer_of(loader)
    again.remember(file)
    assert not again.remembered
    assert (again(["model=mlp"]) == before) == ("value" not in change and "variable" not in change)


def test_configs_are_used_when_something_else_has_changed(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, loader = conf.parent / "configs.json", loader_of(conf)
    composer = composer_of(loader)
    before = composer(["model=mlp"])
    composer.save(file)
    monkeypatch.setenv("SWEEPER_TEST_OTHER", "x")
    (conf / "notes.txt").write_text("x")
    (conf / "model/mlp.yaml").touch()
    again = composer_of(loader, "epochs=3")
    again.remember(file)
    monkeypatch.setattr(loader, "load_sweep_config", refuse)
    assert again(["model=mlp"]) == before


@pytest.mark.parametrize("value", ["${oc.env:SWEEPER_TEST_ROOT}", "'${oc.env:SWEEPER_TEST_ROOT}'"])
def test_a_variable_in_a_job_is_read_again(
    value: str, composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ["model=mlp", f"data.root={value}"]
    monkeypatch.setenv("SWEEPER_TEST_ROOT", "first")
    assert composer(job).config.data.root == "first"
    composer.save(tmp_path / "configs.json")
    monkeypatch.setenv("SWEEPER_TEST_ROOT", "second")
    again = Composer(composer.loader, composer.master)
    again.remember(tmp_path / "configs.json")
    assert again(job).config.data.root == "second"


def test_jobs_next_to_a_job_with_an_interpolation_are_remembered(composer: Composer, tmp_path: Path) -> None:
    for job in (["model=mlp"], ["epochs=${seed}"], ["model=cnn"]):
        composer(job)
    composer.save(tmp_path / "configs.json")
    again = Composer(composer.loader, composer.master)
    again.remember(tmp_path / "configs.json")
    assert list(again.remembered) == ['["model=mlp"]', '["model=cnn"]']


@pytest.fixture(scope="module")
def processes() -> Iterator[None]:
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("processes")
def test_groups_composed_in_other_processes_are_the_same(
    loader: Any, composer: Composer, hydras: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "PARALLEL_FROM", 2)
    composer.compose_groups([*WRONG[:2], *JOBS])
    needed = {groups for groups, _, is_simple in map(composer.split, JOBS) if is_simple}
    assert needed <= composer.by_groups.keys()
    assert not any("zz" in text for groups in composer.by_groups for text in groups)
    assert outcome(composer, WRONG[0]) == hydras(WRONG[0])
    expected = [hydras(job) for job in SIMPLE]
    monkeypatch.setattr(loader, "load_sweep_config", refuse)
    assert [composer(job) for job in SIMPLE] == expected


def test_few_or_remembered_groups_need_no_other_processes(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [[f"model={model}", f"epochs={epochs}"] for model in ("mlp", "cnn", "softmax") for epochs in (1, 2)]
    monkeypatch.setattr(compose, "PARALLEL_FROM", 4)
    composer.compose_groups([*jobs, ["++model=cnn_pool"], ["~dropout"]])
    assert not composer.by_groups
    for job in jobs:
        composer(job)
    composer.save(tmp_path / "configs.json")
    again = Composer(composer.loader, composer.master)
    again.remember(tmp_path / "configs.json")
    monkeypatch.setattr(compose, "PARALLEL_FROM", 1)
    monkeypatch.setattr(joblib, "Parallel", refuse)
    again.compose_groups(jobs)
    assert not again.by_groups
    with pytest.raises(Asked):
        again.compose_groups([*jobs, ["model=mlp_deep"]])

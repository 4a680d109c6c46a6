"""Configs of an earlier plan: equal to Hydra's, and not used where a source has changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from composing import JOBS, REMEMBERED, Ask, Asked, composer_of, loader_of, refuse, replace
from processes import REPOSITORY

from sweeper.sweep import compose
from sweeper.sweep.compose import Composer
from sweeper.sweep.expand import Job


@pytest.fixture
def composer(shared: Composer) -> Composer:
    """A composer that has composed nothing yet."""
    return Composer(shared.loader, shared.master)


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
    "the schema": lambda conf, patch: patch.setattr(compose, "SCHEMA", [conf / "model/mlp.yaml"]),
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

"""Configs of a sweep's jobs: equal to Hydra's in any order."""

from dataclasses import asdict
from typing import Any

import pytest
from composing import JOBS, WRONG, Ask, composer_of, outcome

from sweeper.config import Config, from_plain
from sweeper.errors import UserError
from sweeper.sweep.compose import Composed, Composer
from sweeper.sweep.expand import Job


@pytest.fixture
def composer(shared: Composer) -> Composer:
    """A composer that has composed nothing yet."""
    return Composer(shared.loader, shared.master)


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

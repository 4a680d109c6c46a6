"""Fixtures of the tests of sweeps."""

import json
from functools import cache
from typing import Any

import pytest
from composing import GROUPS, Ask, composer_of, loader_of, outcome
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from processes import REPOSITORY

from sweeper.config import to_config
from sweeper.sweep.compose import Composed, Composer
from sweeper.sweep.expand import Job


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rich see no terminal in a file, whatever the tests run in."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)


@pytest.fixture(scope="session")
def composer(loader: Any) -> Composer:
    """The composer of a sweep from the repository's configs."""
    return Composer(loader, loader.load_configuration("config", [], RunMode.MULTIRUN))


@pytest.fixture(scope="session")
def loader() -> Any:
    return loader_of(REPOSITORY / "conf")


@pytest.fixture(scope="session")
def shared(loader: Any) -> Composer:
    return composer_of(loader)


@pytest.fixture(scope="session")
def hydras(shared: Composer) -> Ask:
    """The config of a job, and the preset of each group, as Hydra composes it by itself; `asked` has none of them."""
    load = shared.loader.load_sweep_config

    def whole(job: Job) -> Composed:
        composed: Any = load(shared.master, job)
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

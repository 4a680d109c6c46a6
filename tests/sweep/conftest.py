"""Fixtures of the tests of sweeps."""

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from processes import REPOSITORY

from sweeper.cli import register_schema
from sweeper.sweep.compose import Composer


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rich see no terminal in a file, whatever the tests run in."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)


@pytest.fixture(scope="module")
def composer() -> Composer:
    """The composer of a sweep from the repository's configs."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    GlobalHydra.instance().clear()
    return Composer(loader, loader.load_configuration("config", [], RunMode.MULTIRUN))

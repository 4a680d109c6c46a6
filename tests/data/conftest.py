"""Fixtures of the tests of data: an image folder that a test may change, its config, and what was decoded."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import sweeper.data.cache
import sweeper.errors
from sweeper.data.cache import Cached
from sweeper.data.source import Source
from sweeper.groups import DataConfig


@pytest.fixture
def root(image_root: Path, tmp_path: Path) -> Path:
    """A copy of the small images that a test may change; modification times are kept."""
    return Path(shutil.copytree(image_root, tmp_path / "images"))


@pytest.fixture
def config(root: Path, tmp_path: Path) -> DataConfig:
    cache = str(tmp_path / "cache")
    return DataConfig(
        "image_folder", str(root), cache, image_size=8, channels=3, val_size=24, mean=[0.5] * 3, std=[0.25] * 3
    )


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cache folders that the test has decoded into, an entry for each time; decoding itself is unchanged."""
    folders: list[Path] = []
    decode = sweeper.data.cache.decode

    def recorded(source: Source, folder: Path, *, broken: bool = False) -> Cached:
        folders.append(folder)
        return decode(source, folder, broken=broken)

    monkeypatch.setattr(sweeper.data.cache, "decode", recorded)
    return folders


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what was reported since the last call."""
    sweeper.errors.WARNED.clear()

    def text() -> str:
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return "\n".join(lines)

    return text

"""Fixtures of files with choices from outside of the package."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from extended import TRICKS, undone

from sweeper.runs.extensions import load


@pytest.fixture
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and forget afterwards what is loaded."""
    monkeypatch.chdir(tmp_path)
    with undone():
        yield


@pytest.fixture
def tricks(nothing_stays: None) -> None:
    """Load my_tricks.py."""
    Path("my_tricks.py").write_text(TRICKS)
    load(["my_tricks.py"])

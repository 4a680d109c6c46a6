"""Copies of trained runs."""

import shutil
from pathlib import Path

import pytest

from sweeper.runs.directory import RunDirectory


@pytest.fixture
def records(trained: Path, tmp_path: Path) -> dict[str, RunDirectory]:
    """Return copies of the runs, which a test may change, by the names of their models."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    found = [RunDirectory(folder) for folder in (tmp_path / "runs").iterdir()]
    return {record.run_id.partition("-")[0]: record for record in found}

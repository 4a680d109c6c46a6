"""Two finished runs on the small images, trained in this process."""

import shutil
from pathlib import Path

import pytest
import torch
from support import composed

from sweeper.runs.directory import RunDirectory
from sweeper.runs.run import Job, run


@pytest.fixture(scope="session")
def trained(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an output folder with a softmax and a convolutional network; do not change it."""
    threads = torch.get_num_threads()
    output_dir = tmp_path_factory.mktemp("trained")
    for model in (["model=softmax", "optimizer.lr=0.0003"], ["model=cnn", "norm=batch", "model.channels=[4]"]):
        run(composed(*small, *model, "epochs=1", f"output_dir={output_dir}"), Job("python train.py model=small"))
    torch.set_num_threads(threads)
    return output_dir


@pytest.fixture
def records(trained: Path, tmp_path: Path) -> dict[str, RunDirectory]:
    """Return copies of the runs, which a test may change, by the names of their models."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    found = [RunDirectory(folder) for folder in (tmp_path / "runs").iterdir()]
    return {record.run_id.partition("-")[0]: record for record in found}

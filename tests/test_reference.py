"""Small runs without augmentation train to the bits of version 0.1, on this machine."""

import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from processes import REPOSITORY
from reference import save_weights, trained

VERSION_01 = "731480a8506a30f50139fe67f3f9fb587e7d20a2"


def test_weights_and_metrics_are_those_of_version_01(tmp_path: Path) -> None:
    archive = subprocess.run(["git", "archive", VERSION_01], cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip("the history of this checkout does not have version 0.1")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path / "program", filter="data")
    weights = tmp_path / "weights.pt"
    save_weights(weights)
    with ThreadPoolExecutor() as pool:
        before = pool.submit(trained, tmp_path / "program", tmp_path / "before", weights)
        now = pool.submit(trained, REPOSITORY, tmp_path / "now", weights)
        assert now.result() == before.result()

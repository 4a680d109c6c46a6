"""A recorded run is evaluated elsewhere: without its GPU, with images or outputs that moved, as a copy."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, composed

from sweeper.errors import UserError
from sweeper.files import read_json, write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere
from sweeper.runs.evaluate import evaluate_run
from sweeper.runs.job import Job
from sweeper.runs.provenance import command_of
from sweeper.runs.run import run


@pytest.fixture(scope="module")
def images(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images to move."""
    return Path(shutil.copytree(image_root, tmp_path_factory.mktemp("moved") / "images"))


@pytest.fixture(scope="module")
def finished(small: list[str], images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run on these images."""
    folder = tmp_path_factory.mktemp("outputs")
    run(composed(*small, *TINY, "epochs=1", f"data.root={images}", f"output_dir={folder}"), Job("python train.py"))
    (directory,) = (folder / "runs").iterdir()
    return directory


@pytest.fixture
def record(finished: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the run, to change."""
    return RunDirectory(Path(shutil.copytree(finished, tmp_path / "runs" / finished.name)))


def change(record: RunDirectory, **changes: Any) -> None:
    described = record.run() or {}
    config = described["config"] | changes.pop("config", {})
    write_json(record.folder / "run.json", described | {"config": config} | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_run_of_a_gpu_is_evaluated_on_a_cpu_and_says_so(device: str, record: RunDirectory) -> None:
    change(record, config={"device": device}, device_type="cuda")
    evaluation = evaluate_run(record)
    assert (evaluation.recorded_device, evaluation.device_type) == ("cuda", "cpu")
    assert (evaluation.test_score, evaluation.num_changed) == (evaluation.recorded_score, 0)


def test_images_that_moved_are_found_by_their_new_folder(record: RunDirectory, images: Path, tmp_path: Path) -> None:
    moved = images.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(UserError, match=rf"^the images of softmax-\S+ are not in {images}; give data\.root=DIR$"):
            evaluate_run(record)
        evaluation = evaluate_run(record, Elsewhere({"root": str(moved)}))
        with pytest.raises(UserError, match=r"data\.root=.*/nowhere: folder not found; expected [^;]*$"):
            evaluate_run(record, Elsewhere({"root": str(tmp_path / "nowhere")}))
        other = shutil.copytree(moved, tmp_path / "other")
        (other / "test" / "ant" / "000.png").unlink()
        with pytest.raises(UserError, match=r"images differ from those that .* was trained on"):
            evaluate_run(record, Elsewhere({"root": str(other)}))
    finally:
        moved.rename(images)
    assert evaluation.test_score == evaluation.recorded_score


def test_a_backup_is_evaluated_by_its_path(record: RunDirectory) -> None:
    backup = record.folder.rename(record.folder.with_name(f"{record.run_id}.bak"))
    assert evaluate_run(RunDirectory(backup)).num_changed == 0


def test_advice_names_the_folder_where_the_run_is_now(finished: Path, record: RunDirectory, tmp_path: Path) -> None:
    assert command_of(RunDirectory(finished)) == "python train.py"
    assert command_of(record) == f"python train.py output_dir={tmp_path}"
    record.best.unlink()
    with pytest.raises(UserError, match=rf"retrain with: python train\.py output_dir={tmp_path} sweep\.reuse=none$"):
        evaluate_run(record)


def test_a_resumed_run_says_that_its_device_is_another(
    small: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = composed(*small, *TINY, "epochs=1", f"output_dir={tmp_path}")
    run(config, Job("python train.py"))
    (folder,) = (tmp_path / "runs").iterdir()
    record = RunDirectory(folder)
    change(record, device="NVIDIA H100", device_type="cuda")
    here = (read_json(folder / "run.json") or {})["host"]
    record.write_status(state="interrupted", attempt=1, epoch=2, step=0, error=None)
    run(config, Job("python train.py"))
    assert "began with device=NVIDIA H100, resuming with " in caplog.text
    assert f"host={here}" not in caplog.text

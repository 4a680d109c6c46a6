"""Damaged, foreign and hostile files in a run's directory are noticed and reported, and nothing else is lost."""

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, Train, assert_equal, finish, outcome, start, the_run, wait_for_epoch

from sweeper.runs import checkpoint


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGED = ["model=mlp", "model.hidden=[16]", "norm=batch", "epochs=25", "optimizer=momentum"]


@pytest.fixture(scope="module")
def undamaged(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undamaged")
    finish(start([*small, *DAMAGED], folder))
    return outcome(the_run(folder))


@pytest.mark.parametrize(
    ("damage", "files"),
    [
        (cut_short, ["last.pt"]),
        (flip_a_byte, ["last.pt", "previous_last.pt"]),
        (flip_a_byte, ["best.pt"]),
        (Path.unlink, ["last.pt"]),
        (Path.unlink, ["best.pt", "previous_best.pt"]),
    ],
)
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    damage: Any, files: list[str], undamaged: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    overrides = [*small, *DAMAGED]
    process = start(overrides, tmp_path)
    wait_for_epoch(process, tmp_path)
    time.sleep(0.05)  # for a checkpoint before the last
    process.kill()
    process.communicate()
    run = the_run(tmp_path)
    if (run / "result.json").exists():
        pytest.skip("the run ended before it could be killed")
    for name in files:
        if (run / "checkpoints" / name).exists():
            damage(run / "checkpoints" / name)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 99, "val_a')  # torn, as by a crash
    finish(start(overrides, tmp_path))
    assert_equal(outcome(run), undamaged)


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_hostile_checkpoint_is_refused_and_not_executed(with_checksum: bool, train: Train, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(canary),)

    train(*TINY, "epochs=2")
    run = the_run(tmp_path)
    (run / "result.json").unlink()
    last = run / "checkpoints" / "last.pt"
    torch.save({"format": 2, "model": Hostile()}, last)
    if with_checksum:
        last.write_bytes(last.read_bytes() + hashlib.sha256(last.read_bytes()).digest())
    again = train(*TINY, "epochs=2")
    assert not canary.exists()
    assert again.returncode == 1
    sentence = (
        "contains objects other than tensors and plain values" if with_checksum else "was not written by this program"
    )
    assert f"last.pt {sentence}" in again.stderr


def test_a_checkpoint_of_another_run_is_refused(train: Train, tmp_path: Path) -> None:
    train(*TINY, "epochs=1", "seed=1")
    other = the_run(tmp_path) / "checkpoints" / "last.pt"
    train(*TINY, "epochs=1", "seed=2")
    (run,) = (tmp_path / "outputs" / "runs").glob("*-s2-*")
    (run / "result.json").unlink()
    shutil.copy(other, run / "checkpoints" / "last.pt")
    again = train(*TINY, "epochs=1", "seed=2")
    assert again.returncode == 1
    assert "is a checkpoint of softmax-sgd-image_folder-s1-" in again.stderr


def test_a_checkpoint_of_version_0_1_is_refused(train: Train, tmp_path: Path) -> None:
    train(*TINY, "epochs=1")
    run = the_run(tmp_path)
    (run / "result.json").unlink()
    checkpoint.save(run / "checkpoints" / "last.pt", {"format": 1, "run_id": run.name, "model": {}})
    again = train(*TINY, "epochs=1")
    assert again.returncode == 1
    assert "last.pt is not a checkpoint of this program (format 2); delete it" in again.stderr
    assert "Traceback" not in again.stderr


def test_damaged_metrics_do_not_change_a_finished_run(train: Train, tmp_path: Path) -> None:
    train(*TINY, "epochs=3")
    run = the_run(tmp_path)
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:20])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = train(*TINY, "epochs=3")
    assert again.returncode == 0
    assert "already finished" in again.stdout
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["result.json", "predictions.npz"])
def test_lost_files_of_a_finished_run_are_written_again(name: str, train: Train, tmp_path: Path) -> None:
    train(*TINY, "epochs=3")
    run = the_run(tmp_path)
    before = outcome(run)
    (run / name).unlink()
    again = train(*TINY, "epochs=3")
    assert again.returncode == 0, again.stderr
    assert "epoch 1/3" not in again.stdout  # nothing is trained again
    assert_equal(outcome(run), before)


def test_weights_of_unknown_code_are_kept_apart(train: Train, tmp_path: Path) -> None:
    train(*TINY, "epochs=3")
    run = the_run(tmp_path)
    before = outcome(run)
    (run / "run.json").unlink()
    again = train(*TINY, "epochs=3")
    assert again.returncode == 0, again.stderr
    assert "stale (run.json changed); retraining" in again.stdout
    assert (tmp_path / "outputs" / "stale" / f"{run.name}.1" / "checkpoints" / "last.pt").exists()
    assert_equal(outcome(run), before)

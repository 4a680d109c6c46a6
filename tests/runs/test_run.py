"""A run from its command to its files, in real processes."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import REPOSITORY, Program, environment
from support import (
    CLASSES,
    TEST_IMAGES,
    TINY,
    Train,
    assert_equal,
    copy_program,
    finish,
    outcome,
    rows,
    start,
    status,
    the_run,
    train_copy,
    wait_for_epoch,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweeper.files import read_json
from sweeper.runs.fingerprint import code_of


def test_a_finished_run_has_all_its_files_and_is_reused(train: Train, tmp_path: Path) -> None:
    first = train(*TINY, "epochs=3")
    assert first.returncode == 0, first.stderr
    run = the_run(tmp_path)
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
    hydra = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
    binary = {"checkpoints/best.pt", "checkpoints/last.pt", "predictions.npz", "samples.npz"}
    assert names == {"run.json", "status.json", "metrics.jsonl", "result.json", "train.log", *hydra, *binary}
    assert status(run)["state"] == "finished"
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    again = train("epochs=3", *reversed(TINY))
    assert again.returncode == 0
    assert "already finished" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_the_records_of_a_run(train: Train, tmp_path: Path) -> None:
    train("model=mlp_deep", "model.hidden=[16,8]", "dropout=light", "augmentation=flip", "epochs=3", "select=val_loss")
    run = the_run(tmp_path)
    described, result, metrics = read_json(run / "run.json"), read_json(run / "result.json"), rows(run)
    assert described is not None and result is not None
    assert described.keys() == {
        "schema", "run_id", "created", "command", "config", "effective", "labels", "code", "git", "versions", "host",
        "device", "device_type", "threads", "dataset", "parameters", "trainable_parameters",
    }  # fmt: skip
    assert described["run_id"] == run.name
    assert described["effective"]["model"] == {"name": "mlp", "hidden": [16, 8]}
    assert described["effective"]["dropout"] == {"rate": 0.1}
    assert described["effective"]["augmentation"] == {"flip": "random"}
    labels = {"dropout": "light", "augmentation": "flip", "optimizer": "adam"}
    assert described["labels"].items() >= labels.items()
    assert "model" not in described["labels"]  # no preset has these settings
    assert described["code"] == code_of(described["effective"])
    assert described["dataset"]["classes"] == list(CLASSES)
    assert [row["epoch"] for row in metrics] == [1, 2, 3]
    assert {key for row in metrics for key in row} == {
        "epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_balanced_acc", "val_macro_f1", "lr",
        "train_seconds", "eval_seconds", "images_per_second",
    }  # fmt: skip
    assert result.keys() == {
        "schema", "select", "best_val_acc", "best_epoch", "test_acc", "test_loss", "test_balanced_acc", "test_macro_f1",
        "test_top5_acc", "test_ece", "epochs", "train_seconds", "eval_seconds", "confusion",
    }  # fmt: skip
    best = min(metrics, key=lambda row: float(row["val_loss"]))
    assert (result["select"], result["best_epoch"]) == ("val_loss", best["epoch"])
    assert result["best_val_acc"] == best["val_acc"]
    assert result["epochs"] == 3
    assert sum(map(sum, result["confusion"])) == len(CLASSES) * TEST_IMAGES


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_next_step_and_the_same_command_resumes(
    which: signal.Signals, small: list[str], tmp_path: Path
) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[64]", "dropout=light", "epochs=60"]
    whole = start(overrides, tmp_path / "whole")
    process = start(overrides, tmp_path / "cut")
    wait_for_epoch(process, tmp_path / "cut")
    process.send_signal(which)
    output, _ = process.communicate(timeout=60)
    run = the_run(tmp_path / "cut")
    assert process.returncode == 128 + which, output
    assert status(run)["state"] == "interrupted"
    assert "Traceback" not in output
    assert "rerun the same command to resume" in output
    assert "resuming at epoch" in finish(start(overrides, tmp_path / "cut"))
    assert status(run)["attempt"] == 2
    finish(whole)
    assert_equal(outcome(run), outcome(the_run(tmp_path / "whole")))


def test_a_second_ctrl_c_in_a_terminal_stops_immediately(small: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "train.py"), *small, "model=mlp", "epochs=100000"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(command[0], command, environment())
    shown = b""
    while b"epoch 3" not in shown:  # the progress bar
        shown += os.read(terminal, 65536)
    os.write(terminal, b"\x03\x03")
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # the terminal's other end is closed
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) == 130
    assert status(the_run(tmp_path))["state"] == "interrupted"
    assert b"Traceback" not in shown


def test_a_run_whose_loss_is_not_finite_is_diverged_and_stays_so(train: Train, tmp_path: Path) -> None:
    first = train("model=mlp", "optimizer=sgd", "optimizer.lr=1e30", "epochs=2")
    assert first.returncode == 1
    assert re.search(r"error: mlp\S+ diverged: training loss is (nan|inf) at epoch 1", first.stderr)
    assert status(the_run(tmp_path))["state"] == "diverged"
    again = train("model=mlp", "optimizer=sgd", "optimizer.lr=1e30", "epochs=2")
    assert again.returncode == 1
    assert "already diverged: training loss is" in again.stderr


def test_changed_code_makes_the_runs_that_use_it_stale_and_keeps_the_old_ones(small: list[str], tmp_path: Path) -> None:
    copy_program(tmp_path)

    def run(*more: str) -> str:
        return train_copy(tmp_path, *small, *TINY, "epochs=1", *more)

    def edit(module: str, old: str, new: str) -> None:
        path = tmp_path / "sweeper" / module
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    run()
    edit("training/loop.py", "FINITE_CHECK_INTERVAL = 50", "FINITE_CHECK_INTERVAL = 50  # changes nothing")
    edit("training/optimizers.py", "as_betas(betas)", "as_betas(betas[:])")  # of Adam, which this run does not use
    assert "already finished" in run()
    edit("training/loop.py", "FINITE_CHECK_INTERVAL = 50", "FINITE_CHECK_INTERVAL = 51")
    assert "already finished" in run("sweep.reuse=any")
    assert "stale (training/loop.FINITE_CHECK_INTERVAL changed); retraining" in run()
    assert "already finished" in run()
    assert "already finished" not in run("sweep.reuse=none")
    name = the_run(tmp_path).name
    assert {path.name for path in (tmp_path / "outputs" / "stale").iterdir()} == {f"{name}.1", f"{name}.2"}


def test_presets_of_equal_settings_are_one_run(train: Train, tmp_path: Path) -> None:
    options = ("model.hidden=[16]", "epochs=1")
    assert train("model=mlp_deep", "dropout=light", *options).returncode == 0
    assert "already finished" in train("model=mlp", "dropout.rate=0.1", *options).stdout
    assert "already finished" in train("model=mlp", "dropout=heavy", "dropout.rate=0.1", *options).stdout
    assert the_run(tmp_path).name.startswith("mlp-relu-adam-dropout0.1-image_folder-s0-")


def test_a_slot_that_the_model_lacks_is_named(train: Train) -> None:
    done = train(*TINY, "norm=batch", "epochs=1")
    assert "model=softmax has no norm slot; norm=... is ignored" in done.stdout
    assert "no activation slot" not in done.stdout


def test_two_processes_train_a_run_once(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[64]", "epochs=30"]
    processes = [start(overrides, tmp_path) for _ in range(2)]
    outputs = sorted(finish(process) for process in processes)
    assert sum("epoch 1/30" in output for output in outputs) == 1
    assert sum("already finished" in output for output in outputs) == 1
    assert status(the_run(tmp_path))["attempt"] == 1


def test_a_run_that_cannot_be_built_is_failed(train: Train, tmp_path: Path, small: list[str]) -> None:
    process = start([*small, "model=mlp", "model.hidden=[3000000]"], tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (9_000_000_000,) * 2)
    process.communicate()
    assert process.returncode == 1
    assert status(the_run(tmp_path))["state"] == "failed"
    assert "memory" in status(the_run(tmp_path))["error"]


def test_tensorboard_shows_every_epoch_once_after_resuming(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[64]", "epochs=40"]
    process = start(overrides, tmp_path)
    wait_for_epoch(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    finish(start(overrides, tmp_path))
    (events,) = (the_run(tmp_path) / "tensorboard").iterdir()
    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    metrics = rows(the_run(tmp_path))
    for tag, key in (
        ("accuracy/val", "val_acc"),
        ("loss/train", "train_loss"),
        ("f1/val_macro", "val_macro_f1"),
        ("lr", "lr"),
    ):
        scalars = accumulator.Scalars(tag)
        assert [scalar.step for scalar in scalars] == list(range(1, 41))
        assert [scalar.value for scalar in scalars] == [float(torch.tensor(row[key]).float()) for row in metrics]
    assert "_hparams_/session_start_info" in accumulator.PluginTagToContent("hparams")
    assert [scalar.step for scalar in accumulator.Scalars("result/test_acc")] == [
        accumulator.Scalars("result/best_epoch")[0].value
    ]


def test_a_full_disk_fails_with_its_reason_and_the_run_can_be_repeated(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[512]", "epochs=2"]
    limited = start(overrides, tmp_path)
    resource.prlimit(limited.pid, resource.RLIMIT_FSIZE, (1_000_000, -1))
    limited.communicate()
    run = the_run(tmp_path)
    assert limited.returncode == 1
    assert status(run)["state"] == "failed"
    assert "File too large" in status(run)["error"]
    assert not list((run / "checkpoints").iterdir())
    finish(start(overrides, tmp_path))
    assert status(run)["state"] == "finished"


def test_evaluate_reproduces_the_recorded_accuracy_and_notices_a_difference(train: Train, tmp_path: Path) -> None:
    train("model=cnn_pool", "norm=batch", "epochs=2")
    run = the_run(tmp_path)

    def evaluate(*arguments: str) -> subprocess.CompletedProcess[str]:
        return Program(["evaluate", *arguments], tmp_path, module="sweeper", separate_errors=True).completed()

    good = evaluate(str(run))
    recorded = json.loads((run / "result.json").read_text())
    assert good.returncode == 0, good.stderr
    assert f"test_acc {recorded['test_acc']:.4f}, recorded {recorded['test_acc']:.4f}" in good.stdout
    assert all(name in good.stdout for name in ("precision", "recall", "ant", "bee", "cat"))
    assert evaluate("--best").stdout == good.stdout
    (run / "result.json").write_text(json.dumps(recorded | {"test_acc": recorded["test_acc"] / 2}))
    different = evaluate(str(run))
    assert different.returncode == 1
    assert f"test_acc={recorded['test_acc']} differs from the recorded" in different.stderr
    assert "not found: give a run ID" in evaluate("nowhere").stderr

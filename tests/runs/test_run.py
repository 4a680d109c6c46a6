"""The life of a run as its user sees it, in real processes."""

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
from support import (
    REPOSITORY,
    TINY,
    Train,
    assert_equal,
    copy_program,
    environment,
    finish,
    outcome,
    start,
    status,
    the_run,
    wait_for_epoch,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_a_run_leaves_the_files_that_the_design_lists_and_is_found_finished(train: Train, tmp_path: Path) -> None:
    first = train(*TINY, "epochs=3")
    assert first.returncode == 0, first.stderr
    run = the_run(tmp_path)
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
    hydra = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
    checkpoints = {"checkpoints/best.pt", "checkpoints/last.pt"}
    assert names == {"run.json", "status.json", "metrics.jsonl", "result.json", "train.log", *hydra, *checkpoints}
    assert status(run)["state"] == "finished"
    result = json.loads((run / "result.json").read_text())
    assert result["epochs"] == 3
    assert result["epochs_to_target"] is None
    assert sum(map(sum, result["confusion"])) == 30
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    again = train("epochs=3", *reversed(TINY))
    assert again.returncode == 0
    assert "finished already" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    other_reading = train(*TINY, "epochs=3", "target_acc=0.01", "convergence_fraction=0.01")
    assert "finished already" in other_reading.stdout
    result = json.loads((run / "result.json").read_text())
    assert (result["epochs_to_target"], result["convergence_epoch"]) == (1, 1)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_next_step_and_the_same_command_goes_on(
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
    assert "going on in epoch" in finish(start(overrides, tmp_path / "cut"))
    assert status(run)["attempt"] == 2
    finish(whole)
    assert_equal(outcome(run), outcome(the_run(tmp_path / "whole")))


def test_a_second_ctrl_c_in_a_terminal_stops_at_once(small: list[str], tmp_path: Path) -> None:
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
    assert re.search(r"error: mlp\S+ diverged: the training loss is (nan|inf) in epoch 1", first.stderr)
    assert status(the_run(tmp_path))["state"] == "diverged"
    assert "diverged before" in train("model=mlp", "optimizer=sgd", "optimizer.lr=1e30", "epochs=2").stderr


def test_changed_training_code_makes_runs_stale_and_keeps_the_old_one_aside(small: list[str], tmp_path: Path) -> None:
    copy_program(tmp_path)

    def run(*more: str) -> str:
        return subprocess.run(
            [sys.executable, "train.py", *small, *TINY, "epochs=1", *more],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(tmp_path)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    module = tmp_path / "sweeper" / "loop.py"
    run()
    module.write_text(module.read_text() + "\n# a comment changes nothing\n")
    assert "finished already" in run()
    module.write_text(module.read_text().replace("CHECK_EVERY = 50", "CHECK_EVERY = 51"))
    assert "finished already" in run("sweep.reuse=any")
    assert "stale, since loop.py changed" in run()
    assert "finished already" in run()
    assert "finished already" not in run("sweep.reuse=none")
    name = the_run(tmp_path).name
    assert {path.name for path in (tmp_path / "outputs" / "stale").iterdir()} == {f"{name}.1", f"{name}.2"}


def test_two_processes_train_a_run_once(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[64]", "epochs=30"]
    processes = [start(overrides, tmp_path) for _ in range(2)]
    outputs = sorted(finish(process) for process in processes)
    assert sum("epoch 1/30" in output for output in outputs) == 1
    assert sum("finished already" in output for output in outputs) == 1
    assert status(the_run(tmp_path))["attempt"] == 1


def test_a_run_that_cannot_be_built_is_failed(train: Train, tmp_path: Path, small: list[str]) -> None:
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (9_000_000_000,) * 2); "
    code = limit + f"sys.argv[0] = {str(REPOSITORY / 'train.py')!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, *small, "model=mlp", "model.hidden=[3000000]"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
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
    rows = [json.loads(line) for line in (the_run(tmp_path) / "metrics.jsonl").read_text().splitlines()]
    for tag, key in (("accuracy/val", "val_acc"), ("loss/train", "train_loss"), ("lr", "lr")):
        scalars = accumulator.Scalars(tag)
        assert [scalar.step for scalar in scalars] == list(range(1, 41))
        assert [scalar.value for scalar in scalars] == [float(torch.tensor(row[key]).float()) for row in rows]
    assert "_hparams_/session_start_info" in accumulator.PluginTagToContent("hparams")
    assert [scalar.step for scalar in accumulator.Scalars("result/test_acc")] == [
        accumulator.Scalars("result/best_epoch")[0].value
    ]


def test_a_full_disk_fails_with_its_reason_and_can_be_repeated(small: list[str], tmp_path: Path) -> None:
    overrides = [*small, "model=mlp", "model.hidden=[512]", "epochs=2"]

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))

    limited = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *overrides],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=limit_file_size,
        check=False,
    )
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
        command = [sys.executable, "-m", "sweeper", "evaluate", *arguments]
        path = {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment(**path), capture_output=True, text=True, check=False
        )

    good = evaluate(str(run))
    recorded = json.loads((run / "result.json").read_text())
    assert good.returncode == 0, good.stderr
    assert f"test_acc {recorded['test_acc']:.4f}, recorded {recorded['test_acc']:.4f}" in good.stdout
    assert all(name in good.stdout for name in ("precision", "recall", "ant", "bee", "cat"))
    assert evaluate("--best").stdout == good.stdout
    (run / "result.json").write_text(json.dumps(recorded | {"test_acc": recorded["test_acc"] / 2}))
    different = evaluate(str(run))
    assert different.returncode == 1
    assert "was recorded" in different.stderr
    assert "is not the directory of a run" in evaluate("nowhere").stderr

"""Sweeps that are killed, interrupted, out of memory or started twice: no run is lost or trained twice."""

import json
import os
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from joblib import cpu_count
from processes import REPOSITORY, Program, environment, sweeper
from support import Train, copy_program, freeze, metrics_and_weights, rows, runs, status, thaw, train_copy

PARALLEL = ("hydra/launcher=parallel", "hydra.launcher.n_jobs=2")


def start(overrides: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> Program:
    """Start train.py -m; its standard output includes its errors."""
    return Program(["-m", *overrides], folder, env)


def finish(overrides: Sequence[str], folder: Path, code: int = 0) -> str:
    process = start(overrides, folder)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == code, shown
    return shown


def wait_until(holds: Callable[[], bool], process: Program, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if process.poll() is not None or time.monotonic() > end:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the runs that were frozen
            pytest.fail(process.communicate()[0])
        time.sleep(0.02)


def training(folder: Path, at_least: int = 1) -> list[Path]:
    """The runs that are being trained."""
    return [run for run in runs(folder) if status(run)["state"] == "running" and len(rows(run)) >= at_least]


def caught(folder: Path, number: int, process: Program) -> list[Path]:
    """Freeze this many runs in their training, so that none ends before a test has disturbed it; thaw() resumes one."""
    frozen: set[Path] = set()

    def all_frozen() -> bool:
        for run in training(folder):
            if run not in frozen:
                freeze(run)
                frozen.add(run)
        return len(frozen) == number

    wait_until(all_frozen, process)
    return sorted(frozen)


def test_a_parallel_sweep_killed_at_random_ends_bit_identical(small: list[str], tmp_path: Path) -> None:
    sweep = [*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "activation=relu,selu", "seed=0,1", "epochs=30"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    finish(sweep, whole)
    for _ in range(2):
        process = start(sweep, killed)
        before = sum(len(rows(run)) for run in runs(killed))
        wait_until(lambda before=before: sum(len(rows(run)) for run in runs(killed)) > before + 10, process)  # type: ignore[misc]
        time.sleep(random.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(sweep, killed)
    assert [run.name for run in runs(killed)] == [run.name for run in runs(whole)]
    for resumed, uninterrupted in zip(runs(killed), runs(whole), strict=True):
        assert metrics_and_weights(resumed) == metrics_and_weights(uninterrupted)
        trained = re.findall(r"epoch (\d+)/30", (resumed / "train.log").read_text())
        assert len(trained) == len(set(trained))  # no saved epoch is trained again
    assert max(status(run)["attempt"] for run in runs(killed)) > 1


def test_a_killed_worker_interrupts_only_its_own_run_which_is_retried(small: list[str], tmp_path: Path) -> None:
    process = start([*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "seed=0,1,2", "epochs=60"], tmp_path)
    victim, sibling = caught(tmp_path, 2, process)
    os.kill(status(victim)["pid"], signal.SIGKILL)
    thaw(sibling)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 0, shown
    assert "process killed by SIGKILL (possibly out of memory)" in shown
    assert "1 run did not finish; retrying" in shown
    assert {status(run)["state"] for run in runs(tmp_path)} == {"finished"}
    assert (status(victim)["attempt"], status(sibling)["attempt"]) == (2, 1)


def test_a_killed_run_is_reported_in_the_table_and_stops_a_sweep_that_fails_fast(
    small: list[str], tmp_path: Path
) -> None:
    sweep = [*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "seed=0,1,2", "epochs=1000", "sweep.fail_fast=true"]
    process = start(sweep, tmp_path)
    victim, sibling = caught(tmp_path, 2, process)
    os.kill(status(victim)["pid"], signal.SIGKILL)
    thaw(sibling)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "stopped at the first failure: 1 failed, 1 interrupted, 1 waiting; to resume:" in shown
    assert (status(victim)["state"], status(sibling)["state"]) == ("failed", "interrupted")
    table = sweeper("summary", "--output-dir", str(tmp_path / "outputs")).stdout
    assert f"{victim.name} failed: process exited without reporting a status (killed, possibly out of memory)" in table


def test_a_worker_that_dies_between_two_runs_loses_no_run(small: list[str], tmp_path: Path) -> None:
    sweep = [*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "epochs=60", "seed=0,1"]
    process = start([*sweep, "sweep.dry_run=true"], tmp_path)
    planned, _ = process.communicate(timeout=120)
    assert "2 combinations: 2 to run" in planned
    process = start(sweep, tmp_path)
    failing, continuing = caught(tmp_path, 2, process)
    thaw(continuing)
    thaw(failing)
    while not (failing / "metrics.jsonl").is_dir():  # it fails, and its worker waits for another run
        (failing / "metrics.jsonl").unlink(missing_ok=True)
        with suppress(FileExistsError):  # the run wrote it again
            (failing / "metrics.jsonl").mkdir()
    wait_until(lambda: status(failing)["state"] == "failed", process)
    os.kill(status(failing)["pid"], signal.SIGKILL)
    (failing / "metrics.jsonl").rmdir()
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 0, shown
    assert "1 run did not finish; retrying" in shown
    assert [status(run)["state"] for run in (failing, continuing)] == ["finished"] * 2


def test_a_run_whose_settings_change_before_its_turn_is_not_trained_in_place_of_the_planned_one(
    small: list[str], tmp_path: Path
) -> None:
    preset = tmp_path / "conf" / "optimizer" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("defaults: [adam]\nlr: 0.001\n")
    network = ["optimizer=mine", "model=mlp", "model.hidden=[400]", "epochs=30"]
    process = start(["--config-dir", "conf", *small, *PARALLEL, *network, "seed=0,1,2"], tmp_path)
    planned = caught(tmp_path, 2, process)
    preset.write_text("defaults: [adam]\nlr: 0.002\n")
    for run in planned:
        thaw(run)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 1, shown
    assert runs(tmp_path) == planned
    assert [status(run)["state"] for run in planned] == ["finished"] * 2
    changed = r"failed: .*seed=2: this is now the run \S+, which the sweep has not planned: its configuration files, "
    assert re.search(changed, shown), shown
    assert "rerun the command to plan it again" in shown
    assert "1 of 3 runs did not finish" in shown


def test_a_run_out_of_memory_among_six(small: list[str], tmp_path: Path) -> None:
    hidden = "model.hidden=[8],[9],[10],[3000000],[11],[12]"
    process = start([*small, "model=mlp", hidden, "epochs=1"], tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (9_000_000_000,) * 2)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "6 runs: 1 failed, 5 finished" in shown
    report = (
        shown.index("failed: model.hidden=[3000000]") if "failed: model.hidden" in shown else shown.index("failed: ")
    )
    assert "memory" in shown[report:].splitlines()[0]
    assert re.search(r"[1-6] of 6  model.hidden", shown[report:])  # immediately: other runs finish after it
    assert re.search(r"mlp-\S+ failed: RuntimeError: .*memory", shown)
    (failed,) = (run for run in runs(tmp_path) if status(run)["state"] == "failed")
    assert status(failed)["attempt"] == 2  # it was retried, for sweep.max_retries=1


def test_fail_fast_stops_at_the_first_failure(small: list[str], tmp_path: Path) -> None:
    sweep = [*small, "model=mlp", "optimizer=sgd", "optimizer.lr=1e30,0.1,0.2", "epochs=1", "sweep.fail_fast=true"]
    shown = finish(sweep, tmp_path, code=1)
    assert [status(run)["state"] for run in runs(tmp_path)] == ["diverged"]
    assert "stopped at the first failure: 1 diverged, 2 waiting; to resume:\npython " in shown
    assert "Traceback" not in shown


def test_fail_fast_in_parallel_lets_the_other_runs_save(small: list[str], tmp_path: Path) -> None:
    rates = "optimizer.lr=0.1,1e30"
    sweep = [*small, *PARALLEL, "model=mlp", "optimizer=sgd", rates, "epochs=1000,999", "sweep.fail_fast=true"]
    finish(sweep, tmp_path, code=1)
    states = {status(run)["state"] for run in runs(tmp_path)}
    assert "diverged" in states
    assert states <= {"diverged", "interrupted"}


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_a_terminal_saves_every_run_for_a_resume(times: int, small: list[str], tmp_path: Path) -> None:
    sweep = [*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "seed=0,1,2", "epochs=100000"]
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", *sweep]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, command, environment())
    os.set_blocking(terminal, False)
    shown = b""
    end = time.monotonic() + 120
    sent = 0
    while time.monotonic() < end:
        try:
            shown += os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the process has closed the terminal
            break
        if sent < times and len(training(tmp_path)) == 2:
            os.write(terminal, b"\x03")
            sent += 1
            time.sleep(0.3 if sent < times else 0)
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) == 130, shown.decode()
    assert [status(run)["state"] for run in runs(tmp_path)] == ["interrupted"] * 2
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).splitlines()  # without what erased the live table
    assert lines[-2] == "stopped: 2 interrupted, 1 waiting; to resume:"
    assert lines[-1].startswith("python ") and lines[-1].endswith("epochs=100000")
    assert "Traceback" not in shown.decode()


def test_killing_the_launcher_alone_orphans_no_worker(small: list[str], tmp_path: Path) -> None:
    process = start([*small, *PARALLEL, "model=mlp", "model.hidden=[400]", "seed=0,1", "epochs=100000"], tmp_path)
    wait_until(lambda: len(training(tmp_path)) == 2, process)
    process.kill()
    process.communicate()
    end = time.monotonic() + 30
    while {status(run)["state"] for run in runs(tmp_path)} != {"interrupted"}:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run_whose_owner_is_killed_is_taken_over_by_the_waiting_process(small: list[str], tmp_path: Path) -> None:
    undisturbed, contested = tmp_path / "undisturbed", tmp_path / "contested"
    sweep = [*small, "model=mlp", "model.hidden=[400]", "seed=3", "epochs=80"]
    for folder in (undisturbed, contested):
        folder.mkdir()
    finish(sweep, undisturbed)
    owner = start(sweep, contested)
    caught(contested, 1, owner)
    second = start(sweep, contested)
    waiting = "another process is training this run; waiting"
    wait_until(lambda: waiting in second.output.read_text(), second)
    owner.kill()
    owner.communicate()
    shown, _ = second.communicate(timeout=300)
    assert second.returncode == 0, shown
    assert "resuming at epoch" in shown
    assert metrics_and_weights(*runs(contested)) == metrics_and_weights(*runs(undisturbed))


EIGHT = """
import os, runpy, sys
import torch, torch._dynamo, torch.utils.tensorboard
import sweeper.runs.run, sweeper.summary.conclusion, sweeper.sweep.execute
number, arguments = 8, sys.argv[1:]
ready, go = os.pipe(), os.pipe()
pids = []
for index in range(number):
    pid = os.fork()
    if pid == 0:
        output = os.open(f"{index}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(go[1])
        os.write(ready[1], b".")
        os.read(go[0], 1)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    pids.append(pid)
while number:
    number -= len(os.read(ready[0], number))
os.close(go[1])
sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in pids))
"""


def test_the_same_sweep_started_eight_times_at_once_trains_each_run_once(small: list[str], tmp_path: Path) -> None:
    sweep = [*small, "model=mlp", "model.hidden=[64],[65]", "seed=0,1", "epochs=3", "verbose=true"]
    command = [sys.executable, "-c", EIGHT, str(REPOSITORY / "train.py"), "-m", *sweep]
    done = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=str(REPOSITORY)), timeout=300, check=False)
    logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert done.returncode == 0, logs
    assert len(logs) == 8
    assert len(runs(tmp_path)) == 4
    for run in runs(tmp_path):
        assert (status(run)["state"], status(run)["attempt"]) == ("finished", 1)
        assert sum(f"{run.name[-10:]}: 96 training images" in log for log in logs) == 1
    assert all("4 runs: 4 finished" in log for log in logs)


def test_reordered_overrides_and_overrides_without_effect_find_the_same_runs(train: Train, tmp_path: Path) -> None:
    train("model=softmax,mlp", "seed=0,1", "epochs=1", flags=("-m",))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("outputs/runs/*/*.json")}
    again = train("threads=1,2", "epochs=1", "seed=1,0", "model=mlp,softmax", "checkpoint_minutes=7", flags=("-m",))
    assert "8 combinations: 4 finished, 4 duplicates" in again.stdout
    assert "threads has no effect: all values map to the same runs" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("outputs/runs/*/*.json")} == before


def test_changed_definitions_are_named_in_the_plan(small: list[str], tmp_path: Path) -> None:
    copy_program(tmp_path)

    def run(*more: str) -> str:
        return train_copy(tmp_path, "-m", *small, "model=softmax", "seed=0,1", "epochs=1", *more)

    run()
    adam, loop = (tmp_path / "sweeper" / "training" / name for name in ("optimizers.py", "loop.py"))
    adam.write_text(adam.read_text().replace("return Adam(", "# Kingma & Ba\n    return Adam("))
    assert "2 combinations: 2 finished" in run("sweep.dry_run=true")
    adam.write_text(
        adam.read_text().replace(
            "return Adam(single_group(parameters), lr=lr,", "return Adam(single_group(parameters), lr=1.0 * lr,"
        )
    )
    loop.write_text(loop.read_text().replace("FINITE_CHECK_INTERVAL = 50", "FINITE_CHECK_INTERVAL = 51"))
    assert "2 combinations: 2 finished" in run("sweep.reuse=any", "sweep.dry_run=true")
    shown = run()
    assert "seed=0: stale (training/loop.FINITE_CHECK_INTERVAL, training/optimizers.adam changed)" in shown
    assert "2 combinations: 2 to run (2 stale)" in shown
    assert len(list((tmp_path / "outputs" / "stale").iterdir())) == 2
    assert "2 combinations: 2 finished" in run()


def test_parallel_runs_have_a_core_each(small: list[str], tmp_path: Path) -> None:
    sweep = [*small, "threads=null", "hydra/launcher=parallel", "model=mlp", "model.hidden=[2000]", "seed=range(9)"]
    process = start([*sweep, "epochs=1000"], tmp_path, env=environment() | {"OMP_NUM_THREADS": "64"})
    cores = cpu_count()
    wait_until(lambda: len(training(tmp_path, at_least=20)) >= min(cores, 9), process)
    running = training(tmp_path)
    assert len(running) == min(cores, 9)
    for run in running:
        assert json.loads((run / "run.json").read_text())["threads"] == 1
        pid = status(run)["pid"]
        stats = [path.read_text().rpartition(")")[2].split() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        used = sorted((int(fields[11]) + int(fields[12]) for fields in stats), reverse=True)
        assert sum(used[1:]) < used[0] / 10  # one thread does the work
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143

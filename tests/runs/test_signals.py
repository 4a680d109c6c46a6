"""Signals as a flag in a run, and as the end of a process elsewhere."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import REPOSITORY, environment

from sweeper.runs.signals import STOPS, StopFlag

WAITING = "from sweeper.runs.signals import exit_on_stops\nexit_on_stops()\n{}\nprint('a', flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """Let SIGHUP have its default effect here and in child processes, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def started(between: str = "", *, launcher: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    command = [*launcher, sys.executable, "-c", f"import time\n{WAITING.format(between)}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, text=True
    ) as process:
        read_line(process)
        yield process


def read_line(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None and process.stdout.readline() == "a\n"


@pytest.mark.parametrize("which", STOPS)
def test_a_process_without_a_run_exits_with_a_sentence(which: signal.Signals) -> None:
    with started() as process:
        process.send_signal(which)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (128 + which, f"stopped by {which.name}; no run was in training\n")


def test_a_second_signal_ends_a_process_that_swallows_the_first() -> None:
    with started("try:\n    print('a', flush=True); time.sleep(60)\nexcept SystemExit:\n    pass") as process:
        process.send_signal(signal.SIGTERM)
        read_line(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 128 + signal.SIGINT


def test_under_nohup_a_closed_terminal_does_not_matter() -> None:
    with started(launcher=("nohup",)) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("command", "module", "which", "status", "errors"),
    [
        (["train.py"], "hydra", "SIGTERM", 128 + signal.SIGTERM, "stopped by SIGTERM; no run was in training\n"),
        (["train.py"], "hydra", "SIGINT", 128 + signal.SIGINT, "stopped by SIGINT; no run was in training\n"),
        (["-m", "sweeper"], "typer", "SIGINT", -signal.SIGINT, ""),
    ],
)
def test_a_signal_in_the_first_import_has_no_traceback(
    command: list[str], module: str, which: str, status: int, errors: str, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{which})\n")
    env = environment(PYTHONPATH=str(tmp_path))
    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, errors)


@pytest.mark.parametrize("which", STOPS)
def test_a_run_notes_the_first_signal(which: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = [signal.getsignal(other) for other in STOPS]
    with StopFlag() as stop:
        os.kill(os.getpid(), which)
        for later in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):  # several come for one stop
            os.kill(os.getpid(), later)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.getsignal(signal.SIGINT)  # Python handles the signal before this call
    assert stop.signum == which
    assert [signal.getsignal(other) for other in STOPS] == before

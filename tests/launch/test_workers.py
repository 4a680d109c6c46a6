"""Worker processes: the message of a death, and signals. Their life in a sweep is tested in test_sweep_faults."""

import logging
import signal
import subprocess
import sys
import tempfile

import pytest
from hydra.core.utils import JobReturn, JobStatus
from processes import REPOSITORY

from sweeper.errors import UserError, warn_once
from sweeper.launch.worker_process import LONGEST_FOLDER, short_temporary_folder
from sweeper.launch.workers import Died, Worker, stop
from sweeper.runs.signals import STOPS


@pytest.mark.parametrize(
    ("exitcode", "message"),
    [
        (-signal.SIGKILL, "process killed by SIGKILL (possibly out of memory)"),
        (-signal.SIGSEGV, "process killed by SIGSEGV"),
        (-40, "process killed by signal 40"),
        (3, "process exited with status 3"),
    ],
)
def test_message_of_a_death(exitcode: int, message: str) -> None:
    assert str(Died(exitcode)) == message


def test_fork_server_blocks_stop_signals() -> None:
    """Slurm sends SIGTERM to every process of a job. Without the server, each worker would seem to have ended."""
    code = """
import signal
from multiprocessing import forkserver
from sweeper.launch.worker_process import STOPS, start_fork_server
start_fork_server()
pid = forkserver._forkserver._forkserver_pid
(mask,) = (line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("SigBlk:"))
print([int(mask, 16) >> (signum - 1) & 1 for signum in STOPS])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([1] * len(STOPS))


@pytest.mark.parametrize("length", [20, LONGEST_FOLDER, LONGEST_FOLDER + 1, 200])
def test_sockets_are_made_where_their_address_fits(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = f"/tmp/{'x' * (length - 5)}"
    monkeypatch.setattr(tempfile, "tempdir", folder)
    with short_temporary_folder():
        assert tempfile.gettempdir() == (folder if length <= LONGEST_FOLDER else "/tmp")
        assert len(tempfile.gettempdir()) + len("/pymp-XXXXXXXX/listener-XXXXXXXX") < 104
    assert tempfile.gettempdir() == folder


def test_without_a_short_folder_a_long_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "x" * 200)
    monkeypatch.setattr("sweeper.launch.worker_process.SHORT_FOLDERS", ("/nowhere",))
    refused = pytest.raises(UserError, match=r"^TMPDIR=x+ is too long for a socket: choose one of at most 70 bytes$")
    with refused, short_temporary_folder():
        pass


def test_a_worker_does_not_repeat_the_warnings_of_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.launch.workers.WARNED", {"held out"})

    def job() -> JobReturn:
        logged: list[str] = []
        log = logging.getLogger("worker")
        handler = logging.Handler()
        handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
        log.addHandler(handler)
        for sentence in ("held out", "small", "small"):
            warn_once(log, sentence)
        return JobReturn(status=JobStatus.COMPLETED, _return_value=logged)

    worker = Worker({"OMP_NUM_THREADS": "1"})
    try:
        worker.start(0, [], job)
        assert worker.result()[1]._return_value == ["small"]
    finally:
        stop([worker])

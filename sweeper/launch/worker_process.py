"""A worker process: the server that it is forked from, its loop, and its end."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus

from sweeper.errors import WARNED, UserError
from sweeper.runs.signals import STOPS, ignore_signal
from sweeper.streams import protect_streams

LONGEST_FOLDER = 70  # bytes: a socket's address has at most 104 to 108, and two names of multiprocessing are added
SHORT_FOLDERS = ("/tmp", "/var/tmp")
PRELOADED = ["sweeper.runs.run", "torch.utils.tensorboard"]  # what every run imports


def start_fork_server() -> None:
    """Start the process that workers are forked from, unless it is already running.

    It imports what runs need, once for all of them, while this process does other work. It has no threads and no
    CUDA state that a fork would break; this process may have both.
    """
    resource_tracker.ensure_running()  # it unblocks SIGTERM, so it must not start while the fork server does
    forkserver.set_forkserver_preload(PRELOADED)
    inherited = {name: os.environ.get(name) for name in ("PYTHONPATH", "OPENBLAS_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    try:
        with blocked_signals(), short_temporary_folder():
            forkserver.ensure_running()
    finally:
        os.environ.update({name: value for name, value in inherited.items() if value is not None})
        for name in (name for name, value in inherited.items() if value is None):
            del os.environ[name]


@contextmanager
def short_temporary_folder() -> Iterator[None]:
    """Let multiprocessing make its socket where the address has room, whatever TMPDIR is.

    Raises:
        UserError: there is no such folder.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        short = next((other for other in SHORT_FOLDERS if os.access(other, os.W_OK | os.X_OK)), None)
        if short is None:
            raise UserError(f"TMPDIR={folder} is too long for a socket: choose one of at most {LONGEST_FOLDER} bytes")
        tempfile.tempdir = short
    try:
        yield
    finally:
        tempfile.tempdir = folder


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block stop signals, here and in processes started meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def serve(
    connection: Connection, env: dict[str, str], output: Connection | None = None, warned: Collection[str] = ()
) -> None:
    """Execute calls from the connection and send back their results, until the launcher closes it or dies.

    Standard output and errors go to `output`, where there is one. Warnings that the launcher has logged, such as those
    about a folder of images, are not repeated: `warned` has them.

    Ctrl-C in a terminal reaches workers too, as do signals of batch systems; they ignore all but SIGTERM, since the
    launcher passes them on as SIGTERM.
    """
    import torch  # not needed by the launching process

    if output is not None:
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        output.close()
    protect_streams()
    for signum in (signum for signum in STOPS if signum != signal.SIGTERM):
        signal.signal(signum, ignore_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    os.environ |= env
    WARNED.update(warned)
    torch.set_num_threads(
        int(env["OMP_NUM_THREADS"])
    )  # too late for the environment variable: torch is already imported
    threading.Thread(target=stop_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send_bytes(pickled_result(cloudpickle.loads(connection.recv_bytes())))


def pickled_result(call: Callable[[], JobReturn]) -> bytes:
    """Return the result of a call, or its SystemExit, pickled."""
    try:
        result = picklable(call())
    except SystemExit as stopped:
        return bytes(cloudpickle.dumps(stopped))
    return bytes(cloudpickle.dumps(result))


def picklable(returned: JobReturn) -> JobReturn:
    """Replace an error in a job's result that cannot be pickled by its message."""
    try:
        cloudpickle.loads(cloudpickle.dumps(returned))
    except Exception:
        error = RuntimeError(str(returned._return_value))
        return JobReturn(overrides=returned.overrides, status=JobStatus.FAILED, _return_value=error)
    return returned


def stop_with_parent() -> None:
    """Stop the run of this process when the launcher dies; the run saves a checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

"""`python train.py` and `python -m sweeper` as real processes, forked from one that has imported what runs import.

Imports take longer than most of the tests' runs.
"""

import atexit
import fcntl
import itertools
import multiprocessing
import os
import pickle
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from multiprocessing import forkserver, reduction, util
from pathlib import Path
from typing import Any, NoReturn

import pytest

REPOSITORY = Path(__file__).parent.parent


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a child process: this one's, one thread, errors without Hydra's traceback."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0", **extra}


NUMBERS = itertools.count()


@cache
def outputs_folder() -> Path:
    """Return the folder of all programs' output, which is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


SERVERS: set[int | None] = {None}  # started here


def start_server() -> None:
    """Start the process that programs are forked from, unless it is running; end one that a tested launcher started.

    It looks for what it imports in PYTHONPATH alone, and passes over what it does not find.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_pid not in SERVERS:
        server._stop()
    forkserver.set_forkserver_preload(["processes", "preloaded"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    SERVERS.add(server._forkserver_pid)


class Program:
    """A running program, with the methods of subprocess.Popen that the tests use. Its process group is its own.

    Args:
        arguments: of the program.
        folder: its working directory.
        env: its environment variables.
        module: the module to run; None for train.py.
        program: the folder of the program.
        separate_errors: whether standard error is apart from standard output.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        env: dict[str, str] | None = None,
        *,
        module: str | None = None,
        program: Path = REPOSITORY,
        separate_errors: bool = False,
    ) -> None:
        self.args = [str(program / "train.py"), *arguments]
        name = f"{next(NUMBERS)}"
        self.outputs = [outputs_folder() / f"{name}{kind}" for kind in ("", ".errors")[: 1 + separate_errors]]
        for path in self.outputs:
            path.touch()
        start_server()
        context = multiprocessing.get_context("forkserver")
        call = (module, self.args, str(folder), env or environment(), str(self.outputs[0]), str(self.outputs[-1]))
        self.process = context.Process(target=execute, args=call)
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def output(self) -> Path:
        """Standard output so far, as a file."""
        return self.outputs[0]

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return standard output, which has the errors too unless they are separate, and errors."""
        self.wait(timeout)
        texts = [path.read_text() for path in self.outputs]
        return texts[0], texts[-1]

    def completed(self, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Wait for the end, as subprocess.run."""
        output, errors = self.communicate(timeout)
        return subprocess.CompletedProcess(self.args, self.wait(), output, errors)


def sweeper(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m sweeper` in the repository."""
    program = Program(arguments, REPOSITORY, environment(**extra), module="sweeper", separate_errors=True)
    return program.completed(timeout=300)


def prepare_server_of_workers() -> None:
    """Fork what becomes the program's server of workers once it starts one, instead of another Python.

    It is forked before the program runs, so it has nothing of the program but imports. A server that replaces a killed
    one is started as usual.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        become_server_of_workers(theirs)
    theirs.close()
    usual = util.spawnv_passfds

    def start(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        if "multiprocessing.forkserver" not in args[-1]:
            return usual(path, args, passfds)
        util.spawnv_passfds = usual
        blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        message = pickle.dumps((args[-1], list(passfds), dict(os.environ), blocked))
        ours.sendall(len(message).to_bytes(8, "big") + message)
        reduction.sendfds(ours, list(passfds))
        ours.close()
        return pid

    util.spawnv_passfds = start


def become_server_of_workers(connection: socket.socket) -> NoReturn:
    """Run the server's code once it has come; end where the program ends without one."""
    with connection, connection.makefile("rb", buffering=0) as file:
        length = file.read(8)
        if not length:
            os._exit(0)
        message = b""
        while len(message) < int.from_bytes(length, "big"):
            message += file.read(int.from_bytes(length, "big") - len(message)) or os._exit(1)
        code, descriptors, variables, blocked = pickle.loads(message)
        received = reduction.recvfds(connection, len(descriptors))
        apart = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for descriptor in received]  # from all numbers in use
    for descriptor in received:
        os.close(descriptor)
    for copy, descriptor in zip(apart, descriptors, strict=True):
        os.dup2(copy, descriptor)
        os.close(copy)
    os.environ.clear()
    os.environ.update(variables)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        exec(code, {})
    finally:
        os._exit(0)


def execute(
    module: str | None, arguments: list[str], folder: str, env: dict[str, str], output: str, errors: str
) -> None:
    """Run the program in this process."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for descriptor, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    if Path(arguments[0]).parent == REPOSITORY:
        sys.modules.update(sys.modules["preloaded"].PROGRAM)
        if "hydra/launcher=parallel" in arguments:
            prepare_server_of_workers()
    try:
        if module is None:
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out

"""Worker processes that execute jobs in parallel and fail independently.

joblib's pool breaks as a whole when one of its processes is killed, and every other run is lost with it. Here a dead
worker fails its own job and is replaced.
"""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus

from sweeper.errors import WARNED
from sweeper.launch.worker_process import blocked_signals, serve, start_fork_server
from sweeper.runs.signals import STOPS

log = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 5.0  # seconds within which a worker must end after a second interruption

Execute = Callable[[int, list[str]], JobReturn]  # of a job's number and overrides


class Died(RuntimeError):
    """A worker's process has ended; the message says how."""

    def __init__(self, exitcode: int) -> None:
        if exitcode >= 0:
            super().__init__(f"process exited with status {exitcode}")
            return
        name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else f"signal {-exitcode}"
        hint = " (possibly out of memory)" if exitcode == -signal.SIGKILL else ""
        super().__init__(f"process killed by {name}{hint}")


class Workers:
    """A pool of processes. They start with the first job and stay for the next `run`.

    Args:
        envs: the environment variables of each worker.
        outputs: gets a connection to the standard output and errors of each process; None: they are this process's.
    """

    def __init__(self, envs: Sequence[dict[str, str]], outputs: list[Connection] | None = None) -> None:
        self.outputs = outputs
        self.all = [Worker(env, outputs) for env in envs]

    def run(
        self,
        execute: Execute,
        jobs: Sequence[tuple[int, list[str]]],
        *,
        fail_fast: bool,
        names: Sequence[str] = (),
        on_death: Callable[[int, Died], None] | None = None,
    ) -> list[JobReturn]:
        """Execute jobs, as many at a time as there are workers.

        Args:
            execute: called in a worker.
            jobs: the number and the overrides of each.
            fail_fast: whether a dead worker ends the run.
            names: of the jobs, in messages; none: their overrides.
            on_death: called with the index of a job as soon as its worker has died.

        Raises:
            SystemExit: a job or `fail_fast` ended the run.
            KeyboardInterrupt: as any exception here, it first stops the workers, which save checkpoints.
        """
        waiting = deque(enumerate(jobs))
        returns: dict[int, JobReturn] = {}
        try:
            while waiting or any(worker.job is not None for worker in self.all):
                for worker in self.all:
                    if waiting and worker.job is None:
                        index, (number, overrides) = waiting.popleft()
                        name = names[index] if names else ""
                        worker.start(index, overrides, partial(execute, number, overrides), name)
                busy = [worker for worker in self.all if worker.job is not None]
                ready = wait([worker.connection for worker in busy])
                for worker in (worker for worker in busy if worker.connection in ready):
                    index, returned = worker.result()
                    returns[index] = returned
                    if isinstance(error := returned._return_value, Died):
                        if on_death is not None:
                            on_death(index, error)
                        if fail_fast:
                            raise SystemExit(1)
        except BaseException as stopped:
            if isinstance(stopped, KeyboardInterrupt) or getattr(stopped, "code", 0) in [
                128 + signum for signum in STOPS
            ]:
                log.warning("stopping: runs save checkpoints; a second Ctrl-C stops immediately")
            stop(self.all)
            self.all = [Worker(worker.env, self.outputs) for worker in self.all]
            raise
        return [returns[index] for index in sorted(returns)]


@dataclass
class Worker:
    """A process that executes one job after another, and is replaced when it dies.

    Attributes:
        outputs: see `Workers`.
        job: the index of the job that it executes; None between jobs.
        overrides: the job's.
        name: of the job, in messages; empty: its overrides.
    """

    env: dict[str, str]
    outputs: list[Connection] | None = None
    job: int | None = None
    overrides: list[str] = field(default_factory=list)
    name: str = ""
    process: BaseProcess | None = field(init=False, default=None)
    connection: Connection = field(init=False)

    def start(self, job: int, overrides: list[str], call: Callable[[], JobReturn], name: str = "") -> None:
        if self.process is None or not self.process.is_alive():
            self.spawn()
        self.job, self.overrides, self.name = job, overrides, name
        with suppress(OSError):  # it has just died, which `result` reports
            self.connection.send_bytes(cloudpickle.dumps(call))

    def spawn(self) -> None:
        """Fork a process. Signals are blocked meanwhile, and in the new process until `serve` can handle them."""
        context = multiprocessing.get_context("forkserver")
        start_fork_server()  # again, in case the server was killed
        with blocked_signals():
            ours, theirs = context.Pipe()
            read, written = context.Pipe(duplex=False) if self.outputs is not None else (None, None)
            process = context.Process(target=serve, args=(theirs, self.env, written, frozenset(WARNED)), daemon=True)
            process.start()
            theirs.close()
            self.process, self.connection = process, ours
        if self.outputs is not None and read is not None and written is not None:
            written.close()
            self.outputs.append(read)

    def result(self) -> tuple[int, JobReturn]:
        """Receive the job's result, and return it with the job's index; a failure where the process has died."""
        assert self.job is not None and self.process is not None
        job, self.job = self.job, None
        try:
            returned = cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            assert self.process.exitcode is not None
            error = Died(self.process.exitcode)
            self.process = None
            log.error("failed: %s: %s", self.name or " ".join(self.overrides), error)
            return job, self.failed(error)
        if isinstance(returned, SystemExit):
            if returned.code == 1:  # sweep.fail_fast
                raise returned
            return job, self.failed(RuntimeError("stopped by a signal"))
        assert isinstance(returned, JobReturn)
        return job, returned

    def failed(self, error: Exception) -> JobReturn:
        return JobReturn(overrides=self.overrides, status=JobStatus.FAILED, _return_value=error)


def stop(workers: Sequence[Worker]) -> None:
    """Stop the workers and wait while their runs save checkpoints; a second interruption ends the wait."""
    started = [worker for worker in workers if worker.process is not None]
    processes = [worker.process for worker in workers if worker.process is not None]
    try:
        for worker, process in zip(started, processes, strict=True):
            process.terminate()
            worker.connection.close()  # an idle worker ends
        for process in processes:
            process.join()
    except (KeyboardInterrupt, SystemExit):
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SHUTDOWN_TIMEOUT)
            process.kill()
            process.join()

"""hydra/launcher=parallel: the runs of a sweep side by side on this machine, each in a process of its own at a time."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_joblib_launcher._core import execute_job
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)  # that ask a run to stop, see sweeper.signals
LAST_WORDS = 5.0  # seconds that a worker has to end once it was told to stop at once
PRELOADED = ["sweeper.runs.run", "torch.utils.tensorboard"]  # what every run imports


class ParallelLauncher(JoblibLauncher):  # type: ignore[misc]
    """Executes jobs as the joblib launcher does, on workers that fail alone.

    joblib's pool of processes ends as a whole when one of them is killed, and with it every other run. Here a dead
    worker costs its own job and is replaced. Workers stay for the next launch.

    Args:
        n_jobs: runs at a time; None: as many as there are cores, divided by `threads` where that is set, or
            `runs_per_gpu` for every GPU where there is one and `device` allows it.
        runs_per_gpu: runs that share a GPU.
    """

    def __init__(self, n_jobs: int | None = None, runs_per_gpu: int = 1) -> None:
        super().__init__()
        self.n_jobs, self.runs_per_gpu = n_jobs, runs_per_gpu
        self.workers: Workers | None = None

    def setup(self, **what: Any) -> None:
        super().setup(**what)
        start_fork_server()

    @property
    def concurrency(self) -> int:
        return len(self.environments())

    def environments(self) -> list[dict[str, str]]:
        """The environment of each worker."""
        from joblib import cpu_count

        from sweeper.errors import UserError

        for name in ("n_jobs", "runs_per_gpu"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"hydra.launcher.{name}={value} must be a whole number of at least 1")
        assert self.config is not None
        gpus = visible_gpus() if self.config.device != "cpu" else []
        return places(self.n_jobs, self.runs_per_gpu, cpu_count(), gpus, self.config.threads)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs.

        Returns:
            What each returned; for a job whose process was killed, a failure that says so.

        Raises:
            SystemExit: a job asks for the end of the sweep.
            KeyboardInterrupt: whatever stops this process stops the workers first, and lets them save.
        """
        assert self.config is not None
        environments = self.environments()
        task = (self.hydra_context, self.config, self.task_function, Singleton.get_state())
        self.workers = self.workers or Workers(environments)
        calls = [(initial_job_idx + place, list(overrides), *task) for place, overrides in enumerate(job_overrides)]
        return self.workers.run(calls, fail_fast=self.config.sweep.fail_fast)


class Died(RuntimeError):
    """A worker's process is gone; the message says how it ended."""

    def __init__(self, exitcode: int) -> None:
        if exitcode >= 0:
            super().__init__(f"its process ended with status {exitcode}")
            return
        name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else f"signal {-exitcode}"
        hint = ", as the system does when memory runs out" if exitcode == -signal.SIGKILL else ""
        super().__init__(f"its process was killed by {name}{hint}")


class Workers:
    """Processes that execute jobs side by side.

    Args:
        environments: what is added to the environment of each.
    """

    def __init__(self, environments: Sequence[dict[str, str]]) -> None:
        self.all = [Worker(environment) for environment in environments]

    def run(
        self, calls: Sequence[tuple[Any, ...]], *, fail_fast: bool, died: Callable[[int, Died], None] | None = None
    ) -> list[JobReturn]:
        """Call execute_job with each of these arguments.

        Args:
            died: is told which call's process is gone, as soon as it is.

        Raises:
            SystemExit: a job asks for the end of the sweep.
            KeyboardInterrupt: and whatever else stops this process stops the workers first, and lets them save.
        """
        waiting = deque(enumerate(calls))
        returns: dict[int, JobReturn] = {}
        try:
            while waiting or any(worker.job is not None for worker in self.all):
                for worker in self.all:
                    if waiting and worker.job is None:
                        place, arguments = waiting.popleft()
                        worker.start(place, (execute_job, *arguments))
                busy = [worker for worker in self.all if worker.job is not None]
                ready = wait([worker.connection for worker in busy])
                for worker in (worker for worker in busy if worker.connection in ready):
                    place = worker.job
                    returns[place] = worker.outcome(calls[place][1])
                    if isinstance(error := returns[place]._return_value, Died):
                        if died is not None:
                            died(place, error)
                        if fail_fast:
                            raise SystemExit(1)
        except BaseException:
            stop(self.all)
            self.all = [Worker(worker.environment) for worker in self.all]
            raise
        return [returns[place] for place in sorted(returns)]


@dataclass
class Worker:
    """A process that runs one job after the other, and is replaced when it dies."""

    environment: dict[str, str]
    job: Any = None  # the number of the job that it runs, None between two
    process: Any = field(init=False, default=None)
    connection: Connection = field(init=False)

    def start(self, number: int, call: tuple[Any, ...]) -> None:
        if self.process is None or not self.process.is_alive():
            self.spawn()
        self.job = number
        with suppress(OSError):  # it has just died, as `outcome` will find
            self.connection.send_bytes(cloudpickle.dumps(call))

    def spawn(self) -> None:
        """Start a process, with no signal in between; in the new one they wait until `serve` can take them."""
        context = multiprocessing.get_context("forkserver")
        start_fork_server()  # again, where it was killed
        with no_signals():
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, self.environment), daemon=True)
            process.start()
            theirs.close()
            self.process, self.connection = process, ours

    def outcome(self, overrides: list[str]) -> JobReturn:
        """What the job ended with; where the process is gone, a failure."""
        self.job = None
        try:
            returned = cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            error = Died(self.process.exitcode)
            self.process = None
            log.error("failed: %s: %s", " ".join(overrides), error)
            return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=error)
        if isinstance(returned, SystemExit):
            if returned.code == 1:  # sweep.fail_fast
                raise returned
            return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=RuntimeError("it was stopped"))
        assert isinstance(returned, JobReturn)
        return returned


def start_fork_server() -> None:
    """Start the process that workers are forked from, unless it runs. It imports what a run needs, once for all.

    That goes on beside whatever this process does meanwhile, and has no threads and no GPU's state that a fork would
    break, as this process may have.
    """
    resource_tracker.ensure_running()  # which unblocks SIGTERM: not when the fork server is about to start
    forkserver.set_forkserver_preload(PRELOADED)
    inherited = {name: os.environ.get(name) for name in ("PYTHONPATH", "OPENBLAS_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    try:
        with no_signals():
            forkserver.ensure_running()
    finally:
        os.environ.update({name: value for name, value in inherited.items() if value is not None})
        for name in (name for name, value in inherited.items() if value is None):
            del os.environ[name]


@contextmanager
def no_signals() -> Iterator[None]:
    """Put signals off, here and in processes that are started meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def serve(connection: Connection, environment: dict[str, str]) -> None:
    """What a worker does: call what it is sent and send back what comes out, until its launcher is gone.

    Ctrl-C in a terminal reaches workers too, but it is for the launcher to pass on, once.
    """
    import torch

    from sweeper.runs.signals import ignore_signal

    for which in (signal.SIGINT, signal.SIGUSR2):  # a Slurm job's processes all get the latter
        signal.signal(which, ignore_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    os.environ |= environment
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # torch is imported: it has read its environment
    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            function, *arguments = cloudpickle.loads(connection.recv_bytes())
            connection.send_bytes(result_of(partial(function, *arguments)))


def result_of(call: Callable[[], Any]) -> bytes:
    """What a call returns or exits with, pickled."""
    try:
        returned = sendable(call())
    except SystemExit as stopped:
        return bytes(cloudpickle.dumps(stopped))
    return bytes(cloudpickle.dumps(returned))


def sendable(returned: JobReturn) -> JobReturn:
    """What a job returned; without the error in it where that holds what cannot be pickled."""
    try:
        cloudpickle.loads(cloudpickle.dumps(returned))
    except Exception:
        error = RuntimeError(str(returned._return_value))
        return JobReturn(overrides=returned.overrides, status=JobStatus.FAILED, _return_value=error)
    return returned


def end_with_parent() -> None:
    """Stop the run of this process, which saves it, when the launcher dies."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def stop(workers: Sequence[Worker]) -> None:
    """Let the runs that go on save themselves and end their processes; a second interruption does not wait for that."""
    alive = [worker.process for worker in workers if worker.process is not None]
    try:
        for worker in (worker for worker in workers if worker.process is not None):
            worker.process.terminate()
            worker.connection.close()  # so that it ends instead of waiting for another job
        for process in alive:
            process.join()
    except (KeyboardInterrupt, SystemExit):
        for process in alive:
            process.terminate()
        for process in alive:
            process.join(LAST_WORDS)
            process.kill()
            process.join()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by what CUDA_VISIBLE_DEVICES calls them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [name.strip() for name in named.split(",")][:count] if named else [str(number) for number in range(count)]


def thread_limits(number: int) -> dict[str, str]:
    """The environment in which a process has so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(number))


def places(
    n_jobs: int | None, runs_per_gpu: int, cores: int, gpus: Sequence[str], threads: int | None
) -> list[dict[str, str]]:
    """The environment of each worker: its share of the cores, and its GPU where there is one."""
    number = n_jobs or (runs_per_gpu * len(gpus) if gpus else max(1, cores // (threads or 1)))
    common = thread_limits(max(1, cores // number)) | {"TERM": "dumb"}
    return [common | ({"CUDA_VISIBLE_DEVICES": gpus[one % len(gpus)]} if gpus else {}) for one in range(number)]

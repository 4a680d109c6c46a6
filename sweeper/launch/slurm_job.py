"""The compute node's half of hydra/launcher=slurm: a job runs a pack of runs and is requeued when it is stopped."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from submitit import JobEnvironment
from submitit.helpers import Checkpointable

from sweeper.launch.hydra_app import HydraApp
from sweeper.launch.slurm import own_state
from sweeper.launch.task import Task
from sweeper.launch.worker_envs import worker_envs
from sweeper.launch.worker_process import picklable, start_fork_server
from sweeper.launch.workers import Died, Workers
from sweeper.runs.naming import NamedTask
from sweeper.runs.signals import ignore_signal
from sweeper.runs.states import State, reconcile_state, state_of

STOPS = (signal.SIGTERM, signal.SIGUSR2)


@dataclass
class SlurmJob(Checkpointable):
    """The callable that submitit pickles and calls with a pack in the job, again after each requeue.

    Attributes:
        directory: the working directory of the command that submitted the job.
        concurrent: runs at a time.
        cpus_per_run: cores per run.
    """

    app: HydraApp
    directory: Path
    concurrent: int
    cpus_per_run: int

    def __call__(self, pack: list[Task]) -> list[JobReturn]:
        """Run a pack. When a signal stops the job, its runs save checkpoints first.

        Slurm sends SIGUSR2 before the time limit, as submitit requests. It sends SIGTERM to a job that is preempted,
        which has to requeue itself, and to a job that has been requeued or cancelled already.
        """
        os.chdir(self.directory)
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's handler
        assert callable(requeue)
        try:
            with stop_signals_raise():
                return self.run_unfinished(pack)
        except SystemExit as stopped:
            if stopped.code not in [128 + signum for signum in STOPS]:
                raise
            returns = [returned for task in pack if (returned := task.ended()) is not None]
            if len(returns) == len(pack):  # the signal came after the last run
                return returns
            requeue_or_record(pack, requeue, signum=int(stopped.code) - 128)
            raise

    def run_unfinished(self, pack: list[Task]) -> list[JobReturn]:
        """Run the tasks that have not ended yet, and return the results of all."""
        returns = {task.key: ended for task in pack if (ended := task.ended()) is not None}
        unfinished = [task for task in pack if task.key not in returns]
        run = self.run_here if len(pack) == 1 else self.run_in_workers
        returns |= zip([task.key for task in unfinished], map(picklable, run(unfinished)), strict=True)
        return [returns[task.key] for task in pack]

    def run_here(self, tasks: list[Task]) -> list[JobReturn]:
        """Run tasks in this process."""
        app = self.app_for(tasks)
        return [app.execute(task.number, task.overrides, JobEnvironment().job_id) for task in tasks]

    def app_for(self, tasks: Sequence[Task]) -> HydraApp:
        """Return the application that runs tasks by their names."""
        names = {task.key: task.name for task in tasks if task.name is not None}
        return replace(self.app, task_function=NamedTask(self.app.task_function, names))

    def run_in_workers(self, tasks: list[Task]) -> list[JobReturn]:
        """Run tasks in worker processes, so that a killed process fails only its own run."""
        start_fork_server()
        Singleton.set_state(self.app.singletons)
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cores = self.concurrent * self.cpus_per_run
        workers = Workers(worker_envs(self.concurrent, 1, cores, gpus.split(",") if gpus else [], None))
        return workers.run(
            partial(self.app_for(tasks).execute, job_id=JobEnvironment().job_id),
            [(task.number, task.overrides) for task in tasks],
            fail_fast=self.app.config.sweep.fail_fast,
            on_death=partial(mark_dead, tasks),
        )


@contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Let the first stop signal raise SystemExit, and ignore those that follow: Slurm sends several for one stop."""

    def ignore_stops() -> None:
        for signum in STOPS:
            signal.signal(signum, ignore_signal)

    def stop(signum: int, _: FrameType | None) -> None:
        ignore_stops()
        raise SystemExit(128 + signum)

    try:
        for signum in STOPS:
            signal.signal(signum, stop)
        yield
    finally:
        ignore_stops()  # the first may have been handled by a run in this process


def requeue_or_record(pack: Sequence[Task], requeue: Callable[..., Any], *, signum: int) -> None:
    """Requeue a stopped job; if it must not or cannot be requeued, record that in the status of its runs.

    Args:
        requeue: submitit's signal handler, which ends the process.
        signum: the signal that stopped the job.

    Raises:
        RuntimeError: the job cannot be requeued.
    """
    for stop in STOPS:  # child processes inherit this: Slurm may signal them as well
        signal.signal(stop, signal.SIG_IGN)
    job_id = JobEnvironment().job_id
    state = own_state(job_id) or own_state(job_id)  # Slurm may be busy cancelling many jobs
    if state == "CANCELLED" and signum == signal.SIGTERM:
        set_state(pack, State.CANCELLED, f"Slurm job {job_id} was cancelled")
    if state not in ("RUNNING", None):
        return
    try:
        requeue(signal.SIGUSR2, None)
    except Exception as error:
        reason = str(error).removeprefix("Job not requeued because: ")
        if isinstance(error, subprocess.CalledProcessError):
            reason = "Slurm rejected the request"
        set_state(pack, State.INTERRUPTED, f"checkpoint saved, job not requeued: {reason}")
        raise RuntimeError(f"not requeued: {reason}") from error


def set_state(pack: Sequence[Task], state: State, error: str) -> None:
    """Write a state into the records of those runs of a pack that are interrupted."""
    for record in (task.record for task in pack if task.record is not None):
        if state_of(record) is State.INTERRUPTED:
            record.change_state(state, error)


def mark_dead(tasks: Sequence[Task], index: int, error: Died) -> None:
    """Record immediately that a run's process has died: the rest of its pack may take hours."""
    record = tasks[index].record
    if record is not None:
        reconcile_state(record, str(error))

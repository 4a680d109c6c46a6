"""Waiting for runs in Slurm, by the files that they write and by the state of their jobs in the queue."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn, JobStatus
from submitit.core.utils import JobPaths

from sweeper.errors import UserError
from sweeper.launch.slurm import Job, accounted_state, cancel, queue
from sweeper.launch.submissions import JobLocation
from sweeper.launch.task import Task
from sweeper.runs.states import State, reconcile_state

log = logging.getLogger(__name__)

POLL_INTERVAL = (1.0, 15.0)  # seconds between queries of the queue, at first and later
RESULT_GRACE = 15.0  # seconds after a job's end until its result counts as missing: network file systems lag
TRACEBACK_LINES = 3  # shown of a failed run's error
UNKNOWN = "unknown to Slurm"  # the state of a job that is no longer listed


def follow(tasks: Sequence[Task], locations: dict[str, JobLocation], logs: Path, *, fail_fast: bool) -> list[JobReturn]:
    """Wait for the runs, report failures when they happen, and collect the return values.

    Args:
        locations: the job of each task, by the task's key.
        logs: the folder of submitit's files.

    Raises:
        SystemExit: a run failed under `fail_fast`; the other jobs were cancelled.
    """
    monitor = JobMonitor(tasks, locations, logs)
    begin = time.monotonic()
    while True:
        monitor.update(queue_if_available(monitor.warned))
        if len(monitor.returns) == len(tasks):
            break
        if monitor.failed and fail_fast:  # repeatedly, since Slurm may be unavailable
            cancel({locations[task.key].job for task in tasks if task.key not in monitor.returns})
        shortest, longest = POLL_INTERVAL
        time.sleep(min(longest, max(shortest, (time.monotonic() - begin) / 20)))
    if monitor.failed and fail_fast:
        raise SystemExit(1)
    return [monitor.returns[task.key] for task in tasks]


def queue_if_available(warned: set[str]) -> dict[str, Job] | None:
    """Return the queue; None while Slurm's controller does not respond, with a warning the first time."""
    try:
        jobs = queue()
    except UserError as error:
        warn_once(warned, "unavailable", f"{error}; waiting for Slurm to respond")
        return None
    warned.discard("unavailable")
    return jobs


def wait_for_controller() -> None:
    """Wait while Slurm's controller does not respond."""
    warned: set[str] = set()
    while queue_if_available(warned) is None:
        time.sleep(POLL_INTERVAL[1])


def warn_once(warned: set[str], key: str, message: str) -> None:
    if key not in warned:
        warned.add(key)
        log.warning(message)


@dataclass
class JobMonitor:
    """Collects the results of runs in Slurm.

    Attributes:
        returns: the return values of the ended runs, by key.
        last_state: the last state seen of each job.
        ended_at: when the job of a run without a result was first seen to have ended.
        failed: the runs whose failure has been reported.
        warned: the keys of warnings that have been printed.
    """

    tasks: Sequence[Task]
    locations: dict[str, JobLocation]
    logs: Path
    returns: dict[str, JobReturn] = field(default_factory=dict)
    last_state: dict[str, str] = field(default_factory=dict)
    ended_at: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)

    def update(self, jobs: dict[str, Job] | None) -> None:
        """Collect results and report new failures.

        Args:
            jobs: the queue; None where it is unavailable.
        """
        for task in (task for task in self.tasks if task.key not in self.returns):
            at = self.locations[task.key]
            job = (jobs or {}).get(at.job)
            if job is not None:
                self.last_state[at.job] = job.state
                self.warn_of_pending(at, job)
            returned = self.result(task, at)
            if returned is None and jobs is not None:
                returned = self.result_of_dead_job(task, at, job)
            if returned is not None:
                self.returns[task.key] = returned
        for task in (task for task in self.tasks if task.key not in self.failed):
            if (reason := failure(task, self.returns.get(task.key))) is not None:
                self.failed.add(task.key)
                log.error("failed: %s: %s", " ".join(task.overrides), reason)

    def warn_of_pending(self, at: JobLocation, job: Job) -> None:
        """Warn about a job that will not start by itself."""
        if job.is_held:
            message = f"Slurm job {at.job} is held ({job.reason}); to release it: scontrol release {at.job}"
            warn_once(self.warned, f"{at.token} {job.reason}", message)
        if job.never_starts:
            warn_once(self.warned, at.token, f"Slurm job {at.job} cannot start: {job.reason} (see `man squeue`)")

    def result(self, task: Task, at: JobLocation) -> JobReturn | None:
        """Read a run's return value; None until its job has written it."""
        try:
            outcome, value = cloudpickle.loads(job_paths(self.logs, at).result_pickle.read_bytes())
        except FileNotFoundError:
            return None
        if outcome == "success":
            returned = value[at.index]
            assert isinstance(returned, JobReturn)
            return returned
        reason = str(value).strip().splitlines()[-1].rpartition("Error: ")[2]
        return task.failed(f"Slurm job {at.job}: {reason}")

    def result_of_dead_job(self, task: Task, at: JobLocation, job: Job | None) -> JobReturn | None:
        """Return a failure where the job has ended without a result; None while a result may still appear."""
        if job is not None and job.is_active:
            self.ended_at.pop(task.key, None)
            return None
        if time.monotonic() - self.ended_at.setdefault(task.key, time.monotonic()) <= RESULT_GRACE:
            return None
        state = accounted_state(at.job) or (UNKNOWN if job is None else job.state)
        paths = job_paths(self.logs, at)
        has_log = paths.stdout.exists() or paths.stderr.exists()
        if state == UNKNOWN and not has_log and self.last_state.get(at.job, "PENDING") == "PENDING":
            state = "CANCELLED"  # Slurm no longer lists a pending array element that is cancelled
        reason = f"Slurm job {at.job}: {state}"
        if state.startswith("CANCELLED"):
            record_cancelled(task, reason)
        elif has_log:
            reason += f"; log: {paths.stderr}"
        else:
            reason += f"; no log in {paths.folder}: check that the compute nodes can access this folder"
        return task.failed(reason)


def record_cancelled(task: Task, reason: str) -> None:
    """Record that a running or pending run was cancelled, unless it had already ended."""
    if task.record is None:
        return
    state = reconcile_state(task.record, reason, State.CANCELLED)
    if state in (State.WAITING, State.INTERRUPTED) or (state is State.FAILED and not task.status()):
        task.record.folder.mkdir(parents=True, exist_ok=True)
        task.record.change_state(State.CANCELLED, reason)


def job_paths(logs: Path, at: JobLocation) -> Any:
    """Return the paths of submitit's files of a job."""
    return JobPaths(logs / at.token, job_id=at.job)


def failure(task: Task, returned: JobReturn | None) -> str | None:
    """Return why a run failed, from its record or else its return value; None if it has not failed."""
    if task.state in (State.FAILED, State.DIVERGED):
        return "\n".join(str(task.status().get("error")).strip().splitlines()[-TRACEBACK_LINES:])
    return str(returned._return_value) if returned is not None and returned.status != JobStatus.COMPLETED else None

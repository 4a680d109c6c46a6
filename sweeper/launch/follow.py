"""Waiting for the runs that are in Slurm's hands: by the files they write, and by what the queue says of their jobs."""

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
from sweeper.launch.slurm import Job, Place, accounted, cancel, queue
from sweeper.runs.directory import RunDirectory

log = logging.getLogger(__name__)

LOOK_EVERY = (1.0, 15.0)  # seconds between two looks at the queue, at the beginning and after a while
LATE = 15.0  # seconds that a job must be over before its result counts as missing: on a network's disks files come late
LAST_LINES = 3  # of a traceback
FORGOTTEN = "Slurm has forgotten it"  # the state of a job that is not listed any more


@dataclass
class Task:
    """A run as a launcher handles it.

    Attributes:
        key: its run id, or, under a sweeper that knows of none, a name.
        number: of the job in Hydra's terms.
        record: None where it is not known.
        heartbeat: the record's before it was launched.
    """

    key: str
    number: int
    overrides: list[str]
    record: RunDirectory | None = None
    heartbeat: float | None = None

    def status(self) -> dict[str, Any]:
        """The record's where it was written since the launch; else empty."""
        status = (self.record.status() if self.record is not None else None) or {}
        return status if status.get("heartbeat") != self.heartbeat else {}

    def ended(self) -> JobReturn | None:
        """What the run has come to by its record since the launch; None where it has not ended."""
        state, result = self.status().get("state"), self.record.result() if self.record is not None else None
        if state == "finished" and result is not None:
            return JobReturn(self.overrides, status=JobStatus.COMPLETED, _return_value=result["best_val_acc"])
        return self.failed(self.status().get("error")) if state in ("failed", "diverged") else None

    def failed(self, reason: Any) -> JobReturn:
        return JobReturn(self.overrides, status=JobStatus.FAILED, _return_value=RuntimeError(str(reason)))


def follow(tasks: Sequence[Task], places: dict[str, Place], logs: Path, *, fail_fast: bool) -> list[JobReturn]:
    """Wait for the runs, tell failures when they happen, and collect what the runs returned.

    Args:
        places: which job each task is in, by its key.
        logs: the folder of submitit's files.

    Raises:
        SystemExit: a run failed under `fail_fast`; the other jobs were cancelled.
    """
    following = Following(tasks, places, logs)
    begin = time.monotonic()
    while True:
        following.look(queue_if_it_answers(following.said))
        if len(following.returns) == len(tasks):
            break
        if following.failed and fail_fast:  # more than once: Slurm may be away
            cancel({places[task.key].job for task in tasks if task.key not in following.returns})
        shortest, longest = LOOK_EVERY
        time.sleep(min(longest, max(shortest, (time.monotonic() - begin) / 20)))
    if following.failed and fail_fast:
        raise SystemExit(1)
    return [following.returns[task.key] for task in tasks]


def queue_if_it_answers(said: set[str]) -> dict[str, Job] | None:
    """The queue; None while Slurm's controller is away, which is said once."""
    try:
        now = queue()
    except UserError as error:
        say(said, "away", f"{error}; waiting until it answers again")
        return None
    said.discard("away")
    return now


def until_it_answers() -> None:
    """Wait while Slurm's controller is away."""
    said: set[str] = set()
    while queue_if_it_answers(said) is None:
        time.sleep(LOOK_EVERY[1])


def say(said: set[str], what: str, sentence: str) -> None:
    """Warn of something once."""
    if what not in said:
        said.add(what)
        log.warning(sentence)


@dataclass
class Following:
    """What is known of the runs so far.

    Attributes:
        returns: of the runs that are over.
        seen: the last state of each job.
        over: since when each other run's job is over, as far as was seen.
        failed: the runs whose failure was told.
        said: what need not be said again.
    """

    tasks: Sequence[Task]
    places: dict[str, Place]
    logs: Path
    returns: dict[str, JobReturn] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    over: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)

    def look(self, now: dict[str, Job] | None) -> None:
        """Take in what has changed: the queue as it is now, None where it is not known, and the files."""
        for task in (task for task in self.tasks if task.key not in self.returns):
            place = self.places[task.key]
            job = (now or {}).get(place.job)
            if job is not None:
                self.seen[place.job] = job.state
            if job is not None and job.is_held:
                why = f"Slurm holds job {place.job} ({job.reason}): scontrol release {place.job}"
                say(self.said, f"{place.token} {job.reason}", why)
            if job is not None and job.never_starts:
                say(self.said, place.token, f"Slurm does not start job {place.job}: {job.reason}; see `man squeue`")
            returned = self.returned(task, place)
            if returned is None and now is not None:
                if job is not None and job.is_alive:
                    self.over.pop(task.key, None)
                elif time.monotonic() - self.over.setdefault(task.key, time.monotonic()) > LATE:
                    state = accounted(place.job) or (FORGOTTEN if job is None else job.state)
                    returned = self.lost(task, place, state)
            if returned is not None:
                self.returns[task.key] = returned
        for task in (task for task in self.tasks if task.key not in self.failed):
            if (words := failure(task, self.returns.get(task.key))) is not None:
                self.failed.add(task.key)
                log.error("failed: %s: %s", " ".join(task.overrides), words)

    def returned(self, task: Task, place: Place) -> JobReturn | None:
        """What a run returned, None as long as its job has not written that."""
        try:
            outcome, value = cloudpickle.loads(job_paths(self.logs, place).result_pickle.read_bytes())
        except FileNotFoundError:
            return None
        if outcome == "success":
            returned = value[place.at]
            assert isinstance(returned, JobReturn)
            return returned
        reason = str(value).strip().splitlines()[-1].rpartition("Error: ")[2]
        return task.failed(f"Slurm job {place.job}: {reason}")

    def lost(self, task: Task, place: Place, state: str) -> JobReturn:
        """What stands for the result of a run whose job is over without one."""
        paths = job_paths(self.logs, place)
        has_log = paths.stdout.exists() or paths.stderr.exists()
        if state == FORGOTTEN and not has_log and self.seen.get(place.job, "PENDING") == "PENDING":
            state = "CANCELLED"  # an array's element that has not begun is forgotten as soon as it is cancelled
        reason = f"Slurm job {place.job}: {state}"
        if state.startswith("CANCELLED"):
            cancelled(task, reason)
        elif not has_log:
            reason += f", and no log in {paths.folder}; can the compute nodes see that folder?"
        else:
            reason += f"; its log: {paths.stderr}"
        return task.failed(reason)


def cancelled(task: Task, reason: str) -> None:
    """RunDirectory that a run was cancelled, also while it waited, unless it had ended before."""
    from sweeper.runs.states import (  # imports torch, which the process that manages a pack does without
        State,
        reconcile_state,
    )

    if task.record is None:
        return
    state = reconcile_state(task.record, reason, State.CANCELLED)
    if state in ("waiting", "interrupted") or (state == "failed" and not task.status()):
        status = task.record.status() or {"attempt": 0, "epoch": 1, "step": 0}
        kept = {key: status.get(key) for key in ("attempt", "epoch", "step")}
        task.record.folder.mkdir(parents=True, exist_ok=True)
        task.record.write_status(**kept, state="cancelled", error=reason)


def job_paths(logs: Path, place: Place) -> Any:
    """Where submitit keeps the files of a job."""
    return JobPaths(logs / place.token, job_id=place.job)


def failure(task: Task, returned: JobReturn | None) -> str | None:
    """Why a run has failed, None where it has not: by its record, or else by what it returned."""
    status = task.status()
    if status.get("state") in ("failed", "diverged"):
        return "\n".join(str(status.get("error")).strip().splitlines()[-LAST_LINES:])
    return str(returned._return_value) if returned is not None and returned.status != JobStatus.COMPLETED else None

"""The present status of the runs of a sweep, read only from their records. No torch here: readers start fast."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from sweeper.errors import UserError, format_names
from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import CLASSIFICATION, SCORES
from sweeper.runs.states import STATES, Action, State, parse_state
from sweeper.sweep.notation import normalized
from sweeper.sweep.saved import own_jobs, queued_runs, swept_in_plan


@dataclass
class RunStatus:
    """The present status of a run.

    Attributes:
        swept: what distinguishes it from the sweep's other runs, see sweeper.sweep.notation.swept_overrides.
        epoch: the number of finished epochs.
        best_val: the best validation accuracy so far, or the metric that ranks runs of another task.
        images_per_second: the speed of its last epoch.
        seconds: an estimate of its own training time left; None where nothing is known.
        score: the metric of `best_val`; None before an epoch has ended.
    """

    swept: str
    run_id: str
    state: State
    epoch: int
    epochs: int
    best_val: float | None
    images_per_second: float | None
    seconds: float | None
    score: str | None = field(default=None, compare=False)

    @property
    def is_terminal(self) -> bool:
        return STATES[self.state].is_terminal


def collect(folder: Path, plan: dict[str, Any]) -> list[RunStatus]:
    """Return the status of every run of a sweep, those that need attention first."""
    states = states_of(folder, plan)
    statuses = [
        collect_run(RunDirectory(folder.parent.parent / "runs" / job["run_id"]), swept, job, states[job["run_id"]])
        for job, swept in swept_in_plan(plan)
    ]
    return sorted(statuses, key=lambda status: (STATES[status.state].order, status.run_id))


def states_of(folder: Path, plan: dict[str, Any]) -> dict[str, State]:
    """Return the present state of every run of a sweep."""
    queued, states = queued_runs(folder), {}
    for job in own_jobs(plan):
        run_id, status = job["run_id"], RunDirectory(folder.parent.parent / "runs" / job["run_id"]).status()
        state = State.WAITING if status is None else parse_state(status.get("state"))
        if has_not_started(job, status):
            is_kept = job["action"] == Action.RESUME and not STATES[state].is_terminal
            state = state if is_kept else State.WAITING
        if run_id in queued and is_queued(state, status or {}, queued[run_id]):
            state = State.QUEUED
        states[run_id] = state
    return states


def has_not_started(job: dict[str, Any], status: dict[str, Any] | None) -> bool:
    """Return whether a run is as it was at planning: the attempt that is planned has not started."""
    if status is not None and parse_state(status.get("state")) is State.RUNNING:
        return False
    is_planned = job["action"] in (Action.TRAIN, Action.RESUME)
    return is_planned and number((status or {}).get("heartbeat")) == job["heartbeat"]


def select_jobs(plan: dict[str, Any], where: Sequence[str]) -> dict[str, Any]:
    """Return the plan with the jobs whose overrides have every KEY=VALUE, in any notation.

    Raises:
        UserError: a condition has no `=`, or no job has it.
    """
    for condition in where:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition}: must be KEY=VALUE, such as model=mlp")
        typed = {
            job["run_id"]: dict(split_override(override) for override in job["overrides"]) for job in own_jobs(plan)
        }
        chosen = {run_id for run_id, values in typed.items() if values.get(name) == normalized(value)}
        if not chosen:
            values = {values[name] for values in typed.values() if name in values}
            known = f"values of {name}: {format_names(values)}" if values else f"{name} is not in its command"
            raise UserError(f"--where {condition}: no run of the sweep has it; {known}")
        every = plan.get("all_jobs", plan["jobs"])
        plan = plan | {"jobs": [job for job in plan["jobs"] if job["run_id"] in chosen], "all_jobs": every}
    return plan


def split_override(override: str) -> tuple[str, str]:
    name, _, value = override.partition("=")
    return name.lstrip("+"), normalized(value)


def is_queued(state: State, status: dict[str, Any], submitted: float) -> bool:
    """Return whether Slurm will start a submitted run: unless it was stopped for a recorded reason since then."""
    was_stopped = bool(status.get("error")) and (number(status.get("heartbeat")) or 0.0) > submitted
    return state is State.WAITING or (state is State.INTERRUPTED and not was_stopped)


def collect_run(record: RunDirectory, swept: str, job: dict[str, Any], state: State) -> RunStatus:
    """Return the status of a run in a state, given its job in the plan."""
    metrics = record.metrics()
    score = next((score for score in SCORES.values() if metrics and f"val_{score}" in metrics[0]), None)
    rows = list(readable_rows(metrics, score or SCORES[CLASSIFICATION]))
    if job["action"] == Action.TRAIN and has_not_started(job, record.status()):
        rows = []  # of an earlier attempt
    seconds: float | None = job["seconds"]
    if rows:
        seconds = number((job["epochs"] - len(rows)) * median(row["seconds"] for row in rows))
    return RunStatus(
        swept,
        record.run_id,
        state,
        len(rows),
        len(rows) if state is State.FINISHED else job["epochs"],  # early stopping ends before the last epoch
        max((row["val"] for row in rows), default=None),
        rows[-1]["images_per_second"] if rows else None,
        0.0 if STATES[state].is_terminal else seconds,
        score,
    )


def readable_rows(rows: Sequence[dict[str, Any]], score: str) -> Iterator[dict[str, float]]:
    """Yield the validation metric of this name, speed and duration of each epoch whose row holds numbers."""
    for row in rows:
        val, images_per_second, *parts = (
            number(row.get(name)) for name in (f"val_{score}", "images_per_second", "train_seconds", "eval_seconds")
        )
        known = [part for part in parts if part is not None]
        if val is not None and images_per_second is not None and len(known) == len(parts):
            yield {"val": val, "images_per_second": images_per_second, "seconds": sum(known)}


def expected_ends(statuses: Sequence[RunStatus], concurrency: int | None) -> list[float | None]:
    """Return in how many seconds each run will end; None where it has ended, or that is unknown.

    Waiting runs start as others end, the longest first. Where nothing is running, nothing will end.

    Args:
        statuses: of all runs of the sweep.
        concurrency: runs at a time; None where it is unknown.
    """
    running = [status.seconds or 0.0 for status in statuses if status.state is State.RUNNING]
    ends = [status.seconds if status.state is State.RUNNING else None for status in statuses]
    if not running:
        return ends
    free = running + [0.0] * ((concurrency or 1) - len(running))
    heapq.heapify(free)
    left = [
        (status.seconds or 0.0, index)
        for index, status in enumerate(statuses)
        if not status.is_terminal and status.state is not State.RUNNING
    ]
    for seconds, index in sorted(left, key=lambda item: -item[0]):
        begin = heapq.heappop(free)
        ends[index] = None if statuses[index].seconds is None else begin + seconds
        heapq.heappush(free, begin + seconds)
    return ends

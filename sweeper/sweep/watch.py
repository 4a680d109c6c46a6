"""The live table of a sweep, read only from the records of its runs. No torch here: it starts fast."""

import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError, format_names
from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import CLASSIFICATION, SCORES
from sweeper.runs.states import STATES, Action, State, parse_state
from sweeper.sweep.durations import format_duration, makespan
from sweeper.sweep.notation import normalized
from sweeper.sweep.saved import find_sweep, own_jobs, queued_runs, read_plan

REFRESH = 1.0  # seconds between reads of the records
WIDE = 200  # columns if there is no terminal


@dataclass
class RunStatus:
    """The present status of a run.

    Attributes:
        swept: the overrides that distinguish it from the sweep's other runs.
        epoch: the number of finished epochs.
        best_val: the best validation accuracy so far, or the metric that ranks runs of another task.
        images_per_second: the speed of its last epoch.
        seconds: an estimate of the time left; None where nothing is known.
        score: that metric; None before an epoch has ended.
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
    jobs = own_jobs(plan)
    common = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
    queued = queued_runs(folder)
    statuses = []
    for job in jobs:
        swept = " ".join(override for override in job["overrides"] if override not in common)
        record = RunDirectory(folder.parent.parent / "runs" / job["run_id"])
        status = collect_run(record, swept, job)
        if status.run_id in queued and is_queued(status.state, record.status() or {}, queued[status.run_id]):
            status.state = State.QUEUED
        statuses.append(status)
    return sorted(statuses, key=lambda status: (STATES[status.state].order, status.run_id))


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
        plan = plan | {"jobs": [job for job in plan["jobs"] if job["run_id"] in chosen]}
    return plan


def split_override(override: str) -> tuple[str, str]:
    name, _, value = override.partition("=")
    return name.lstrip("+"), normalized(value)


def is_queued(state: State, status: dict[str, Any], submitted: float) -> bool:
    """Return whether Slurm will start a submitted run: unless it was stopped for a recorded reason since then."""
    was_stopped = bool(status.get("error")) and (number(status.get("heartbeat")) or 0.0) > submitted
    return state is State.WAITING or (state is State.INTERRUPTED and not was_stopped)


def collect_run(record: RunDirectory, swept: str, job: dict[str, Any]) -> RunStatus:
    """Return the status of a run, given its job in the plan."""
    metrics = record.metrics()
    score = next((score for score in SCORES.values() if metrics and f"val_{score}" in metrics[0]), None)
    rows = list(readable_rows(metrics, score or SCORES[CLASSIFICATION]))
    status = record.status()
    state = State.WAITING if status is None else parse_state(status.get("state"))
    is_planned = job["action"] in (Action.TRAIN, Action.RESUME)
    if is_planned and state is not State.RUNNING and number((status or {}).get("heartbeat")) == job["heartbeat"]:
        # as at planning: this attempt has not started
        resumes = job["action"] == Action.RESUME
        state = state if resumes and not STATES[state].is_terminal else State.WAITING
        rows = rows if resumes else []
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


def draw(name: str, plan: dict[str, Any], statuses: Sequence[RunStatus], shown: int) -> list[Table | Text]:
    """Return the table of the first `shown` runs, and the lines that count all of them."""
    table = Table(title=Text(f"sweep {name}"), title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    names = dict.fromkeys(status.score for status in statuses if status.score is not None)
    for header in ("epoch", f"best val {' or '.join(names) or SCORES[CLASSIFICATION]}", "images/s", "ETA"):
        table.add_column(header, justify="right", no_wrap=True)
    for status in statuses[:shown]:
        table.add_row(
            Text(status.swept or status.run_id),
            Text(status.state, style=STATES[status.state].color),
            f"{status.epoch}/{status.epochs}",
            "-" if status.best_val is None else f"{status.best_val:.4f}",
            "-" if status.images_per_second is None else f"{status.images_per_second:,.0f}",
            "-" if status.is_terminal or status.seconds is None else format_hms(status.seconds),
        )
    rest = statuses[shown:]
    more = [Text(f"and {len(rest)} more: {format_counts(rest)}")] if rest else []
    return [table, *more, Text(format_progress(plan, statuses))]


def draw_fitting(name: str, plan: dict[str, Any], statuses: Sequence[RunStatus], console: Console) -> Group:
    """Return the table of as many runs as the terminal has lines for, at least of the first."""

    def surplus(shown: int) -> int:
        lines = console.render_lines(Group(*draw(name, plan, statuses, shown)))
        return len(lines) - console.height + 1  # the cursor takes a line

    fitting = bisect_right(range(len(statuses) + 1), 0, key=surplus) - 1
    return Group(*draw(name, plan, statuses, max(1, fitting)))


def format_counts(statuses: Sequence[RunStatus]) -> str:
    """Format how many runs are in which state."""
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state}" for state in sorted(counts, key=lambda state: STATES[state].order))


def format_progress(plan: dict[str, Any], statuses: Sequence[RunStatus]) -> str:
    """Format the counts of all runs, and the time left at the current number of parallel runs."""
    left = [status.seconds for status in statuses if not status.is_terminal]
    known = [seconds for seconds in left if seconds is not None]
    num_running = sum(status.state is State.RUNNING for status in statuses)
    line = f"{len(statuses)} run{'' if len(statuses) == 1 else 's'}: {format_counts(statuses)}"
    if num_running and known:
        line += f"; {format_duration(makespan(known, max(num_running, plan['concurrency'] or 1)))} left"
    elif left and not num_running and not any(status.state is State.QUEUED for status in statuses):
        line += f"; nothing is running; to resume: {plan['command']}"
    return line


def format_hms(seconds: float) -> str:
    """Format seconds as hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def watch(output_dir: Path, name: str | None, *, once: bool, where: Sequence[str] = ()) -> None:
    """Print the runs of a sweep that meet every condition KEY=VALUE; in a terminal, redraw them until all have ended.

    A terminal that cannot redraw (TERM=dumb) gets a line for each change of the counts instead, and the table again.

    Raises:
        UserError: there is no such sweep, or a condition is wrong.
    """
    folder = find_sweep(output_dir, name)
    live = sys.stdout.isatty() and not once
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)

    def now() -> tuple[dict[str, Any], list[RunStatus]]:
        plan = select_jobs(read_plan(folder), where)
        return plan, collect(folder, plan)

    plan, statuses = now()
    if not live:
        for part in draw(folder.name, plan, statuses, len(statuses)):
            console.print(part, soft_wrap=isinstance(part, Text))
        return
    if console.is_dumb_terminal:
        follow_in_lines(folder, console, where)
        return
    try:
        with Live(draw_fitting(folder.name, plan, statuses, console), console=console, auto_refresh=False) as display:
            while not all(status.is_terminal for status in statuses):
                time.sleep(REFRESH)
                plan, statuses = now()
                display.update(draw_fitting(folder.name, plan, statuses, console), refresh=True)
    except KeyboardInterrupt:
        pass  # the sweep keeps running


def follow_in_lines(folder: Path, console: Console, where: Sequence[str] = ()) -> None:
    """Print the table, then a line whenever a run changes its state, and at the end the table again."""
    counts = ""
    try:
        while True:
            plan = select_jobs(read_plan(folder), where)
            statuses = collect(folder, plan)
            has_ended = all(status.is_terminal for status in statuses)
            if not counts or has_ended:
                console.print(*draw(folder.name, plan, statuses, len(statuses)))
            elif format_counts(statuses) != counts:
                console.print(Text(format_progress(plan, statuses)), soft_wrap=True)
            if has_ended:
                return
            counts = format_counts(statuses)
            time.sleep(REFRESH)
    except KeyboardInterrupt:
        pass  # the sweep keeps running

"""A sweep as it goes, wherever its runs are: read from their records alone, without torch."""

import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.runs.states import Action
from sweeper.sweep.estimate import format_duration, makespan
from sweeper.sweep.saved import find_sweep, own_jobs, queued_runs, read_plan

REFRESH = 1.0  # seconds between two looks at the records
ENDED = ("finished", "diverged", "failed", "cancelled")
# what needs a look comes first
ORDER = ("running", "lost", "failed", "diverged", "cancelled", "interrupted", "queued", "waiting", "finished")
COLOURS = {
    "running": "cyan",
    "finished": "green",
    "queued": "dim",
    "waiting": "dim",
}  # every other state is not as it should be: red
WIDE = 200  # characters across, where no terminal sets them


@dataclass
class Watched:
    """A run as it is now.

    Attributes:
        swept: the overrides that tell it apart from the others.
        epoch: epochs that are done.
        images_per_second: of its last epoch.
        seconds: an estimate of what is left; None where nothing is known.
    """

    swept: str
    run_id: str
    state: str
    epoch: int
    epochs: int
    best_val_acc: float | None
    images_per_second: float | None
    seconds: float | None


def look(folder: Path, plan: dict[str, Any]) -> list[Watched]:
    """Every run of a sweep, what needs a look first."""
    jobs = own_jobs(plan)
    common = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
    runs = folder.parent.parent / "runs"
    queued = queued_runs(folder)
    watched = []
    for job in jobs:
        swept = " ".join(override for override in job["overrides"] if override not in common)
        record = RunDirectory(runs / job["run_id"])
        one = look_at(record, swept, job)
        if one.run_id in queued and is_queued(one.state, record.status() or {}, queued[one.run_id]):
            one.state = "queued"
        watched.append(one)
    return sorted(watched, key=lambda one: (place(one.state), one.run_id))


def is_queued(state: str, status: dict[str, Any], submitted: float) -> bool:
    """Whether Slurm will start a run that it was given: not one that has said since then why it ended."""
    said_why = bool(status.get("error")) and (number(status.get("heartbeat")) or 0.0) > submitted
    return state == "waiting" or (state == "interrupted" and not said_why)


def place(state: str) -> int:
    return ORDER.index(state) if state in ORDER else 1


def look_at(record: RunDirectory, swept: str, job: dict[str, Any]) -> Watched:
    """A run, given the combination that it is of."""
    rows = list(readable(record.metrics()))
    status = record.status() or {"state": "waiting"}
    state = str(status.get("state", "unknown")).encode(errors="replace").decode()
    is_planned = job["action"] in (Action.TRAIN, Action.RESUME)
    if is_planned and state != "running" and number(status.get("heartbeat")) == job["heartbeat"]:
        goes_on = job["action"] == Action.RESUME  # as the plan found it
        state, rows = state if goes_on and state not in ENDED else "waiting", rows if goes_on else []
    seconds: float | None = job["seconds"]
    if rows:
        seconds = number((job["epochs"] - len(rows)) * median(row["seconds"] for row in rows))
    return Watched(
        swept,
        record.run_id,
        state,
        len(rows),
        len(rows) if state == "finished" else job["epochs"],  # early stopping ends before the last one
        max((row["val_acc"] for row in rows), default=None),
        rows[-1]["images_per_second"] if rows else None,
        0.0 if state in ENDED else seconds,
    )


def readable(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, float]]:
    """The rows that hold what we write, less their other columns."""
    for row in rows:
        val_acc, images_per_second, *parts = (
            number(row.get(name)) for name in ("val_acc", "images_per_second", "train_seconds", "eval_seconds")
        )
        known = [part for part in parts if part is not None]
        if val_acc is not None and images_per_second is not None and len(known) == len(parts):
            yield {"val_acc": val_acc, "images_per_second": images_per_second, "seconds": sum(known)}


def draw(name: str, plan: dict[str, Any], watched: Sequence[Watched], shown: int) -> list[Table | Text]:
    """The table of so many runs, and the lines that count all of them."""
    table = Table(title=Text(f"sweep {name}"), title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for header in ("epoch", "best val acc", "images/s", "ETA"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in watched[:shown]:
        table.add_row(
            Text(one.swept or one.run_id),
            Text(one.state, style=COLOURS.get(one.state, "red")),
            f"{one.epoch}/{one.epochs}",
            "-" if one.best_val_acc is None else f"{one.best_val_acc:.4f}",
            "-" if one.images_per_second is None else f"{one.images_per_second:,.0f}",
            "-" if one.state in ENDED or one.seconds is None else clock(one.seconds),
        )
    rest = watched[shown:]
    more = [Text(f"and {len(rest)} more: {count(rest)}")] if rest else []
    return [table, *more, Text(progress_of(plan, watched))]


def draw_fitting(name: str, plan: dict[str, Any], watched: Sequence[Watched], console: Console) -> Group:
    """As many runs as the terminal has lines for."""

    def surplus(shown: int) -> int:
        lines = console.render_lines(Group(*draw(name, plan, watched, shown)))
        return len(lines) - console.height + 1  # the cursor has a line of its own

    fitting = bisect_right(range(len(watched) + 1), 0, key=surplus) - 1
    return Group(*draw(name, plan, watched, max(1, fitting)))


def count(watched: Sequence[Watched]) -> str:
    states = Counter(one.state for one in watched)
    return ", ".join(f"{states[state]} {state}" for state in sorted(states, key=place))


def progress_of(plan: dict[str, Any], watched: Sequence[Watched]) -> str:
    """How many runs are in which state, and when the sweep will be done if as many as now go on at a time."""
    left = [one.seconds for one in watched if one.state not in ENDED]
    known = [seconds for seconds in left if seconds is not None]
    running = sum(one.state == "running" for one in watched)
    line = f"{len(watched)} runs: {count(watched)}"
    if running and known:
        line += f"; {format_duration(makespan(known, max(running, plan['concurrency'] or 1)))} left"
    elif left and not running and not any(one.state == "queued" for one in watched):
        line += f"; nothing runs; to go on: {plan['command']}"
    return line


def clock(seconds: float) -> str:
    """hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def watch(output_dir: Path, name: str | None, *, once: bool) -> None:
    """Print a sweep's runs, and again until all have ended.

    Raises:
        UserError: there is no such sweep.
    """
    folder = find_sweep(output_dir, name)
    live = sys.stdout.isatty() and not once
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)

    def now() -> tuple[dict[str, Any], list[Watched]]:
        plan = read_plan(folder)
        return plan, look(folder, plan)

    plan, watched = now()
    if not live:
        for part in draw(folder.name, plan, watched, len(watched)):
            console.print(part, soft_wrap=isinstance(part, Text))
        return
    try:
        with Live(draw_fitting(folder.name, plan, watched, console), console=console, auto_refresh=False) as display:
            while any(one.state not in ENDED for one in watched):
                time.sleep(REFRESH)
                plan, watched = now()
                display.update(draw_fitting(folder.name, plan, watched, console), refresh=True)
    except KeyboardInterrupt:
        pass  # the sweep goes on; only the watching ends

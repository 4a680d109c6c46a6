"""A sweep as it goes, wherever its runs are: read from their records alone, without torch."""

import sys
import time
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

from sweeper.record import Record
from sweeper.sweep.estimate import about, makespan
from sweeper.sweep.saved import find_sweep, own_jobs, read_plan

REFRESH = 1.0  # seconds between two looks at the records
ENDED = ("finished", "diverged", "failed")
ORDER = ("running", "lost", "failed", "diverged", "interrupted", "waiting", "finished")  # what needs a look comes first
COLOURS = {"running": "cyan", "finished": "green", "waiting": "dim"}  # every other state is not as it should be: red
WIDE = 200  # characters across, where no terminal sets them
LINES_AROUND = 7  # of the terminal, which are not rows of runs


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


def look(folder: Path, jobs: Sequence[dict[str, Any]]) -> list[Watched]:
    """Every run of a sweep, what needs a look first."""
    common = set.intersection(*(set(job["overrides"]) for job in jobs)) if len(jobs) > 1 else set()
    runs = folder.parent.parent / "runs"
    watched = []
    for job in jobs:
        swept = " ".join(override for override in job["overrides"] if override not in common)
        watched.append(look_at(Record(runs / job["run_id"]), swept, job))
    return sorted(watched, key=lambda one: (place(one.state), one.run_id))


def place(state: str) -> int:
    return ORDER.index(state) if state in ORDER else 1


def look_at(record: Record, swept: str, job: dict[str, Any]) -> Watched:
    rows = [row for row in record.metrics() if {"val_acc", "train_seconds", "eval_seconds"} <= row.keys()]
    state = str((record.status() or {}).get("state", "waiting"))
    epochs = int(job.get("epochs") or 0)
    seconds: float | None = job.get("seconds")
    if rows:
        seconds = (epochs - len(rows)) * median(row["train_seconds"] + row["eval_seconds"] for row in rows)
    return Watched(
        swept,
        record.run_id,
        state,
        len(rows),
        len(rows) if state == "finished" else epochs,  # early stopping ends before the last one
        max((row["val_acc"] for row in rows), default=None),
        rows[-1].get("images_per_second") if rows else None,
        0.0 if state in ENDED else seconds,
    )


def draw(name: str, plan: dict[str, Any], watched: Sequence[Watched], height: int | None) -> Group:
    """The table, at most `height` rows of it, and a line that counts all runs."""
    table = Table(title=Text(f"sweep {name}"), title_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("state")
    for header in ("epoch", "best val acc", "images/s", "ETA"):
        table.add_column(header, justify="right")
    shown = watched if height is None else watched[: max(1, height)]
    for one in shown:
        table.add_row(
            Text(one.swept or one.run_id),
            Text(one.state, style=COLOURS.get(one.state, "red")),
            f"{one.epoch}/{one.epochs}",
            "-" if one.best_val_acc is None else f"{one.best_val_acc:.4f}",
            "-" if one.images_per_second is None else f"{one.images_per_second:,.0f}",
            "-" if one.state in ENDED or one.seconds is None else clock(one.seconds),
        )
    return Group(table, *hidden(watched[len(shown) :]), Text(progress_of(plan, watched)))


def hidden(rest: Sequence[Watched]) -> Iterator[Text]:
    if rest:
        yield Text(f"and {len(rest)} more: {count(rest)}")


def count(watched: Sequence[Watched]) -> str:
    states = Counter(one.state for one in watched)
    return ", ".join(f"{states[state]} {state}" for state in sorted(states, key=place))


def progress_of(plan: dict[str, Any], watched: Sequence[Watched]) -> str:
    """How many runs are in which state, and when the sweep will be done if as many as now go on at a time."""
    left = [one.seconds for one in watched if one.state not in ENDED and one.seconds is not None]
    running = sum(one.state == "running" for one in watched)
    line = f"{len(watched)} runs: {count(watched)}"
    if running and left:
        line += f"; {about(makespan(left, max(running, plan.get('concurrency') or 1)))} left"
    elif left:
        line += f"; nothing runs; to go on: {plan.get('command')}"
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
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)

    def now(height: int | None) -> tuple[Group, bool]:
        plan = read_plan(folder) or {"jobs": []}
        watched = look(folder, own_jobs(plan))
        return draw(folder.name, plan, watched, height), all(one.state in ENDED for one in watched)

    if once or not console.is_terminal:
        console.print(now(None)[0])
        return
    drawn, ended = now(console.height - LINES_AROUND)
    try:
        with Live(drawn, console=console, auto_refresh=False) as live:
            while not ended:
                time.sleep(REFRESH)
                drawn, ended = now(console.height - LINES_AROUND)
                live.update(drawn, refresh=True)
    except KeyboardInterrupt:
        pass  # the sweep goes on; only the watching ends

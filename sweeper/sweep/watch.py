"""The live table of a sweep, redrawn until its runs have ended. No torch here: it starts fast."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweeper.display import stdout_console
from sweeper.runs.provenance import next_command
from sweeper.sweep.saved import find_sweep, read_plan
from sweeper.sweep.starting import is_going, is_starting
from sweeper.sweep.statuses import RunStatus, collect, select_jobs
from sweeper.sweep.watch_table import WIDE, draw, draw_fitting, format_counts, format_progress

LEAST_PERIOD = 1.0  # seconds between reads of the records
SHARE = 20  # times as long as reading takes, that the runs have the cores in between


def period_after(taken: float) -> float:
    """Return the seconds until the records are read again, when reading them took so many."""
    return max(LEAST_PERIOD, SHARE * taken)


def watch(output_dir: Path, name: str | None, *, once: bool, where: Sequence[str] = ()) -> None:
    """Print the runs of a sweep that meet every condition KEY=VALUE; in a terminal, redraw them until all have ended.

    A terminal that cannot redraw (TERM=dumb) gets a line for each change of the counts instead, and the table again.

    Raises:
        UserError: there is no such sweep, or a condition is wrong.
    """
    if name is None:
        wait_for_plan(output_dir)
    folder = find_sweep(output_dir, name)
    live = sys.stdout.isatty() and not once
    console = stdout_console(WIDE)

    def now() -> tuple[dict[str, Any], list[RunStatus]]:
        plan = select_jobs(read_plan(folder), where)
        return plan, collect(folder, plan)

    plan, statuses = now()
    if not live:
        for part in draw(folder.name, plan, statuses, len(statuses), console.width):
            console.print(part, soft_wrap=isinstance(part, Text))
        return
    if console.is_dumb_terminal:
        follow_in_lines(folder, console, where)
        return
    taken = 0.0
    try:
        with Live(draw_fitting(folder.name, plan, statuses, console), console=console, auto_refresh=False) as display:
            while is_going(folder) or not all(status.is_terminal for status in statuses):
                time.sleep(period_after(taken))
                begin = time.monotonic()
                plan, statuses = now()
                taken = time.monotonic() - begin
                display.update(draw_fitting(folder.name, plan, statuses, console), refresh=True)
        print(next_command(f"effects {folder.name}", output_dir))
    except KeyboardInterrupt:
        pass  # the sweep keeps running


def wait_for_plan(output_dir: Path) -> None:
    """Wait while a sweep is being planned: it will be the latest one."""
    if is_starting(output_dir):
        print("a sweep is being planned", flush=True)
    while is_starting(output_dir):
        time.sleep(LEAST_PERIOD / 2)


def follow_in_lines(folder: Path, console: Console, where: Sequence[str] = ()) -> None:
    """Print the table, then a line whenever a run changes its state, and at the end the table again."""
    counts = ""
    try:
        while True:
            plan = select_jobs(read_plan(folder), where)
            statuses = collect(folder, plan)
            has_ended = all(status.is_terminal for status in statuses) and not is_going(folder)
            if not counts or has_ended:
                console.print(*draw(folder.name, plan, statuses, len(statuses), console.width))
            elif format_counts(statuses) != counts:
                console.print(Text(format_progress(plan, statuses)), soft_wrap=True)
            if has_ended:
                return
            counts = format_counts(statuses)
            time.sleep(LEAST_PERIOD)
    except KeyboardInterrupt:
        pass  # the sweep keeps running

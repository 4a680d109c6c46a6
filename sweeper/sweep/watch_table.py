"""The table of the runs of a sweep, as `watch` and a sweep that trains in parallel draw it. No torch here."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from sweeper.display import format_clock
from sweeper.runs.naming import short_name
from sweeper.runs.scores import CLASSIFICATION, SCORES
from sweeper.runs.states import STATES, State
from sweeper.sweep.durations import format_duration
from sweeper.sweep.statuses import RunStatus, expected_ends

WIDE = 200  # columns if there is no terminal
LEAST_NAME = 32  # characters of the runs' names; below, other columns are left out, in this order
LEFT_OUT = ("images/s", "ETA")
BORDERS = 3  # characters that a column adds


def draw(
    name: str, plan: dict[str, Any], statuses: Sequence[RunStatus], shown: int, width: int = WIDE
) -> list[Table | Text]:
    """Return the table of the first `shown` runs, and the lines that count all of them.

    Args:
        width: characters across; where they are few, the names wrap and columns are left out.
    """
    ended = sum(status.is_terminal for status in statuses)
    table = Table(title=Text(f"sweep {name}: {ended} of {len(statuses)} ended"), title_justify="left")
    ends = expected_ends(statuses, plan["concurrency"])
    names = [short_name(status.swept, status.run_id) for status in statuses[:shown]]
    scores = dict.fromkeys(status.score for status in statuses if status.score is not None)
    best = f"best val {' or '.join(scores) or SCORES[CLASSIFICATION]}"
    cells = [describe(status, end, best) for status, end in zip(statuses[:shown], ends, strict=False)]
    headers = headers_for(width, max(map(len, names), default=0), cells)
    table.add_column("run", overflow="fold")
    for header in headers:
        table.add_column(header, justify="left" if header == "state" else "right", no_wrap=True)
    for text, row in zip(names, cells, strict=True):
        table.add_row(Text(text), *(row[header] for header in headers))
    rest = statuses[shown:]
    more = [Text(f"and {len(rest)} more: {format_counts(rest)}")] if rest else []
    return [table, *more, Text(format_progress(plan, statuses))]


def describe(status: RunStatus, end: float | None, best: str) -> dict[str, Text]:
    """Return the cells of a run that ends in so many seconds, by their headers; `best` is that of the best epoch."""
    return {
        "state": Text(status.state, style=STATES[status.state].color),
        "epoch": Text(f"{status.epoch}/{status.epochs}"),
        best: Text("-" if status.best_val is None else f"{status.best_val:.4f}"),
        "images/s": Text("-" if status.images_per_second is None else f"{status.images_per_second:,.0f}"),
        "ETA": Text("-" if end is None else format_clock(end)),
    }


def headers_for(width: int, longest: int, cells: Sequence[Mapping[str, Text]]) -> list[str]:
    """Return the columns besides the name that a width has room for."""
    headers = list(cells[0]) if cells else []
    for left_out in LEFT_OUT:
        taken = (
            1 + BORDERS + sum(BORDERS + max(len(header), *(len(row[header]) for row in cells)) for header in headers)
        )
        if width - taken >= min(longest, LEAST_NAME):
            break
        headers.remove(left_out)
    return headers


def draw_fitting(name: str, plan: dict[str, Any], statuses: Sequence[RunStatus], console: Console) -> Group:
    """Return the table of as many runs as the terminal has lines for, at least of the first."""

    def surplus(shown: int) -> int:
        lines = console.render_lines(Group(*draw(name, plan, statuses, shown, console.width)))
        return len(lines) - console.height + 1  # the cursor takes a line

    fitting = bisect_right(range(len(statuses) + 1), 0, key=surplus) - 1
    return Group(*draw(name, plan, statuses, max(1, fitting), console.width))


def format_counts(statuses: Sequence[RunStatus]) -> str:
    """Format how many runs are in which state."""
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state}" for state in sorted(counts, key=lambda state: STATES[state].order))


def format_progress(plan: dict[str, Any], statuses: Sequence[RunStatus]) -> str:
    """Format the counts of all runs, and the time left at the present number of parallel runs.

    Args:
        plan: of the sweep, with the command that resumes it, or None while that is running.
    """
    line = f"{len(statuses)} run{'' if len(statuses) == 1 else 's'}: {format_counts(statuses)}"
    known = [end for end in expected_ends(statuses, plan["concurrency"]) if end is not None]
    if known:
        return f"{line}; {format_duration(max(known))} left"
    left = {status.state for status in statuses if not status.is_terminal}
    if left and not left & {State.RUNNING, State.QUEUED} and plan["command"] is not None:
        line += f"; nothing is running; to resume: {plan['command']}"
    return line

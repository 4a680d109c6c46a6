"""The sweeps of an output folder: date, number of runs, state. No torch here: it starts fast."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from sweeper.display import stdout_console
from sweeper.errors import UserError
from sweeper.files import number
from sweeper.runs.states import STATES, State
from sweeper.sweep.saved import find_sweep, plans_of, read_plan
from sweeper.sweep.statuses import states_of

WIDE = 200  # columns if there is no terminal
UNREADABLE = "sweep.json is not readable"
NARROW = 48  # characters of the other columns, their borders included, with a state that wraps


@dataclass(frozen=True)
class Sweep:
    """A sweep that was started.

    Attributes:
        created: when it was first planned, in seconds since 1970; None where the plan is not readable.
        runs: number of its own runs; None likewise.
        state: such as `finished` or `3 of 8 finished, 1 failed, 4 waiting`.
    """

    name: str
    created: float | None
    runs: int | None
    state: str


def read_sweeps(output_dir: Path) -> list[Sweep]:
    """Return the sweeps, the one that was started last first, those without a readable plan last.

    Raises:
        UserError: there is none.
    """
    find_sweep(output_dir, None)
    sweeps = [read_sweep(file.parent) for file in reversed(plans_of(output_dir))]
    return sorted(sweeps, key=lambda sweep: sweep.created is None)


def read_sweep(folder: Path) -> Sweep:
    try:
        plan = read_plan(folder)
    except UserError:
        return Sweep(folder.name, None, None, UNREADABLE)
    states = Counter(states_of(folder, plan).values())
    return Sweep(folder.name, number(plan["created"]), states.total(), format_states(states))


def format_states(states: Mapping[State, int]) -> str:
    """Return the state of all runs, or how many are finished and the counts of the other states."""
    if len(states) == 1:
        return str(next(iter(states)))
    others = sorted((state for state in states if state is not State.FINISHED), key=lambda state: STATES[state].order)
    parts = [f"{states.get(State.FINISHED, 0)} of {sum(states.values())} finished"]
    return ", ".join(parts + [f"{states[state]} {state}" for state in others])


def print_sweeps(output_dir: Path) -> None:
    """Print a row for each sweep.

    Raises:
        UserError: there is none.
    """
    table, sweeps, console = Table(), read_sweeps(output_dir), stdout_console(WIDE)
    width = min(max(len(sweep.name) for sweep in sweeps), console.width - NARROW)  # names are copied: in one line
    table.add_column("sweep", overflow="fold", min_width=width)
    table.add_column("started", no_wrap=True)
    table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for sweep in sweeps:
        started = "-" if sweep.created is None else format_date(sweep.created)
        runs = "-" if sweep.runs is None else str(sweep.runs)
        table.add_row(Text(sweep.name), started, runs, Text(sweep.state))
    console.print(table)


def format_date(seconds: float) -> str:
    """Return the local date and time; `-` where the number is none."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "-"

"""The table in the terminal, as wide as that is."""

import io
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.display import stdout_console
from sweeper.runs.naming import ID_DIGITS
from sweeper.runs.provenance import next_command
from sweeper.summary.columns import is_number, text_cells
from sweeper.summary.narrow import (
    CONFIGURATION,
    LEAST_SHARE,
    MAIN,
    expendable,
    is_setting,
    merge_settings,
    says_nothing,
)
from sweeper.summary.output import printable, write_output
from sweeper.summary.table import lay_out, read_runs

MAX_ROWS = 100
STATE = {"state": 11}  # characters of `3 finished,`: where settings wrap, so do states
BORDERS = 3  # characters that a column adds: its border and a space on both sides


def print_runs(output_dir: Path, only: Collection[str]) -> None:
    """Print the table of these runs, a row for each."""
    print_table(*lay_out(*read_runs(output_dir, only), is_typed=True), output_dir=output_dir)


def print_table(
    table: pd.DataFrame,
    caption: str,
    output: Path | None = None,
    sweep: str | None = None,
    output_dir: Path = Path("outputs"),
    selected: Sequence[str] = (),
) -> None:
    """Print the table with its caption, or write it to a file; see `fit` for narrow terminals.

    A caption that refers to all columns names the command for `sweep`, whose runs the table has; None: for all runs of
    `output_dir`. `selected` are the options of `summary` that chose rows and columns, such as `--where data=digits`.
    """
    if output is not None:
        file = io.StringIO()
        Console(width=width_of(table), file=file, force_terminal=False, color_system=None).print(
            as_grid(table), markup=False
        )
        write_output(output, f"{file.getvalue()}{caption}\n")
        return
    console, is_terminal = stdout_console(), sys.stdout.isatty()
    if len(table) > MAX_ROWS:
        caption = f"The first {MAX_ROWS} of {len(table)} rows; --format csv prints all\n{caption}"
        table = table.head(MAX_ROWS)
    if is_terminal:
        grid, left_out = fit(table, console.width)
    else:
        grid, left_out = as_grid(table), []
        console.width = width_of(table)
    if left_out:
        arguments = ["summary", *([sweep] if sweep else []), *selected, "--format", "csv"]
        command = next_command(shlex.join(arguments), output_dir).removeprefix("next: ")
        caption += f"\nToo wide, left out: {', '.join(left_out)}; {command} prints them"
    console.print(grid, markup=False)
    console.print(Text(caption, style="dim italic"), soft_wrap=not is_terminal)


def fit(table: pd.DataFrame, width: int) -> tuple[Table, list[str]]:
    """Return the table as wide as the terminal, and the results that it leaves out.

    Where it is too wide, run IDs are cut to their last digits, then results of little interest are left out. Settings
    never are: where they still do not fit, they share one column whose lines wrap.

    Args:
        width: characters across.
    """
    if width_of(table) <= width:
        return as_grid(table), []
    if "run_id" in table:
        table = table.assign(run_id=table["run_id"].str[-ID_DIGITS:])
    spare = expendable(table)
    main = next((index for index, name in enumerate(spare) if index and name in MAIN), len(spare))
    for number in range(main + 1):
        narrow = drop(table, spare[:number])
        if width_of(narrow) <= width:
            return as_grid(narrow), named(table, spare[:number])
    if not any(map(is_setting, map(str, table.columns))):
        return as_grid(narrow), named(table, spare[:main])
    merged, number = merge_settings(table), 0
    results = merged.drop(columns=CONFIGURATION)
    while (room := width - width_of(drop(results, spare[:number]), STATE) - BORDERS) < width // LEAST_SHARE:
        if number == len(spare):
            break
        number += 1
    widest = {CONFIGURATION: max(room, 1), **STATE}
    return as_grid(drop(merged, spare[:number]), widest), named(table, spare[:number])


def named(table: pd.DataFrame, left_out: Sequence[str]) -> list[str]:
    """Return the columns that the caption reports as left out: not a state that it shows anyway."""
    return [name for name in left_out if name != "state" or not says_nothing(table)]


def drop(table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Return the table without these results and their standard deviations."""
    return table.drop(columns=[part for name in names for part in (name, f"{name}_std") if part in table])


def as_grid(table: pd.DataFrame, widest: Mapping[str, int] | None = None) -> Table:
    """Return the table as rich draws it. A number's header may wrap, the number may not.

    Args:
        widest: the characters that a column may have, whose cells wrap.
    """
    texts, widest = text_cells(table), widest or {}
    grid = Table(show_lines=bool(widest))
    for name in map(str, texts.columns):
        header = Text(printable(name.replace("_", " ") if is_number(name) else name))
        width = max(len(cell) for cell in [*texts[name], *header.plain.split()])
        width = min(width, widest.get(name, width))
        align: Literal["left", "right"] = "right" if is_number(name) else "left"
        grid.add_column(header, justify=align, min_width=width, max_width=width, overflow="fold")
    for row in texts.itertuples(index=False):
        grid.add_row(*(Text(printable(cell)) for cell in row))
    return grid


def width_of(table: pd.DataFrame, widest: Mapping[str, int] | None = None) -> int:
    """Return the characters across: each column's cells, its border and a space on both sides."""
    return 1 + sum(int(column.max_width or 0) + BORDERS for column in as_grid(table, widest).columns)

"""The table in the terminal, as wide as that is."""

import io
import sys
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.summary.columns import is_number, is_result, text_cells
from sweeper.summary.output import printable, write_output
from sweeper.summary.table import lay_out, read_runs

MAX_ROWS = 100
ID_DIGITS = 10  # of a run id, where the whole does not fit
EXPENDABLE = ("parameters", "train_seconds", "convergence_seconds", "epochs_done")  # left out first


def print_runs(output_dir: Path, only: Collection[str]) -> None:
    """Print the table of these runs, a row for each."""
    print_table(*lay_out(*read_runs(output_dir, only)))


def print_table(table: pd.DataFrame, caption: str, output: Path | None = None) -> None:
    """Print the table with its caption, or write it to a file.

    Where the terminal is too narrow, run ids are cut to their last digits, then columns of little interest are left
    out, then settings.
    """
    if output is not None:
        file = io.StringIO()
        Console(width=width_of(table), file=file, force_terminal=False, color_system=None).print(
            as_grid(table), markup=False
        )
        write_output(output, f"{file.getvalue()}{caption}\n")
        return
    console, is_terminal = Console(), sys.stdout.isatty()  # rich may have been told that a file is one
    left_out: list[str] = []
    if len(table) > MAX_ROWS:
        caption = f"The first {MAX_ROWS} of {len(table)} rows; --format csv prints all\n{caption}"
        table = table.head(MAX_ROWS)
    if not is_terminal:
        console = Console(width=width_of(table))
    elif width_of(table) > console.width:
        if "run_id" in table:
            table = table.assign(run_id=table["run_id"].str[-ID_DIGITS:])
        settings = [name for name in table.columns if not is_result(name) and name not in ("run_id", "model")]
        spare = [name for name in (*EXPENDABLE, *settings) if name in table]
        while width_of(table.drop(columns=left_out, errors="ignore")) > console.width and spare:
            left_out.append(spare.pop(0))
    if left_out:
        caption += f"\nToo wide, left out: {', '.join(left_out)}; see summary.csv"
    console.print(as_grid(table.drop(columns=left_out)), markup=False)
    console.print(Text(caption, style="dim italic"), soft_wrap=not is_terminal)


def as_grid(table: pd.DataFrame) -> Table:
    """Return the table as rich draws it. A number's header may wrap, the number may not."""
    texts = text_cells(table)
    grid = Table()
    for name in map(str, texts.columns):
        header = Text(printable(name.replace("_", " ") if is_number(name) else name))
        width = max(len(cell) for cell in [*texts[name], *header.plain.split()])
        grid.add_column(header, justify="right" if is_number(name) else "left", min_width=width, max_width=width)
    for row in texts.itertuples(index=False):
        grid.add_row(*(Text(printable(cell)) for cell in row))
    return grid


def width_of(table: pd.DataFrame) -> int:
    """Return the characters across: each column's cells, its border and a space on both sides."""
    return 1 + sum(int(column.max_width or 0) + 3 for column in as_grid(table).columns)

"""The table of all runs: what varies as columns, what does not in the caption, best first."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError
from sweeper.record import write_text
from sweeper.summary.gather import MEASURES, gather

DIGITS = {"best_val_acc": "{:.4f}", "test_acc": "{:.4f}", "convergence_seconds": "{:.1f}", "train_seconds": "{:.1f}"}
SLOTS = ("activation", "norm")  # missing where the model has no such slot, which is no difference between runs
EXPENDABLE = ("parameters", "train_seconds", "convergence_seconds", "epochs_done")
DIGITS_OF_ID = 10
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a cell that begins so


def read_runs(output_dir: Path, only: Collection[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Runs, best validation accuracy first, and the names of folders that are no readable runs.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.

    Raises:
        UserError: there are no runs.
    """
    runs = output_dir / "runs"
    frame, unreadable = gather(runs, only)
    if frame.empty:
        raise UserError(f"there are no runs in {runs}; train one: python train.py model=softmax data=digits")
    frame = frame.sort_values(["best_val_acc", "run_id"], ascending=[False, True], na_position="last")
    return frame.reset_index(drop=True), unreadable


def lay_out(frame: pd.DataFrame, unreadable: list[str]) -> tuple[pd.DataFrame, str]:
    """The columns that tell runs apart, and the caption that says what they share."""
    settings = [name for name in frame.columns if name not in MEASURES and name != "run_id"]
    constant = [name for name in settings if frame[name].nunique(dropna=name in SLOTS) <= 1]
    implied = [name for name in settings if name not in constant and is_implied(frame, name)]
    table = frame.drop(columns=[*constant, *implied, "error"])
    if table["epochs_to_target"].isna().all():
        table = table.drop(columns="epochs_to_target")
    lines = caption(frame, [name for name in constant if name != "data.fingerprint"])
    lines += [f"With {text}" for text in implied_settings(frame, implied)]
    lines += [f"Left out, not readable as runs: {', '.join(unreadable)}"] if unreadable else []
    return table, "\n".join(lines)


def implied_settings(frame: pd.DataFrame, implied: list[str]) -> list[str]:
    """For each choice of a group, the settings that come with it in all runs, such as `model=mlp: hidden=[1024]`."""
    lines = []
    for group in dict.fromkeys(name.partition(".")[0] for name in implied):
        names = [name for name in implied if name.partition(".")[0] == group]
        for choice, runs in frame.groupby(group):
            values = [(name.partition(".")[2], runs[name].iloc[0]) for name in names]
            shown = ", ".join(f"{name}={show(name, value)}" for name, value in values if not is_missing(value))
            lines += [f"{group}={choice}: {shown}"] if shown else []
    return lines


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and pd.isna(value))


def is_implied(frame: pd.DataFrame, name: str) -> bool:
    """Whether a setting such as model.hidden follows from its group's choice in all runs."""
    group = name.partition(".")[0]
    if group == name or group not in frame:
        return False
    return bool((frame.groupby(group, dropna=False)[name].nunique(dropna=False) <= 1).all())


def caption(frame: pd.DataFrame, constant: list[str]) -> list[str]:
    """What the runs share, how they ended, and what the accuracies mean."""
    states = frame["state"].value_counts().sort_index()
    lines = [
        f"{len(frame)} {'run' if len(frame) == 1 else 'runs'}: "
        + ", ".join(f"{count} {state}" for state, count in states.items())
    ]
    shared = [f"{name}={value}" for name in constant for value in frame[name].dropna().unique()]
    lines += ["All with " + ", ".join(shared)] if shared else []
    errors = frame[["run_id", "state", "error"]].dropna().itertuples(index=False)
    lines += [f"{run_id} {state}: {error}" for run_id, state, error in errors]
    if "data.val_size" in frame and (frame["data.val_size"] == 0).any():
        lines.append("Runs with data.val_size=0 chose their best epoch on test images: their test_acc is optimistic")
    return lines


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, as it is shown."""
    return pd.DataFrame({name: [show(name, value) for value in table[name]] for name in table.columns})


def show(name: str, value: Any) -> str:
    if is_missing(value):
        return "-"
    if name == "data.fingerprint":
        return str(value)[:8]
    if name in DIGITS:
        return DIGITS[name].format(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else f"{value:g}"
    return f"{value:,}" if name == "parameters" else str(value)


def neutral(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def print_table(table: pd.DataFrame, text: str) -> None:
    """Print the table with its caption.

    Too narrow a terminal gets the last digits of run ids, then no columns of little weight, then fewer settings.
    """
    console = Console()
    left_out: list[str] = []
    if not console.is_terminal:
        console = Console(width=width_of(table))
    elif width_of(table) > console.width:
        table = table.assign(run_id=table["run_id"].str[-DIGITS_OF_ID:])
        settings = [name for name in table.columns if name not in MEASURES and name not in ("run_id", "model")]
        spare = [name for name in (*EXPENDABLE, *settings) if name in table]
        while width_of(table.drop(columns=left_out)) > console.width and len(left_out) < len(spare):
            left_out.append(spare[len(left_out)])
    if left_out:
        text += f"\nLeft out for lack of width: {', '.join(left_out)}; summary.csv has them"
    console.print(grid(table.drop(columns=left_out)), markup=False)
    console.print(Text(text, style="dim italic"), soft_wrap=not console.is_terminal)


def grid(table: pd.DataFrame) -> Table:
    """The table as rich draws it. The header of a number may wrap, the number may not."""
    shown = cells(table)
    drawn = Table()
    for name in map(str, shown.columns):
        number = name in MEASURES and name != "state"
        header = Text(name.replace("_", " ") if number else name)
        width = max(len(cell) for cell in [*shown[name], *header.plain.split()])
        drawn.add_column(header, justify="right" if number else "left", min_width=width, max_width=width)
    for row in shown.itertuples(index=False):
        drawn.add_row(*map(Text, row))
    return drawn


def width_of(table: pd.DataFrame) -> int:
    """Characters across: each column's cells, its border and a space on both sides."""
    return 1 + sum(int(column.max_width or 0) + 3 for column in grid(table).columns)


def write_files(frame: pd.DataFrame, table: pd.DataFrame, text: str, output_dir: Path) -> None:
    """Write summary.csv, every setting and full precision, and summary.md as the table is shown."""
    safe = frame.map(neutral).rename(columns=neutral)
    write_text(output_dir / "summary.csv", safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))
    shown = cells(table).map(markdown_cell).rename(columns=markdown_cell)
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in shown.itertuples(index=False)]
    write_text(
        output_dir / "summary.md",
        "\n".join([*lines, "", *(f"{markdown_cell(line)}.  " for line in text.splitlines()), ""]),
    )


def markdown_cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")

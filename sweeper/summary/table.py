"""The table of all runs: what varies as columns, what does not in the caption, best first."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError, format_names, nearest
from sweeper.summary.average import SPREADS, average
from sweeper.summary.gather import MEASURES, gather
from sweeper.summary.output import json_text, printable, write_output

DIGITS = {
    "best_val_acc": "{:.4f}",
    "test_acc": "{:.4f}",
    "convergence_seconds": "{:.1f}",
    "train_seconds": "{:.1f}",
    "parameters": "{:,.0f}",
}
SLOTS = ("activation", "norm")  # missing where the model has no such slot, which is no difference between runs
ERRORS = 10  # reasons of failures that a caption tells
ROWS = 100  # of a table in the terminal
EXPENDABLE = ("parameters", "train_seconds", "convergence_seconds", "epochs_done")
DIGITS_OF_ID = 10
SHA256 = "sha256:"  # how the content of weights is named
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


def print_runs(output_dir: Path, only: Collection[str]) -> None:
    """Print the table of these runs, each by itself."""
    frame, _ = read_runs(output_dir, only)
    print_table(*lay_out(frame, []))


def where(frame: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The runs that meet every condition `column=value`; a value is compared as the table shows it.

    Raises:
        UserError: a condition has no `=`, or names no column, or nothing has that value.
    """
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition}: write COLUMN=VALUE, such as model=mlp")
        require_columns(frame, [name])
        shown = frame[name].map(lambda cell, name=name: show(name, cell))
        chosen = (shown == value) | (frame[name].map(str) == value)
        if not chosen.any():
            raise UserError(f"--where {condition}: no run has it; {name} is {format_names(set(shown))}")
        frame = frame[chosen]
    return frame


def require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Refuse a column that is not there, with the valid ones."""
    for name in names:
        if name not in frame.columns:
            valid = list(map(str, frame.columns))
            raise UserError(f"there is no column {name}{nearest(name, valid)}; choose from {format_names(valid)}")


def sort(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Best first: accuracies and texts as they are asked for most, high or in order; whatever else from low to high."""
    require_columns(frame, [by])
    keys = [(2, 0.0, "") if is_missing(value) else order_of(value, by.endswith("_acc")) for value in frame[by].tolist()]
    names = [str(run_id) for run_id in frame["run_id"].tolist()]
    order = sorted(range(len(frame)), key=lambda place: (keys[place], names[place]))
    return frame.iloc[order].reset_index(drop=True)


def order_of(value: Any, high_first: bool) -> tuple[int, float, str]:
    """Numbers before texts."""
    if isinstance(value, int | float):
        return 0, -value if high_first else value, ""
    return 1, 0.0, str(value)


def lay_out(
    frame: pd.DataFrame,
    unreadable: list[str],
    over: str | None = None,
    by: str = "best_val_acc",
    columns: Sequence[str] | None = None,
) -> tuple[pd.DataFrame, str]:
    """The columns that tell runs apart, and the caption that says what they share.

    Args:
        frame: a row for each run.
        unreadable: folders that are no runs.
        over: a setting such as seed; runs that differ in nothing else become one row, see sweeper.summary.average.
        by: the column that the frame is sorted by.
        columns: these instead, a mean's with its standard deviation.

    Raises:
        UserError: there is no such column, or none any more since its runs were averaged.
    """
    settings = [name for name in frame.columns if name not in MEASURES and name != "run_id"]
    constant = [name for name in settings if frame[name].nunique(dropna=name in SLOTS) <= 1]
    implied = [name for name in settings if name not in constant and is_implied(frame, name)]
    lines = caption(frame, [name for name in constant if name != "data.fingerprint"], by)
    lines += [f"With {text}" for text in implied_settings(frame, implied)]
    lines += [f"Left out, not readable as runs: {', '.join(unreadable)}"] if unreadable else []
    lines = [printable(line) for line in lines]
    table = frame
    if over is not None and over in frame and frame[over].nunique(dropna=False) > 1:
        averaged = average(frame, over)
        if len(averaged) < len(frame):
            table = sort(averaged, by if by in averaged else "best_val_acc")
            lines.insert(1, f"Mean ± standard deviation over the runs that differ in {over} alone")
    if columns is not None:
        require_columns(table, columns)
        return table[[part for name in columns for part in (name, f"{name}_std") if part in table]], "\n".join(lines)
    unused = [*constant, *implied, "code", "error"] + ([over] if table is not frame else [])
    table = table.drop(columns=[name for name in unused if name in table])
    if "run_id" in table and table["run_id"].isna().any():
        table = table.drop(columns="run_id")
    if table["epochs_to_target"].isna().all():
        table = table.drop(columns=["epochs_to_target", "epochs_to_target_std"], errors="ignore")
    if not table["stale"].any():
        table = table.drop(columns="stale")
    return table, "\n".join(lines)


def implied_settings(frame: pd.DataFrame, implied: list[str]) -> list[str]:
    """For each choice of a group, the settings that come with it in all runs, such as `model=mlp: hidden=[1024]`."""
    lines = []
    for group in dict.fromkeys(name.partition(".")[0] for name in implied):
        names = [name for name in implied if name.partition(".")[0] == group]
        for choice, runs in frame.groupby(group):
            values = [(name, runs[name].iloc[0]) for name in names]
            told = [f"{name.partition('.')[2]}={show(name, value)}" for name, value in values if not is_missing(value)]
            shown = ", ".join(told)
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


def caption(frame: pd.DataFrame, constant: list[str], by: str = "best_val_acc") -> list[str]:
    """What the runs share, how they ended, and what the accuracies mean."""
    states = frame["state"].value_counts().sort_index()
    lines = [
        f"{len(frame)} {'run' if len(frame) == 1 else 'runs'}: "
        + ", ".join(f"{count} {state}" for state, count in states.items())
    ]
    shared = [f"{name}={value}" for name in constant for value in frame[name].dropna().unique()]
    lines += ["All with " + ", ".join(shared)] if shared else []
    if stale := int(frame["stale"].sum()):
        lines.append(f"{stale} stale: trained by other code than there is now")
    finished = int((frame["state"] == "finished").sum())
    if finished > 1 and by in ("best_val_acc", "test_acc"):
        images, other = ("validation", "; its test_acc is not") if by == "best_val_acc" else ("test", "")
        lines.append(f"The first of {finished} was chosen on the {images} images: its {by} is optimistic{other}")
    errors = frame[["run_id", "state", "error"]].dropna().itertuples(index=False)
    told = [f"{run_id} {state}: {error}" for run_id, state, error in errors]
    lines += told[:ERRORS] + ([f"and {len(told) - ERRORS} more with errors"] if len(told) > ERRORS else [])
    if "data.val_size" in frame and (frame["data.val_size"] == 0).any():
        lines.append("Runs with data.val_size=0 chose their best epoch on test images: their test_acc is optimistic")
    return lines


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, as it is shown: a mean and its standard deviation in one cell."""
    shown = {}
    for name in table.columns:
        if name not in SPREADS:
            spread = table[f"{name}_std"] if f"{name}_std" in SPREADS & {*table.columns} else [None] * len(table)
            shown[name] = [show_mean(name, *pair) for pair in zip(table[name], spread, strict=True)]
    return pd.DataFrame(shown)


def show_mean(name: str, value: Any, std: Any) -> str:
    if is_missing(std):
        return show(name, value)
    digits = DIGITS.get(name, "{:.1f}")
    return f"{digits.format(value)} ± {digits.format(std)}" if std > 0 or name.endswith("_acc") else show(name, value)


def show(name: str, value: Any) -> str:
    if is_missing(value):
        return "-"
    if name == "data.fingerprint" or str(value).startswith(SHA256):
        return str(value)[: 8 if name == "data.fingerprint" else len(SHA256) + 8]
    if name in DIGITS:
        return DIGITS[name].format(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else f"{value:g}"
    return str(value)


def neutral(value: Any) -> Any:
    """A CSV cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def print_table(table: pd.DataFrame, text: str, output: Path | None = None) -> None:
    """Print the table with its caption, or write it to a file.

    Too narrow a terminal gets the last digits of run ids, then no columns of little weight, then fewer settings.
    """
    if output is not None:
        file = io.StringIO()
        Console(width=width_of(table), file=file).print(grid(table), markup=False)
        write_output(output, f"{file.getvalue()}{text}\n")
        return
    console = Console()
    left_out: list[str] = []
    if len(table) > ROWS:
        text = f"The first {ROWS} of {len(table)} rows; --format csv has all\n{text}"
        table = table.head(ROWS)
    if not console.is_terminal:
        console = Console(width=width_of(table))
    elif width_of(table) > console.width:
        if "run_id" in table:
            table = table.assign(run_id=table["run_id"].str[-DIGITS_OF_ID:])
        settings = [name for name in table.columns if name not in MEASURES and name not in ("run_id", "model")]
        spare = [name for name in (*EXPENDABLE, *settings) if name in table]
        while width_of(table.drop(columns=left_out, errors="ignore")) > console.width and spare:
            left_out.append(spare.pop(0))
    if left_out:
        text += f"\nLeft out for lack of width: {', '.join(left_out)}; summary.csv has them"
    console.print(grid(table.drop(columns=left_out)), markup=False)
    console.print(Text(text, style="dim italic"), soft_wrap=not console.is_terminal)


def grid(table: pd.DataFrame) -> Table:
    """The table as rich draws it. The header of a number may wrap, the number may not."""
    shown = cells(table)
    drawn = Table()
    for name in map(str, shown.columns):
        number = is_number(name)
        header = Text(printable(name.replace("_", " ") if number else name))
        width = max(len(cell) for cell in [*shown[name], *header.plain.split()])
        drawn.add_column(header, justify="right" if number else "left", min_width=width, max_width=width)
    for row in shown.itertuples(index=False):
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def is_number(column: str) -> bool:
    return column in MEASURES and column not in ("state", "stale")


def width_of(table: pd.DataFrame) -> int:
    """Characters across: each column's cells, its border and a space on both sides."""
    return 1 + sum(int(column.max_width or 0) + 3 for column in grid(table).columns)


def write_files(frame: pd.DataFrame, table: pd.DataFrame, text: str, output_dir: Path) -> None:
    """Write summary.csv, every run with every setting in full precision, and summary.md as the table is shown."""
    write_output(output_dir / "summary.csv", as_csv(frame))
    write_output(output_dir / "summary.md", as_markdown(table, text))


def as_csv(table: pd.DataFrame) -> str:
    """In full precision, no cell a formula."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    safe = table.assign(**{str(name): table[name].map(neutral) for name in texts}).rename(columns=neutral)
    return safe.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)


def as_markdown(table: pd.DataFrame, text: str) -> str:
    shown = cells(table).map(markdown_cell).rename(columns=markdown_cell)
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + " --- |" * len(shown.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in shown.itertuples(index=False)]
    return "\n".join([*lines, "", *(f"{markdown_cell(line)}.  " for line in text.splitlines()), ""])


def as_latex(table: pd.DataFrame, text: str) -> str:
    """A tabular with booktabs' rules, the caption as comments above it."""
    shown = cells(table).map(latex_cell).rename(columns=latex_cell)
    align = "".join("r" if is_number(name) else "l" for name in cells(table).columns)
    rows = [" & ".join(row) + r" \\" for row in shown.itertuples(index=False)]
    lines = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(shown.columns) + r" \\", r"\midrule", *rows]
    return "\n".join([*(f"% {line}" for line in text.splitlines()), *lines, r"\bottomrule", r"\end{tabular}", ""])


def as_json(table: pd.DataFrame, text: str) -> str:
    """{"caption": lines, "rows": [{column: value}]}, in full precision, what is missing as null."""
    return json_text({"caption": text.splitlines(), "rows": table.astype(object).to_dict(orient="records")})


def markdown_cell(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")


def latex_cell(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "\n": " ",
    }
    return "".join(special.get(one, f"\\{one}" if one in "&%$#_{}" else one) for one in text)


FORMATS: dict[str, Callable[[pd.DataFrame, str], str]] = {
    "csv": lambda table, _: as_csv(table),
    "md": as_markdown,
    "latex": as_latex,
    "json": as_json,
}

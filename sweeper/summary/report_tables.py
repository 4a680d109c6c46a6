"""The report's table of results: rounded for readers, to sort and filter, each row with its runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.summary.average import groups
from sweeper.summary.best import SEED
from sweeper.summary.columns import (
    ACCURACIES,
    RESULTS,
    format_mean,
    is_deviation,
    is_missing,
    is_number,
    scores,
    setting_columns,
)
from sweeper.summary.learning_curves import format_setting
from sweeper.summary.report_question import distinct

FEW = 0.0005  # a standard deviation below it is not seen with one digit of a percentage
FIRST = (
    *("test_acc", "test_miou", "test_acc_views", "best_val_acc", "best_val_miou"),
    *("runs", "convergence_epoch", "epochs_to_target", "train_seconds"),
)
DETAILS = ("best_epoch", "convergence_seconds", "epochs_done", "parameters")  # shown on request


@dataclass
class Run:
    """A run of a row: its ID, its seed, its test accuracy, or mIoU, in percent or its state."""

    run_id: str
    seed: str
    result: str


@dataclass
class Cell:
    """A cell of the table; it is sorted by `number`, or by its text where that is None."""

    text: str
    number: float | None
    missing: bool
    runs: list[Run] = field(default_factory=list)


@dataclass
class Column:
    """A column of the table.

    Attributes:
        title: its name, with the unit where that is not the summary's.
        kind: `number`, `identifier` or empty, for the style.
        is_detail: whether it is shown only on request.
        choices: the values that its filter offers; empty where it has no filter.
    """

    name: str
    title: str
    kind: str
    is_detail: bool
    choices: list[str]


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with settings first, then what counts most; without the state where all runs are finished."""
    names = [name for name in map(str, table.columns) if not is_deviation(name)]
    settings = [name for name in names if name not in RESULTS and name not in ("runs", "run_id")]
    first = [name for name in FIRST if name in names]
    rest = [name for name in names if name not in {*settings, *first, *DETAILS, "run_id"}]
    if "state" in rest and (table["state"] == "finished").all():
        rest.remove("state")
    last = [name for name in DETAILS if name in names]
    return table[[*settings, *first, *rest, *last, *(["run_id"] if "run_id" in names else [])]]


def columns_of(table: pd.DataFrame) -> list[Column]:
    """Return the columns; each setting and the state have a filter."""
    columns = []
    for name in map(str, table.columns):
        known = [value for value in table[name].tolist() if not is_missing(value)]
        numeric = all(number(value) is not None and not isinstance(value, bool) for value in known)
        kind = "identifier" if name == "run_id" else "number" if is_number(name) or (known and numeric) else ""
        filtered = name == "state" or name not in (*RESULTS, "run_id", "runs")
        title = f"{name} (%)" if name in ACCURACIES else name
        choices = distinct(name, table[name]) if filtered else []
        columns.append(Column(name, title, kind, name in DETAILS, choices if len(choices) > 1 else []))
    return columns


def rows_of(table: pd.DataFrame, shown: pd.DataFrame, runs_of: Sequence[Sequence[Run]]) -> list[list[Cell]]:
    """Return the rows as they are shown, with the values that they are sorted by.

    Args:
        table: as laid out, with standard deviations.
        shown: its columns that are shown, see `ordered`.
        runs_of: the runs of each row.
    """
    columns = []
    for name in map(str, shown.columns):
        has_std = is_number(name) and f"{name}_std" in table
        stds = table[f"{name}_std"].tolist() if has_std else [None] * len(table)
        values, fine = table[name].tolist(), is_fine(name, stds)
        texts = [cell_text(name, *pair, is_fine=fine) for pair in zip(values, stds, strict=True)]
        cells = [Cell(text, number(value), is_missing(value)) for text, value in zip(texts, values, strict=True)]
        if name == "runs":
            for cell, runs in zip(cells, runs_of, strict=True):
                cell.runs = list(runs)
        columns.append(cells)
    return [list(row) for row in zip(*columns, strict=True)]


def is_fine(name: str, stds: Sequence[Any]) -> bool:
    """Return whether a column of accuracies needs a second digit: its deviations are all small."""
    known = [std for std in stds if not is_missing(std) and std > 0]
    return name in ACCURACIES and bool(known) and max(known) < FEW


def cell_text(name: str, value: Any, std: Any, *, is_fine: bool = False) -> str:
    """Return a mean, with its standard deviation if it has one: accuracies in percent, seconds to three digits."""
    if is_missing(value) or isinstance(value, str | bool):
        return format_setting(name, value)
    if name in ACCURACIES:
        digits = 2 if is_fine else 1
        return " ± ".join(f"{100 * part:.{digits}f}" for part in (value, std) if not is_missing(part))
    if name.endswith("_seconds"):
        digits = 0 if value >= 100 else 1
        return " ± ".join(f"{part:,.{digits}f}" for part in (value, std) if not is_missing(part))
    return format_mean(name, value, std) if is_number(name) else format_setting(name, value)


def runs_of_rows(frame: pd.DataFrame, table: pd.DataFrame) -> list[list[Run]]:
    """Return the runs of each row of a table that was laid out over seeds.

    Args:
        frame: a row for each run, from which the table was made.
        table: its index has the position of each row's configuration, see sweeper.summary.table.lay_out.
    """
    settings = [name for name in setting_columns(frame) if name != SEED]
    configurations = groups(frame, [*settings, "code"])
    if "runs" not in table:
        configurations = [frame.iloc[[row]] for row in range(len(frame))]
    test = f"test_{scores(frame)[0]}"
    return [runs_of(configurations[row], test) for row in table.index]


def runs_of(rows: pd.DataFrame, test: str) -> list[Run]:
    """Return the runs of one configuration, by seed.

    Args:
        rows: of the frame.
        test: the column of the result that is shown.
    """
    found = []
    seeds = rows[SEED].tolist() if SEED in rows else [None] * len(rows)
    for run_id, seed, state, acc in zip(rows["run_id"], seeds, rows["state"], rows[test], strict=True):
        result = f"{100 * acc:.1f}%" if state == "finished" and number(acc) is not None else str(state)
        found.append((number(seed) or 0.0, Run(str(run_id), format_setting(SEED, seed), result)))
    return [run for _, run in sorted(found, key=lambda pair: (pair[0], pair[1].run_id))]

"""The table of all runs: what varies as columns, what does not in the caption, best first."""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.scores import SCORES
from sweeper.summary.average import average
from sweeper.summary.best import SEED, adjust
from sweeper.summary.caption import averaging, caption, implied_settings
from sweeper.summary.columns import (
    FINGERPRINT,
    HIDDEN,
    PROVENANCE,
    ROOT,
    SLOTS,
    STEP_GROUPS,
    best_val,
    format_override,
    format_value,
    high_is_best,
    is_deviation,
    is_implied,
    is_measure,
    is_missing,
    scores,
    setting_columns,
)
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.gather import Skipped, gather
from sweeper.summary.output import printable
from sweeper.summary.typed_presets import GROUPS as TYPED
from sweeper.summary.typed_presets import as_typed, labels_of
from sweeper.sweep.notation import normalized

DEFAULT_SORT = "best_val_acc"


def read_runs(
    output_dir: Path, only: Collection[str] | None = None, options: ConvergenceOptions | None = None
) -> tuple[pd.DataFrame, Skipped]:
    """Return the runs, best validation accuracy first, and the folders that have no row.

    Args:
        output_dir: the folder that has runs/.
        only: ids of the runs that are wanted; None for all.
        options: how learning curves are read; None for the defaults.

    Raises:
        UserError: there are no runs.
    """
    runs = output_dir / "runs"
    frame, skipped = gather(runs, only, options)
    if frame.empty:
        old = f"; {skipped.old_runs}" if skipped.old else ""
        raise UserError(f"there are no runs in {runs}; train one: python train.py model=softmax data=digits{old}")
    frame = frame.sort_values([best_val(frame), "run_id"], ascending=[False, True], na_position="last")
    return frame.reset_index(drop=True), skipped


def where(frame: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """Return the runs that meet every condition `column=value`.

    A value is written as the table shows it or as on the command line, in any notation: 1e-3, 0.001, [8,8], null.

    Raises:
        UserError: a condition has no `=`, or names no column, or no run has that value.
    """
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals:
            raise UserError(f"--where {condition}: must be COLUMN=VALUE, such as model=mlp")
        cells = presets_of(frame, name)
        if cells is None:
            require_columns(frame, [name])
            cells = frame[name]
        texts = cells.map(lambda cell, name=name: format_value(name, cell))
        chosen = (texts == value) | cells.map(lambda cell, value=value: is_written(cell, value))
        if not chosen.any():
            raise UserError(f"--where {condition}: no such run; values of {name}: {format_names(set(texts))}")
        frame = frame[chosen]
    return frame


def is_written(value: Any, text: str) -> bool:
    """Return whether a text is a value in the notation of the command line, Python or JSON."""
    if is_missing(value):
        return text.lower() in ("null", "none", "-")
    return normalized(format_override(value)) == normalized(text) or normalized(str(value)) == normalized(text)


def presets_of(frame: pd.DataFrame, group: str) -> "pd.Series[Any] | None":
    """Return the recorded presets of a group that is shown by them, None where there is none; None for other names."""
    if group not in (*STEP_GROUPS, *TYPED.values()) or group in frame:
        return None
    return pd.Series(labels_of(frame, group), frame.index, object)


def names_presets(frame: pd.DataFrame, columns: Iterable[str]) -> bool:
    """Return whether one of the columns is a group that is shown by its presets."""
    return any(presets_of(frame, name) is not None for name in columns)


def require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Raise a UserError that lists the valid columns where one is missing."""
    for name in names:
        if name not in frame.columns:
            valid = list(map(str, frame.columns))
            raise UserError(f"unknown column {name}{nearest(name, valid)}; choose from {format_names(valid)}")


def sort(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """Sort measures that are better when higher from high to low, everything else from low to high.

    The default column is that of the runs' task.
    """
    by = sort_column(frame, by)
    require_columns(frame, [by])
    return frame.iloc[order(frame, frame[by].tolist(), high_is_best(by))].reset_index(drop=True)


def sort_column(frame: pd.DataFrame, by: str) -> str:
    """Return the column that is meant: in place of the default, that of the runs' task."""
    return best_val(frame) if by == DEFAULT_SORT else by


def order(frame: pd.DataFrame, values: Sequence[Any], high_first: bool) -> list[int]:
    """Return the positions of the rows in order of these values, missing ones last, then in order of the run IDs."""
    keys = [(2, 0.0, "") if is_missing(value) else sort_key(value, high_first) for value in values]
    run_ids = [str(run_id) for run_id in frame["run_id"].tolist()]
    return sorted(range(len(frame)), key=lambda row: (keys[row], run_ids[row]))


def sort_key(value: Any, high_first: bool) -> tuple[int, float, str]:
    """Return a key that puts numbers before texts; of targets, those that more runs reached, or after more epochs."""
    if isinstance(value, int | float):
        return 0, -value if high_first else value, ""
    if share := re.fullmatch(r"reached by (\d+)/(\d+)", str(value)):
        return 1, -int(share[1]) / int(share[2]), ""
    if missed := re.fullmatch(r">(\d+)", str(value)):
        return 1, float(missed[1]), ""
    return 1, 0.0, str(value)


def lay_out(
    frame: pd.DataFrame,
    skipped: Skipped | None = None,
    *,
    over: str | None = None,
    by: str = DEFAULT_SORT,
    columns: Sequence[str] | None = None,
    options: ConvergenceOptions | None = None,
    is_typed: bool = False,
) -> tuple[pd.DataFrame, str]:
    """Return the columns in which runs differ, and a caption with the settings that they share.

    The index of a table of means has the position of each row's configuration in sweeper.summary.average.average.
    Means over seeds are ranked by best_val_acc less the effects of the validation splits, see sweeper.summary.best.

    Args:
        frame: a row for each run.
        skipped: the folders that have no row.
        over: a setting such as seed; runs that differ in nothing else become one row, see sweeper.summary.average.
        by: the column that the frame is sorted by.
        columns: these instead, a mean's with its standard deviation. Measures such as test_ece are shown only where
            they are among these or sort the table.
        options: how learning curves were read.
        is_typed: whether presets are shown that were typed, such as dropout=light for dropout.rate=0.1, unless
            their settings are among the columns or sort the table.

    Raises:
        UserError: there is no such column, or it is lost since its runs were averaged.
    """
    by = sort_column(frame, by)
    if columns is not None:  # a deviation is shown with its mean
        columns = [*dict.fromkeys(name.removesuffix("_std") if is_deviation(name) else name for name in columns)]
    asked = {by, *(columns or ())}
    frame = as_typed(frame, asked) if is_typed else frame
    hidden = [name for name in map(str, frame.columns) if is_measure(name) and name not in asked]
    frame = frame.drop(columns=hidden)
    settings = setting_columns(frame)
    constant = [name for name in settings if frame[name].nunique(dropna=name in SLOTS) <= 1]
    implied = [name for name in settings if name not in constant and is_implied(frame, name)]
    shared = [name for name in constant if name != FINGERPRINT]
    table = frame
    uneven = False
    if over is not None and over in frame and frame[over].nunique(dropna=False) > 1:
        averaged = average(frame, over)
        if len(averaged) < len(frame):
            table, uneven = rank(frame, averaged, over, by if by in averaged else best_val(frame))
    configurations = None if table is frame else int((table["runs"] > 0).sum())
    is_finished = table["state"] == "finished" if table is frame else table["runs"] > 0
    is_top_finished = bool(is_finished.iloc[:1].all())
    implications = implied_settings(frame, implied)
    lines = caption(frame, shared, by, implications, configurations, is_top_finished=is_top_finished)
    metric = " or ".join(f"val_{score}" for score in scores(frame))
    lines += (options or ConvergenceOptions()).captions(metric) + (skipped or Skipped()).captions
    if table is not frame:
        lines[1:1] = averaging(frame, str(over), uneven)
    text = "\n".join(map(printable, lines))
    if columns is not None:
        require_columns(table.assign(**dict.fromkeys(hidden)), columns)
        return table[[part for name in columns for part in (name, f"{name}_std") if part in table]], text
    unused = [*constant, *implied, *PROVENANCE, "error", *HIDDEN] + ([over] if table is not frame else [])
    unused += [FINGERPRINT] if is_named_by_folder(frame) else []
    return drop_empty(table.drop(columns=[name for name in unused if name in table])), text


def is_named_by_folder(frame: pd.DataFrame) -> bool:
    """Return whether the column data.root tells all datasets apart."""
    if ROOT not in frame:
        return False
    names = frame[["data", ROOT]].astype(object).where(frame[ROOT].notna(), None)
    return bool((frame[FINGERPRINT].groupby([names["data"], names[ROOT]], dropna=False).nunique() <= 1).all())


def rank(frame: pd.DataFrame, averaged: pd.DataFrame, over: str, by: str) -> tuple[pd.DataFrame, bool]:
    """Sort averages; return them, and whether their seeds are uneven, so that the plain means are not the order."""
    if over != SEED or by != best_val(frame):
        return sort(averaged, by), False
    adjusted = adjust(frame)
    values = np.where(averaged[by].isna(), np.nan, adjusted.configurations).tolist()
    return averaged.iloc[order(averaged, values, high_first=True)], adjusted.uneven


def drop_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out columns that have nothing to show: ids of averages, targets not set, no views, no stale run."""
    if "run_id" in table and table["run_id"].isna().any():
        table = table.drop(columns="run_id")
    known = scores(table)
    others = [f"{part}_{score}" for part in ("best_val", "test") for score in SCORES.values() if score not in known]
    for name in ("test_acc_views", "epochs_to_target", *others):
        if name in table and table[name].isna().all():
            table = table.drop(columns=[name, f"{name}_std"], errors="ignore")
    return table if table["stale"].any() else table.drop(columns="stale")

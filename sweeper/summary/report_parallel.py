"""Parallel coordinates: every configuration as a line over its settings and results, as data for the page's script."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.summary.columns import RESULTS, is_missing
from sweeper.summary.learning_curves import cut, format_setting, name_of
from sweeper.summary.report_question import distinct
from sweeper.summary.report_scale import ticks

MIN_ROWS = 3  # configurations
MAX_AXES = 10  # settings that are drawn
MAX_VALUES = 8  # numbers that each have a place of their own; more are on a scale
LOG_FROM = 20  # ratio of the largest to the smallest positive number from which their scale is logarithmic
MEASURES = (
    ("best_val_acc", "validation accuracy"),
    ("best_val_miou", "validation mIoU"),
    ("train_seconds", "training seconds"),
    ("test_acc", "test accuracy"),
    ("test_miou", "test mIoU"),
)
TESTS = {name: title for name, title in MEASURES if name.startswith("test_")}
LABEL_LENGTH = 18


def parallel(table: pd.DataFrame, settings: Sequence[str]) -> dict[str, Any] | None:
    """Return the axes and, for each row, its positions on them from 0 (bottom) to 1; None where little varies.

    Args:
        table: a row for each configuration, as laid out.
        settings: names of the columns that are settings.
    """
    if len(table) < MIN_ROWS or not settings:
        return None
    axes = [setting_axis(name, table[name].tolist()) for name in settings[:MAX_AXES]]
    axes += [
        measure_axis(name, title, table[name].tolist())
        for name, title in MEASURES
        if name in table and table[name].map(number).dropna().nunique() > 1
    ]
    if len(axes) < 2:
        return None
    places = [axis.pop("places") for axis in axes]
    return {"axes": axes, "rows": [list(row) for row in zip(*places, strict=True)], "names": row_names(table, settings)}


def row_names(table: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return what a row is called: its settings and its test accuracy, or mIoU."""
    found = []
    for row in table.to_dict(orient="records"):
        name = name_of({key: None if is_missing(row[key]) else row[key] for key in settings})
        known = [(title, value) for key, title in TESTS.items() if (value := number(row.get(key))) is not None]
        found.append(name + "".join(f": {title} {100 * value:.1f}%" for title, value in known))
    return found


def setting_axis(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the axis of a setting: its values one above the other, or many numbers on a scale."""
    known = [found for value in values if (found := number(value)) is not None and not isinstance(value, bool)]
    texts = distinct(name, pd.Series(values, dtype=object))
    if len(known) == len(values) and len(texts) > MAX_VALUES:
        is_log = min(known) > 0 and max(known) / min(known) >= LOG_FROM
        return scaled(name, known, format_number, is_log=is_log)
    shown = distinct_of(name, values)
    place = {text: index / (len(shown) - 1) if len(shown) > 1 else 0.5 for index, text in enumerate(shown)}
    return {
        "name": cut(name, 2 * LABEL_LENGTH),
        "steps": True,
        "ticks": [[rounded(place[text]), cut(text, LABEL_LENGTH)] for text in shown],
        "places": [rounded(place[format_setting(name, value)]) for value in values],
    }


def distinct_of(name: str, values: Sequence[Any]) -> list[str]:
    """Return the values as text: numbers in order, then texts, then missing."""
    found = {format_setting(name, value): value for value in values}
    return sorted(
        found, key=lambda text: (is_missing(found[text]), number(found[text]) is None, number(found[text]) or 0.0, text)
    )


def measure_axis(name: str, title: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the axis of a result, on a scale; accuracies in percent."""
    factor = 1 if name.endswith("_seconds") else 100
    known = [None if (found := number(value)) is None else factor * found for value in values]
    return scaled(title + (" (%)" if factor == 100 else ""), known, format_number, is_log=False)


def scaled(name: str, values: Sequence[float | None], form: Any, *, is_log: bool) -> dict[str, Any]:
    """Return an axis on a scale, with ticks at round numbers and at the ends."""
    turn = math.log10 if is_log else float
    known = [turn(value) for value in values if value is not None]
    low, high = min(known), max(known)
    width = high - low or 1.0
    if is_log:
        marks = [10.0**power for power in range(math.floor(low), math.ceil(high) + 1)]
        marks = [mark for mark in marks if low <= math.log10(mark) <= high] or [min(filter(None, values))]
    else:
        marks = ticks(low, high, 6)
    return {
        "name": cut(name, 2 * LABEL_LENGTH),
        "steps": False,
        "low": low,
        "high": high,
        "is_log": is_log,
        "ticks": [[rounded((turn(mark) - low) / width), form(mark)] for mark in marks],
        "places": [None if value is None else rounded((turn(value) - low) / width) for value in values],
    }


def format_number(value: float) -> str:
    return f"{value:.4g}"


def rounded(value: float) -> float:
    return round(value, 4)


def settings_shown(table: pd.DataFrame) -> list[str]:
    """Return the columns of a laid-out table that are settings and have several values."""
    names = [str(name) for name in table.columns if name not in (*RESULTS, "run_id", "runs")]
    return [name for name in names if not name.endswith("_std") and len(distinct(name, table[name])) > 1]

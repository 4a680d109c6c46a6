"""The settings of runs, the axes among them, and the baseline value of each axis."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeper.errors import UserError, format_names, nearest
from sweeper.summary.columns import (
    CODE_OF,
    FINGERPRINT,
    OWN,
    PROVENANCE,
    ROOT,
    SLOTS,
    WITH,
    format_override,
    is_implied,
    is_result,
)
from sweeper.summary.together import Others, Together
from sweeper.sweep.baseline import center, choose_baseline, is_beside, most_common

PAIRED_BY = ("seed", "data", "torch", "device_type")  # pairs agree in these, which are no axes


def settings_of(finished: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in which pairs agree: settings, the dataset's fingerprint as `data`, code and environment.

    Missing values are None. The code has a column for each group, such as `code of optimizer`, and `code of core`.
    """
    results = [name for name in finished if (is_result(str(name)) or name == "run_id") and name not in PROVENANCE]
    settings = finished.drop(columns=results).astype(object)
    settings = settings.where(settings.notna(), None)
    settings = settings.drop(columns=ROOT, errors="ignore")
    if FINGERPRINT in settings:
        fingerprints = settings.pop(FINGERPRINT)
        settings["data"] = fingerprints.where(fingerprints.notna(), settings.get("data"))
    if "code" in settings:
        codes = [group_digests(code) for code in settings.pop("code")]
        for group in sorted(set().union(*codes)):
            settings[f"{CODE_OF}{group}"] = pd.Series([code.get(group) for code in codes], settings.index, object)
    return settings[sorted(map(str, settings.columns))]


def group_digests(code: str | None) -> dict[str, str]:
    digests = json.loads(code) if code is not None else {}
    return digests if isinstance(digests, dict) else {}


def is_axis(name: str) -> bool:
    """Return whether values of the column may be compared."""
    return name not in PAIRED_BY and not name.startswith((CODE_OF, WITH))


def axes_of(settings: pd.DataFrame) -> list[str]:
    """Return the settings that vary, except those implied by a group's choice (for data: by the dataset)."""
    return sorted(
        name
        for name in map(str, settings)
        if is_axis(name) and settings[name].nunique(dropna=name in SLOTS) > 1 and not is_implied(settings, name)
    )


def without_implied(settings: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Return settings without those that follow from a choice, and without the code of layers that a network brings."""
    implied = [name for name in map(str, settings) if name not in axes and is_implied(settings, name)]
    codes = [f"{CODE_OF}{slot}" for slot in OWN if slot in implied]
    return settings.drop(columns=[*implied, *(name for name in codes if name in settings)])


def values_of(settings: pd.DataFrame, axis: str) -> list[Any]:
    """Return an axis' value in every run that could have another: its choice has several, its model has the slot."""
    column, group = settings[axis], axis.partition(".")[0]
    if group != axis and group in settings:
        choice = settings[group].map(format_override)
        several = column.map(format_override).groupby(choice).nunique() > 1
        column = column[choice.map(several)]
    return [value for value in column if value is not None or axis not in SLOTS]


def choose_baselines(
    settings: pd.DataFrame,
    axes: Sequence[str],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    together: Together | None = None,
) -> tuple[dict[str, Any], list[int]]:
    """Return for each axis the value that the others are compared with.

    It is the given value, else that of the configuration of which the others are single changes, else that of
    sweeper.sweep.baseline.choose_baseline.

    Args:
        settings: of the runs of one dataset.
        axes: that vary.
        given: values of some of them.
        defaults: see sweeper.sweep.baseline.config_defaults.
        together: what changes with an axis. Of all these settings, the first by name that has a default decides.

    Returns:
        The values, and the rows that were left out of the choice since they change several settings of a design of
        single changes.

    Raises:
        UserError: there is no such value, or two are given that do not occur together.
    """
    rows = with_usual_slots(list(map(tuple, settings[list(axes)].to_numpy(dtype=object))), axes)
    middle = center(rows)
    baselines = {}
    for index, axis in enumerate(axes):
        values = values_of(settings, axis)
        if axis in given:
            baselines[axis] = find_value(axis, given[axis], values)
        elif implied := [value for value in values if agrees((together or {}).get(axis, {}).get(value, ()), given)]:
            baselines[axis] = implied[0]
        elif middle is not None:
            baselines[axis] = middle[index]
        else:
            cells = {value: {axis: value, **dict((together or {}).get(axis, {}).get(value, ()))} for value in values}
            first = min(cells[values[0]], key=lambda name: (name not in defaults, name))
            usual = choose_baseline(first, [cells[value][first] for value in values], defaults)
            baselines[axis] = next(value for value in values if cells[value][first] == usual)
        for name, usual in (together or {}).get(axis, {}).get(baselines[axis], ()):
            if name in given and not stands_for(format_override(given[name]), usual):
                raise UserError(
                    f"--baseline {name}={given[name]}: {name} always changes together with {axis}, and is "
                    f"{format_override(usual)} with {axis}={format_override(baselines[axis])}"
                )
    if middle is None or {*axes} <= {*given}:
        return baselines, []
    return baselines, [row for row, cells in zip(settings.index, rows, strict=True) if is_beside(cells, middle)]


def agrees(others: Others, given: Mapping[str, Any]) -> bool:
    """Return whether the settings that change with a value include given ones, and have those values."""
    asked = [(given[name], cell) for name, cell in others if name in given]
    return bool(asked) and all(stands_for(format_override(value), cell) for value, cell in asked)


def with_usual_slots(rows: Sequence[tuple[Any, ...]], axes: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values of runs with the most common one where a model lacks the slot, which changes nothing there."""
    usual = {
        index: most_common(known)
        for index, axis in enumerate(axes)
        if axis in SLOTS and (known := [row[index] for row in {*rows} if row[index] is not None])
    }
    return [tuple(usual.get(index) if cell is None else cell for index, cell in enumerate(row)) for row in rows]


def check_axes(given: Collection[str], axes: Sequence[str]) -> None:
    """Check that axes whose baseline is given vary.

    Raises:
        UserError: there is no such axis.
    """
    for axis in given:
        if axis not in axes:
            raise UserError(
                f"--baseline: unknown axis {axis}{nearest(axis, axes)}; axes that vary: {format_names(axes)}"
            )


def find_value(axis: str, given: Any, values: Sequence[Any]) -> Any:
    """Return the value of the axis that a text or a value stands for.

    Raises:
        UserError: there is none.
    """
    text = format_override(given)
    found = [value for value in values if format_override(value) == text]
    found = found or [value for value in values if stands_for(text, value)]
    if not found:
        texts = {format_override(value) for value in values}
        raise UserError(
            f"--baseline {axis}={text}: no finished run has it{nearest(text, texts)}; values: {format_names(texts)}"
        )
    return found[0]


def stands_for(text: str, value: Any) -> bool:
    """Return whether a text is a value as it is typed, or another spelling of it."""
    return format_override(value) == text or parses_to(text, value)


def parses_to(text: str, value: Any) -> bool:
    """Return whether a text is another spelling of a value, such as 1e-3 or [64,64]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return "".join(text.split()).lower() == "".join(format_override(value).split()).lower()


def without_slots(settings: pd.DataFrame, baseline: Mapping[str, Any]) -> pd.DataFrame:
    """Give a model that lacks a slot the baseline's value in it, and that value's code, so that it can be paired."""
    settings = settings.copy()
    for slot in (slot for slot in SLOTS if slot in settings):
        lacking = settings[slot].isna()
        if not lacking.any() or lacking.all():
            continue
        usual = baseline.get(slot, most_common([value for value in settings[slot] if value is not None]))
        filled = settings[settings[slot] == usual]
        own = (slot, f"{CODE_OF}{slot.partition('.')[0]}")
        for name in [name for name in map(str, settings) if name in own or name.startswith(f"{slot}.")]:
            values = list(filled[name])
            value = baseline[name] if name in baseline and baseline[name] in values else most_common(values)
            pairs = zip(lacking, settings[name], strict=True)
            settings[name] = pd.Series([value if lacks else cell for lacks, cell in pairs], settings.index, object)
    return settings

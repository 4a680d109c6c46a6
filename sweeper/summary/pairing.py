"""Pairs of runs that differ in one setting alone, and the differences of their results."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from sweeper.summary.axes import CODE_OF, format_override, sort_key, values_of
from sweeper.summary.run_row import LARGEST

MAX_NAMED_VALUES = 5  # in a note
DECIMALS = 10  # of a difference: equal differences become equal in floating point too

STEP_GROUPS = ("augmentation", "architecture", "courses")  # a setting chooses a step; the group's code is their order
Cells = dict[tuple[Any, ...], list[int]]


@dataclass(frozen=True)
class Change:
    """A value of an axis in place of the baseline's; None is a setting that is null."""

    axis: str
    value: Any
    baseline: Any


@dataclass(frozen=True)
class Difference:
    """What is known of value - baseline in one pair (interaction: of the difference of differences in a quadruple).

    Attributes:
        low, high: bounds; equal where everything was measured, infinite where a run is censored.
        censored: rows of runs that never reached their target.
    """

    low: float
    high: float
    seed: Any = None
    censored: frozenset[int] = frozenset()


def differences(
    settings: pd.DataFrame, bounds: Sequence[tuple[float, float]], baseline: Mapping[str, Any], axes: Sequence[str]
) -> dict[tuple[Change, ...], list[Difference]]:
    """Return the differences of all pairs (two axes: quadruples) for every value of an axis, in order.

    Args:
        settings: of the compared runs, see sweeper.summary.axes.settings_of.
        bounds: what is known of each run's result, see `bounds_of`, by the frame's labels.
        baseline: the value of each axis that the others are compared with.
        axes: one or two.
    """
    base = tuple(baseline[axis] for axis in axes)
    found: dict[tuple[Any, ...], list[Difference]] = {}
    for cells in strata(settings, axes):
        for values in cells:
            difference = contrast(cells, values, base, bounds, settings)
            if difference is not None:
                found.setdefault(values, []).append(difference)
    ordered = sorted(found, key=lambda values: [sort_key(value) for value in values])
    return {tuple(map(Change, axes, values, base)): found[values] for values in ordered}


def paired_columns(settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Return what pairs must agree in: all columns but the axes, their own settings and the code that they choose."""
    own = {*axes, *(f"{CODE_OF}{axis}" for axis in axes)}
    own |= {f"{CODE_OF}{group}" for group in STEP_GROUPS if any(axis.startswith(f"{group}.") for axis in axes)}
    return [
        name
        for name in map(str, settings)
        if name not in own and not name.startswith(tuple(f"{axis}." for axis in axes))
    ]


def strata(settings: pd.DataFrame, axes: Sequence[str]) -> Iterator[Cells]:
    """Yield the runs that agree in everything else, by their values of the axes: lists of row labels."""
    found: dict[tuple[Any, ...], Cells] = {}
    keys = settings[paired_columns(settings, axes)].to_numpy(dtype=object)
    values = settings[list(axes)].to_numpy(dtype=object)
    for row, key, cell in zip(settings.index, map(tuple, keys), map(tuple, values), strict=True):
        found.setdefault(key, {}).setdefault(cell, []).append(int(row))
    yield from found.values()


def bounds_of(value: Any) -> tuple[float, float]:
    """Return what is known of a result: equal bounds where measured, at least E + 1 for `>E`, NaN where missing."""
    if isinstance(value, str):
        beyond = re.fullmatch(r">(\d{1,9})", value)
        return (int(beyond[1]) + 1.0, math.inf) if beyond else (math.nan, math.nan)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    return (number, number) if abs(number) < LARGEST else (math.nan, math.nan)


def contrast(
    cells: Cells,
    values: tuple[Any, ...],
    base: tuple[Any, ...],
    bounds: Sequence[tuple[float, float]],
    settings: pd.DataFrame,
) -> Difference | None:
    """Return value - baseline in a stratum (two axes: the difference of differences); None where a cell is empty.

    Several runs in a cell differ in the axis' own settings alone: they are one observation, their mean.
    """
    if any(value == other for value, other in zip(values, base, strict=True)):
        return None
    low = high = 0.0
    censored: list[int] = []
    for corner in product(*zip(values, base, strict=True)):
        if corner not in cells:
            return None
        rows = cells[corner]
        least, most = (sum(bounds[row][side] for row in rows) / len(rows) for side in (0, 1))
        negative = sum(value == other for value, other in zip(corner, base, strict=True)) % 2
        low, high = (low - most, high - least) if negative else (low + least, high + most)
        censored += [row for row in rows if math.isinf(bounds[row][1])]
    seed = settings.at[rows[0], "seed"] if "seed" in settings else None
    return Difference(round(low, DECIMALS), round(high, DECIMALS), seed, frozenset(censored))


def unmatched(settings: pd.DataFrame, baseline: Mapping[str, Any], compared: Collection[Change]) -> list[str]:
    """Describe every value without a pair: what else its nearest runs of the baseline value differ in."""
    codes = settings.apply(lambda column: pd.Series(pd.factorize(column, use_na_sentinel=False)[0], settings.index))
    found: dict[tuple[str, str], list[str]] = {}
    for axis, base in baseline.items():
        columns = paired_columns(settings, [axis])
        for value in sorted(set(values_of(settings, axis)) - {base}, key=sort_key):
            if Change(axis, value, base) not in compared:
                runs, partners = (
                    codes.loc[[cell == side for cell in settings[axis]], columns] for side in (value, base)
                )
                differing = ", ".join(np.array(columns)[fewest_differences(runs.to_numpy(), partners.to_numpy())])
                found.setdefault((axis, differing), []).append(format_override(value))
    lines = []
    for (axis, differing), values in found.items():
        rest = f" and {len(values) - MAX_NAMED_VALUES} more" if len(values) > MAX_NAMED_VALUES else ""
        names = ", ".join(values[:MAX_NAMED_VALUES]) + rest
        why = f"the nearest runs of {axis}={format_override(baseline[axis])} differ in {differing} as well"
        lines.append(f"{axis}={names} has no matching pair: {why if differing else 'results are missing'}")
    return lines


def fewest_differences(runs: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """Return the fewest columns in which a row of one array differs from a row of the other, as a mask."""
    fewest = np.ones(runs.shape[1], bool)
    for run in runs:
        differing = run != partners
        closest = differing[differing.sum(axis=1).argmin()]
        fewest = min(fewest, closest, key=np.count_nonzero)
    return fewest

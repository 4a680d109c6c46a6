"""Pairs of runs that differ in a single setting, and the differences of their results."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from sweeper.summary.axes import is_axis, values_of
from sweeper.summary.columns import CODE_OF, STEP_GROUPS, WITH, format_override
from sweeper.summary.effect_measures import Metric, Runs
from sweeper.summary.together import Others, Together, name_together
from sweeper.sweep.baseline import sort_key

MAX_NAMED_VALUES = 5  # in a note
DECIMALS = 10  # of a difference: equal differences become equal in floating point too

Corner = tuple[Any, ...]  # a value of each compared axis


@dataclass(frozen=True)
class Change:
    """A value of an axis in place of the baseline's; None is a setting that is null.

    Attributes:
        axis: the setting.
        value, baseline: its values.
        others, base_others: the settings that change with it, with their values, see sweeper.summary.together.
        typed: how value and baseline are shown where presets were typed, such as dropout=light and dropout=none.
    """

    axis: str
    value: Any
    baseline: Any
    others: Others = ()
    base_others: Others = ()
    typed: tuple[str, str] | None = None

    @property
    def axis_name(self) -> str:
        """The axis, or the group of which presets were typed."""
        return self.typed[0].partition("=")[0] if self.typed else self.axis

    @property
    def name(self) -> str:
        """Such as norm=batch, or model=mlp + optimizer=sgd."""
        return self.typed[0] if self.typed else name_together(self.axis, self.value, self.others)

    @property
    def base_name(self) -> str:
        """The same of the baseline."""
        return self.typed[1] if self.typed else name_together(self.axis, self.baseline, self.base_others)

    @property
    def value_text(self) -> str:
        """The value, or values, alone."""
        if self.typed:
            return self.typed[0].partition("=")[2]
        return name_together(self.axis, self.value, self.others, is_short=True)

    @property
    def base_text(self) -> str:
        """The baseline's alone."""
        if self.typed:
            return self.typed[1].partition("=")[2]
        return name_together(self.axis, self.baseline, self.base_others, is_short=True)


@dataclass(frozen=True)
class Stratum:
    """Runs that agree in everything but the compared axes.

    Attributes:
        data: the dataset.
        seed: of the runs.
        cell: the other settings in which they agree, in the order of `cell_columns`: what their difference estimates.
        corners: rows of the runs by their values of the axes; those of a corner differ in the axes' own settings.
        own: values of the axes' own settings that are axes too, by row; () if there are none.
        usual: the baseline's values of these.
    """

    data: Any
    seed: Any
    cell: tuple[Any, ...]
    corners: Mapping[Corner, Sequence[int]]
    own: Mapping[int, Corner]
    usual: Corner

    def points(self, corner: Corner, only: Collection[int] | None = None) -> set[Corner]:
        """Return the values of own settings at which a corner has runs, or has some of certain rows."""
        return {self.own[row] for row in self.corners[corner] if only is None or row in only}

    def rows_at(self, corner: Corner, points: set[Corner]) -> Sequence[int]:
        """Return the runs of a corner at these values of own settings, all if empty; none where it lacks one."""
        if not points:
            return self.corners[corner]
        rows = [row for row in self.corners[corner] if self.own[row] in points]
        return rows if {self.own[row] for row in rows} == points else []


Signed = list[tuple[Sequence[int], int]]  # rows of each corner of a contrast, with its sign


def contrasts(
    found: Iterable[Stratum], values: Corner, base: Corner, known: Collection[int]
) -> list[tuple[Stratum, Signed]]:
    """Return the rows of each corner of a contrast with its sign, in every stratum that has runs of all corners.

    The runs at the same values of own settings count in all strata of a cell, see `points_of`; of a corner that lacks
    one of these values, none.

    Args:
        found: the strata.
        values: of the axes.
        base: the baseline's.
        known: rows of the runs with a result.
    """
    corners, of_cells = corners_of(values, base), dict[tuple[Any, ...], list[Stratum]]()
    for stratum in found:
        if all(stratum.corners.get(corner) for corner, _ in corners):
            of_cells.setdefault(stratum.cell, []).append(stratum)
    chosen = []
    for cell in of_cells.values():
        points = points_of(cell, [corner for corner, _ in corners], known)
        for stratum in cell:
            sides = zip(corners, points, strict=True)
            chosen.append((stratum, [(stratum.rows_at(corner, at), sign) for (corner, sign), at in sides]))
    return chosen


def points_of(cell: Sequence[Stratum], corners: Sequence[Corner], known: Collection[int]) -> list[set[Corner]]:
    """Return the values of own settings at which the runs of each corner count, in all strata of a cell; empty: at any.

    Of the values with results in at least half of the strata, all count if they are the same for each corner, as in a
    full product. Otherwise the means of the corners would differ in these (optimizer=sgd was run at the baseline's
    optimizer.weight_decay only), so the baseline's count, of those that a corner uses; else those of all corners; else
    the baseline's of the corners that were run there, and all of the others. What no stratum has is passed over.
    """
    if not cell[0].usual:
        return [set() for _ in corners]
    usual = [at_baseline(set().union(*(it.points(corner) for it in cell)), cell[0].usual) for corner in corners]
    often = [frequent([it.points(corner, known) for it in cell]) for corner in corners]
    choices = [often] if all(points == often[0] for points in often) else []
    choices += [usual] if all(usual) else []
    choices += [[common for _ in corners]] if (common := set.intersection(*often)) else []
    choices += [[own or points for own, points in zip(usual, often, strict=True)]]
    for points in choices:
        sides = list(zip(corners, points, strict=True))
        if any(all(it.points(corner) >= at for corner, at in sides) for it in cell):
            return points
    return [set() for _ in corners]


def frequent(sets: Sequence[set[Corner]]) -> set[Corner]:
    """Return what is in at least half of the sets."""
    counts = Counter(point for points in sets for point in points)
    return {point for point, count in counts.items() if 2 * count >= len(sets)}


def at_baseline(points: set[Corner], usual: Corner) -> set[Corner]:
    """Return the baseline's values; where these do not occur, those that agree in the settings that they use."""
    if usual in points:
        return {usual}
    return {
        point
        for point in points
        if all(value is None or value == other for value, other in zip(point, usual, strict=True))
    }


@dataclass(frozen=True)
class Difference:
    """value - baseline in one pair (interaction: the difference of differences in a quadruple).

    Attributes:
        value: of the difference.
        seed, cell: of its stratum.
        rows: of the runs that count as the value (interaction: with a positive sign).
        base_rows: of those that count as the baseline.
        is_average: whether runs that differ in an axis' own settings were averaged.
    """

    value: float
    seed: Any = None
    cell: tuple[Any, ...] = ()
    rows: tuple[int, ...] = ()
    base_rows: tuple[int, ...] = ()
    is_average: bool = False


def paired_columns(settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Return the columns in which pairs must agree: all but the axes, their own settings and the code they choose.

    Settings that are axes beside their group of steps count as what they change of its choice where that is an axis.
    """
    own = {*axes, *(f"{CODE_OF}{axis}" for axis in axes), *(f"{WITH}{axis}" for axis in axes)}
    own |= {f"{CODE_OF}{group}" for group in STEP_GROUPS if any(axis.startswith(f"{group}.") for axis in axes)}
    unused = tuple(f"{WITH}{group}." for group in STEP_GROUPS if group not in axes)
    return [
        name
        for name in map(str, settings)
        if name not in own
        and not name.startswith((*unused, *(f"{start}{axis}." for axis in axes for start in ("", CODE_OF))))
    ]


def cell_columns(settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Return the columns of `Stratum.cell`: what pairs must agree in, without seed, data, code and environment."""
    return [name for name in paired_columns(settings, axes) if is_axis(name) or name.startswith(WITH)]


def own_axes(axes: Sequence[str], every: Iterable[str]) -> list[str]:
    """Return the settings of these axes' choices, such as optimizer.lr, that are axes too."""
    return [name for name in every if name not in axes and name.startswith(tuple(f"{axis}." for axis in axes))]


def strata(settings: pd.DataFrame, axes: Sequence[str], baseline: Mapping[str, Any] | None = None) -> Iterator[Stratum]:
    """Yield the runs that agree in everything else, by their values of the axes.

    Args:
        settings: of the runs.
        axes: that are compared.
        baseline: of every axis.
    """
    paired, cell = paired_columns(settings, axes), cell_columns(settings, axes)
    baseline = baseline or {}
    names = [name for name in own_axes(axes, baseline) if name in settings]
    own = dict(zip(map(int, settings.index), map(tuple, settings[names].to_numpy(dtype=object)), strict=True))
    usual = tuple(baseline[name] for name in names)
    found: dict[tuple[Any, ...], dict[Corner, list[int]]] = {}
    keys = settings[paired].to_numpy(dtype=object)
    values = settings[list(axes)].to_numpy(dtype=object)
    for row, key, corner in zip(settings.index, map(tuple, keys), map(tuple, values), strict=True):
        found.setdefault(key, {}).setdefault(corner, []).append(int(row))
    data, seed = (paired.index(name) if name in paired else None for name in ("data", "seed"))
    indices = [paired.index(name) for name in cell]
    for key, corners in found.items():
        yield Stratum(
            None if data is None else key[data],
            None if seed is None else key[seed],
            tuple(key[index] for index in indices),
            corners,
            own,
            usual,
        )


@cache
def corners_of(values: Corner, base: Corner) -> list[tuple[Corner, int]]:
    """Return the corners of a contrast with their signs: two of a pair, four of a quadruple."""
    sides = product(*(((value, 1), (other, -1)) for value, other in zip(values, base, strict=True)))
    return [(tuple(value for value, _ in corner), prod(sign for _, sign in corner)) for corner in sides]


def compared_values(found: Iterable[Stratum], base: Corner) -> list[Corner]:
    """Return the values of the axes that differ from the baseline's in every axis, in order."""
    corners = dict.fromkeys(values for stratum in found for values in stratum.corners)
    changed = (values for values in corners if all(it != other for it, other in zip(values, base, strict=True)))
    return sorted(changed, key=lambda values: [sort_key(value) for value in values])


def differences(
    contrasted: Iterable[tuple[Stratum, Signed]], metric: Metric, runs: Runs, known: Collection[int]
) -> list[Difference]:
    """Return the differences of all pairs (two axes: quadruples) of a value of the axes.

    Args:
        contrasted: see `contrasts`.
        metric: by which runs are compared.
        runs: their results.
        known: rows of the finished runs that have the metric.
    """
    pairs = []
    for stratum, signed in contrasted:
        measured = [([row for row in rows if row in known], sign) for rows, sign in signed]
        lacking = (
            {stratum.own[row] for row in rows} != {stratum.own[row] for row in every}
            for (rows, _), (every, _) in zip(measured, signed, strict=True)
        )
        if all(rows for rows, _ in measured) and not any(lacking):
            pairs.append(contrast(measured, metric, runs, stratum))
    return pairs


def at_own(settings: pd.DataFrame, own: Sequence[str], rows: Sequence[int]) -> str | None:
    """Return the values of own settings that runs have, such as ` at optimizer.lr=0.1`; None where they differ."""
    points = {*map(tuple, settings.loc[list(rows), list(own)].to_numpy(dtype=object))}
    if len(points) != 1:
        return None
    used = [f"{name}={format_override(cell)}" for name, cell in zip(own, *points, strict=True) if cell is not None]
    return f" at {', '.join(used)}" if used else ""


def contrast(signed: Sequence[tuple[Sequence[int], int]], metric: Metric, runs: Runs, stratum: Stratum) -> Difference:
    """Return value - baseline in a stratum (two axes: the difference of differences); a corner counts as its mean."""
    measured = iter(metric.values(runs, [row for rows, _ in signed for row in rows]))
    total = 0.0
    for rows, sign in signed:
        total += sign * (sum(next(measured) for _ in rows) / len(rows))
    plus, minus = (tuple(row for rows, sign in signed if sign == side for row in rows) for side in (1, -1))
    is_average = any(len(rows) > 1 for rows, _ in signed)
    return Difference(round(total, DECIMALS), stratum.seed, stratum.cell, plus, minus, is_average)


def unmatched(
    settings: pd.DataFrame,
    baseline: Mapping[str, Any],
    compared: Collection[tuple[str, Any]],
    together: Together | None = None,
) -> list[str]:
    """Describe every value without a pair: the other columns in which the nearest baseline runs differ."""
    codes = settings.apply(lambda column: pd.Series(pd.factorize(column, use_na_sentinel=False)[0], settings.index))
    found: dict[tuple[str, str], list[str]] = {}
    for axis, base in baseline.items():
        columns = paired_columns(settings, [axis])
        for value in sorted(set(values_of(settings, axis)) - {base}, key=sort_key):
            if (axis, value) not in compared:
                runs, partners = (
                    codes.loc[[cell == side for cell in settings[axis]], columns] for side in (value, base)
                )
                differ = list(np.array(columns)[fewest_differences(runs.to_numpy(), partners.to_numpy())])
                differing = ", ".join(dict.fromkeys(name_differences(differ, together or {})))
                found.setdefault((axis, differing), []).append(format_override(value))
    lines = []
    for (axis, differing), values in found.items():
        rest = f" and {len(values) - MAX_NAMED_VALUES} more" if len(values) > MAX_NAMED_VALUES else ""
        names = ", ".join(values[:MAX_NAMED_VALUES]) + rest
        why = f"the nearest runs of {axis}={format_override(baseline[axis])} also differ in {differing}"
        lines.append(f"{axis}={names} has no matching pair: {why if differing else 'results are missing'}")
    return lines


def name_differences(columns: Collection[str], together: Together) -> Iterator[str]:
    """Yield the names of columns and of what changes with them; not the code of a choice that differs too."""
    for name in columns:
        chosen, others = name.removeprefix(CODE_OF), {*columns} - {name}
        if name == chosen or not any(f"{chosen}.".startswith(f"{other}.") for other in others):
            yield name.removeprefix(WITH)
            yield from (other for other, _ in next(iter(together.get(name, {}).values()), ()))


def fewest_differences(runs: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """Return the fewest columns in which a row of one array differs from a row of the other, as a mask."""
    fewest = np.ones(runs.shape[1], bool)
    for run in runs:
        differing = run != partners
        closest = differing[differing.sum(axis=1).argmin()]
        fewest = min(fewest, closest, key=np.count_nonzero)
    return fewest

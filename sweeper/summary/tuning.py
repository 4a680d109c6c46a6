"""Settings that are tuned for each configuration, such as the learning rate, before configurations are compared.

The value of a tuned setting is that of the best mean validation accuracy over the seeds; the test images then compare
the configurations at their own values. With grids of one size this is unbiased; a larger grid would win by
chance.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import UserError, enumerate_words, format_names, nearest
from sweeper.summary.axes import is_axis
from sweeper.summary.blocks import name_value
from sweeper.summary.columns import CODE_OF, best_val, format_override
from sweeper.summary.effect_measures import Runs
from sweeper.summary.pairing import strata
from sweeper.sweep.baseline import sort_key

MAX_NAMED_CHOICES = 12  # in the notes
FEW_SEEDS = 3  # fewer are called few
Point = tuple[Any, ...]  # a value of each tuned setting


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in the tuned settings and the seed alone.

    Attributes:
        rows: by point of the grid.
        best: the point of the best mean validation accuracy, the smallest in a tie.
        seeds: number of seeds of that mean.
        rival: the next best point, where the best is ahead of it by less than the standard error of that difference
            over the seeds, so that other seeds may well have chosen it; else None.
    """

    rows: Mapping[Point, Sequence[int]]
    best: Point
    seeds: int
    rival: Point | None

    def is_at_edge(self, position: int) -> bool:
        """Return whether a tuned number is the lowest or the highest of several, so that the best may lie beyond."""
        grid = sorted({point[position] for point in self.rows}, key=sort_key)
        value = self.best[position]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and len(grid) > 1 and value in (grid[0], grid[-1])


def check_tuned(tuned: Sequence[str], axes: Sequence[str], given: Mapping[str, Any]) -> None:
    """Check that the settings vary and have no baseline.

    Raises:
        UserError: they do not, or have one.
    """
    for key in tuned:
        if key not in axes:
            raise UserError(f"--tune {key}: no such axis{nearest(key, axes)}; axes that vary: {format_names(axes)}")
        if key in given:
            raise UserError(f"--baseline {key}={given[key]}: a tuned setting has no baseline; drop it or --tune {key}")


def tune(
    settings: pd.DataFrame,
    runs: Runs,
    finished: set[int],
    failed: set[int],
    tuned: Sequence[str],
    axes: Sequence[str],
) -> tuple[pd.DataFrame, dict[int, Configuration], list[str]]:
    """Keep the runs at the best point of each configuration, and drop the tuned settings.

    Args:
        settings: of finished, diverged and failed runs. A diverged run counts as the worst of its grid; a failed run
            is ignored in the choice.
        runs: their results.
        finished, failed: rows of these runs.
        tuned: names of the tuned settings.
        axes: what is compared.

    Returns:
        The settings that are left, without the code of tuned choices; the configuration of each of their runs; and
        notes on what was chosen.

    Raises:
        UserError: configurations that are compared have grids of different sizes.
    """
    if not tuned:
        return settings, {}, []
    of_tuned = [name for key in tuned for name in (key, f"{CODE_OF}{key}") if name in settings]
    names = [name for name in map(str, settings) if name not in (*of_tuned, "seed")]
    seeds = settings["seed"].tolist() if "seed" in settings else [None] * len(settings)
    points = list(map(tuple, settings[list(tuned)].to_numpy(dtype=object)))
    by = best_val(runs.frame)
    accs = [(runs.number(by, row) or 0.0) if row in finished else 0.0 for row in map(int, settings.index)]
    grouped: dict[tuple[Any, ...], list[int]] = {}
    for index, key in enumerate(map(tuple, settings[names].to_numpy(dtype=object))):
        grouped.setdefault(key, []).append(index)
    kept: list[int] = []
    of_row: dict[int, Configuration] = {}
    found: dict[tuple[Any, ...], Configuration] = {}
    lacking = 0
    for key, indices in grouped.items():
        configuration = choose([i for i in indices if settings.index[i] not in failed], points, seeds, accs)
        if configuration is None:
            lacking += 1
            continue
        rows = [int(settings.index[index]) for index in indices if points[index] == configuration.best]
        kept += rows
        of_row |= dict.fromkeys(rows, configuration)
        found[key] = configuration
    chosen = settings.loc[sorted(kept)].drop(columns=of_tuned)
    refuse_unequal_grids(chosen, {row: len(one.rows) for row, one in of_row.items()}, tuned, axes)
    notes = [f"--tune: {lacking} left out, since no seed has all values of {', '.join(tuned)}"] if lacking else []
    return chosen, of_row, describe_choices(found, names, tuned) + notes


def choose(
    indices: Sequence[int], points: Sequence[Point], seeds: Sequence[Any], accs: Sequence[float]
) -> Configuration | None:
    """Return a configuration with its best point; None where no seed has all points."""
    rows: dict[Point, list[int]] = {}
    for index in indices:
        rows.setdefault(points[index], []).append(index)
    common = set.intersection(*({seeds[index] for index in found} for found in rows.values())) if rows else set()
    if not common:
        return None
    order = sorted(common, key=sort_key)
    of_seeds = {
        point: np.array([fmean(sorted(accs[index] for index in found if seeds[index] == seed)) for seed in order])
        for point, found in rows.items()
    }
    means = {point: fmean(sorted(values.tolist())) for point, values in of_seeds.items()}
    best, *others = sorted(means, key=lambda point: (-means[point], *map(sort_key, point)))
    rival = others[0] if others and is_near(of_seeds[best] - of_seeds[others[0]]) else None
    return Configuration(rows, best, len(order), rival)


def is_near(ahead: NDArray[np.float64]) -> bool:
    """Return whether a mean over seeds is below its standard error, or 0."""
    mean = ahead.mean()
    return bool(mean == 0 or (len(ahead) > 1 and mean < ahead.std(ddof=1) / math.sqrt(len(ahead))))


def doubts_of(chosen: Collection[Configuration], tuned: Sequence[str]) -> str:
    """Return why the choices that a comparison rests on are uncertain, such as `nearly tied in 1 of 2`.

    Args:
        chosen: its configurations.
        tuned: names of the tuned settings.

    Returns:
        Empty where there is no reason.
    """
    few = [one.seeds for one in chosen if one.seeds < FEW_SEEDS]
    reasons = {
        f"chosen from {'1 seed' if few and max(few) == 1 else f'at most {FEW_SEEDS - 1} seeds'}": len(few),
        "nearly tied": sum(one.rival is not None for one in chosen),
        "at the edge of its grid": sum(any(map(one.is_at_edge, range(len(tuned)))) for one in chosen),
    }
    texts = [f"{reason} in {number} of {len(chosen)}" for reason, number in reasons.items() if number]
    return f"the choices of {enumerate_words(tuned)} are uncertain: {', '.join(texts)}" if texts else ""


def refuse_unequal_grids(
    settings: pd.DataFrame, sizes: Mapping[int, int], tuned: Sequence[str], axes: Sequence[str]
) -> None:
    """Check that the runs of each pair were chosen from grids of the same size.

    Raises:
        UserError: they were not.
    """
    for axis in axes:
        for stratum in strata(settings, [axis]):
            found = {corner[0]: sizes[rows[0]] for corner, rows in stratum.corners.items()}
            if len(set(found.values())) > 1:
                most, fewest = (pick(found, key=lambda value: (found[value], sort_key(value))) for pick in (max, min))
                raise UserError(
                    f"--tune {', '.join(tuned)}: {axis}={format_override(most)} has {found[most]} values, "
                    f"{axis}={format_override(fewest)} has {found[fewest]}; the larger grid would win by chance: "
                    "run equal grids, or select runs with --where"
                )


def describe_choices(
    found: Mapping[tuple[Any, ...], Configuration], names: Sequence[str], tuned: Sequence[str]
) -> list[str]:
    """Return what was chosen for each configuration, and which choices are at the edge of their grid."""
    keys = list(found)
    varying = [index for index in range(len(names)) if is_axis(names[index]) and len({key[index] for key in keys}) > 1]
    lines = []
    for position, name in enumerate(tuned):
        texts = []
        for key in sorted(keys, key=lambda key: [sort_key(key[index]) for index in varying]):
            one = found[key]
            remarks = ["edge of its grid: widen it"] if one.is_at_edge(position) else []
            if one.rival is not None and one.rival[position] != one.best[position]:
                remarks.append(f"nearly tied with {format_override(one.rival[position])}")
            if one.seeds < FEW_SEEDS:
                remarks.append(f"from {one.seeds} {'seed' if one.seeds == 1 else 'seeds'}")
            label = ", ".join(name_value(names[index], key[index]) for index in varying) or "all runs"
            text = f"{label}: {format_override(one.best[position])}"
            texts.append(text + (f" ({'; '.join(remarks)})" if remarks else ""))
        rest = [f"and {len(texts) - MAX_NAMED_CHOICES} more"] if len(texts) > MAX_NAMED_CHOICES else []
        lines.append(f"{name} chosen on validation images: {'; '.join(texts[:MAX_NAMED_CHOICES] + rest)}")
    return lines

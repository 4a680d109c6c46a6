"""Effects of screened tricks: contrasts within each seed, where hardly any two runs differ in a single setting.

A screen (sweep.design=screen, see sweeper.sweep.designs) has its tricks off and on in orthogonal columns. In each seed
a trick's effect is the mean of the runs with it minus the mean of those without, (2 / N) sum_i x_i y_i over the N runs,
x = +-1. The seeds' effects are observations for the paired t-test, so that neither effects of seeds nor of seed x trick
need a model (Box, Hunter and Hunter 2005, chapter 5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.summary.pairing import paired_columns

Trick = tuple[tuple[str, Any, Any], ...]  # each axis that changes with it, its value with the trick and without


@dataclass(frozen=True)
class Screening:
    """The effects of screened tricks.

    Attributes:
        effects: of each trick in each seed, in order of the seeds.
        on, off: for each trick and seed, the rows of the runs with the trick and without.
        left_out: for each seed that does not count, how many of its runs have no result.
        is_full: whether every combination of the tricks is run, so that there are pairs as well.
        is_confounded: whether a trick's effect cannot be told from an interaction of two, as in half of a screen.
    """

    effects: dict[Trick, dict[Any, float]]
    on: dict[Trick, dict[Any, list[int]]]
    off: dict[Trick, dict[Any, list[int]]]
    left_out: dict[Any, int]
    is_full: bool
    is_confounded: bool


def screen(settings: pd.DataFrame, results: "pd.Series[float]", baseline: Mapping[str, Any]) -> Screening | None:
    """Return the effect of every trick in every seed that has all runs of the design.

    Args:
        settings: of runs on one dataset, of equal code and environment but for the tricks', see
            sweeper.summary.axes.settings_of; of runs that are not finished as well.
        results: of these runs; NaN where there is none.
        baseline: for each axis its value without the trick.

    Returns:
        None where the runs are no screen: an axis has more than two values, or columns are not orthogonal.
    """
    axes = list(baseline)
    if not axes or any(len({*settings[axis]} | {baseline[axis]}) != 2 for axis in axes):
        return None
    columns = {axis: np.where([value == baseline[axis] for value in settings[axis]], -1, 1) for axis in axes}
    tricks = group_aliases(columns)
    signs = np.column_stack([columns[group[0]] for group in tricks])
    design = np.unique(signs, axis=0)
    if design.sum(axis=0).any() or not np.array_equal(design.T @ design, len(design) * np.eye(len(tricks))):
        return None
    is_confounded = any(
        (design.T @ (design[:, first] * design[:, second])).any()
        for first, second in combinations(range(len(tricks)), 2)
    )
    blocks: dict[tuple[Any, ...], dict[tuple[int, ...], int]] = {}
    keys = settings[paired_columns(settings, axes)].astype(object).to_numpy()
    for row, key, combination in zip(settings.index, map(tuple, keys), map(tuple, signs.tolist()), strict=True):
        blocks.setdefault(key, {})[combination] = int(row)
    names = [name_trick(group, columns, settings, baseline) for group in tricks]
    effects: dict[Trick, dict[Any, float]] = {name: {} for name in names}
    on: dict[Trick, dict[Any, list[int]]] = {name: {} for name in names}
    off: dict[Trick, dict[Any, list[int]]] = {name: {} for name in names}
    left_out: dict[Any, int] = {}
    for runs in blocks.values():
        rows = [row for row in runs.values() if not pd.isna(results[row])]
        seed = settings.at[next(iter(runs.values())), "seed"] if "seed" in settings else None
        if len(rows) < len(design):
            left_out[seed] = len(design) - len(rows)
            continue
        for number, name in enumerate(names):
            for sign, side in ((1, on), (-1, off)):
                side[name][seed] = [row for combination, row in runs.items() if combination[number] == sign]
            effects[name][seed] = float(results[on[name][seed]].mean() - results[off[name][seed]].mean())
    is_full = len(design) == 2 ** len(tricks)
    return Screening(effects, on, off, left_out, is_full, is_confounded)


def group_aliases(columns: Mapping[str, NDArray[np.int64]]) -> list[list[str]]:
    """Return the axes in groups that change together, such as zipped keys and the steps of an augmentation's preset."""
    groups: list[list[str]] = []
    for axis, signs in columns.items():
        for group in groups:
            if abs(int(signs @ columns[group[0]])) == len(signs):
                group.append(axis)
                break
        else:
            groups.append([axis])
    return groups


def name_trick(
    group: list[str], columns: Mapping[str, NDArray[np.int64]], settings: pd.DataFrame, baseline: Mapping[str, Any]
) -> Trick:
    """Return what changes with a trick; it is on where the first axis of its group has not its baseline value."""
    changes = []
    for axis in group:
        (other,) = {*settings[axis]} - {baseline[axis]}
        values = (other, baseline[axis])
        changes.append((axis, *(values if np.array_equal(columns[axis], columns[group[0]]) else values[::-1])))
    return tuple(changes)

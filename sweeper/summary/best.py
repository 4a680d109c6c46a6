"""The best configuration and its best run, by validation accuracies minus the effects of the validation splits.

Of segmentation, accuracy is mean IoU here, see sweeper.summary.columns.best_val.

A seed draws a validation split, and some splits are easier than others. So configurations are compared by their means
over the same splits, never by their highest run, which is that of the easiest split.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.summary.average import keys
from sweeper.summary.columns import best_val, setting_columns

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
SEED = "seed"
DECIMALS = 10  # of an adjusted accuracy: equal ones become equal in floating point too


@dataclass(frozen=True)
class Adjusted:
    """Validation accuracies minus the effects of their splits.

    Attributes:
        runs: of each run of the frame, NaN where it has none.
        configurations: the mean over each configuration's finished runs, in order of its first run of the frame; of a
            configuration without a finished run, the mean over its runs.
        configuration_of: of each run, the index of its configuration.
        uneven: whether a configuration lacks a split that another one with the same images has: their plain means
            are not comparable.
    """

    runs: Floats
    configurations: Floats
    configuration_of: Integers
    uneven: bool


def adjust(frame: pd.DataFrame) -> Adjusted:
    """Subtract the effect of its validation split from each run's best_val_acc.

    The effects are those of the least-squares fit of accuracy = configuration + split over the finished runs: where
    every configuration has every split, a split's effect is its mean minus the overall mean (Searle, Speed and
    Milliken, 1980, Population Marginal Means in the Linear Model). Their mean over runs is 0. Between configurations
    that are not linked by shared splits, not even through others, nothing is adjusted.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather. Runs that agree in every setting but the seed and
            in their code are a configuration; runs that agree in data and seed share their split.
    """
    settings = setting_columns(frame)
    configuration = numbered(frame, [name for name in [*settings, "code"] if name != SEED and name in frame])
    data = numbered(frame, [name for name in settings if name == "data" or name.startswith("data.")])
    split = numbered(frame, [name for name in settings if name in (SEED, "data") or name.startswith("data.")])
    accs = pd.to_numeric(frame[best_val(frame)], errors="coerce").to_numpy(dtype=float)
    finished = (frame["state"] == "finished").to_numpy() & np.isfinite(accs)
    fitted = (configuration[finished], split[finished])
    uneven = is_uneven(*fitted, data[finished])
    if uneven:
        effects = split_effects(accs[finished], *fitted, len(frame))
    else:
        by_split, by_data = (means_by(accs[finished], group[finished], len(frame)) for group in (split, data))
        effects = np.zeros(len(frame))
        effects[fitted[1]] = by_split[fitted[1]] - by_data[data[finished]]
    adjusted = np.round(accs - effects[split], DECIMALS)
    all_runs = pd.Series(adjusted)
    means = all_runs.where(finished).groupby(configuration).mean().fillna(all_runs.groupby(configuration).mean())
    return Adjusted(adjusted, means.round(DECIMALS).to_numpy(np.float64), configuration, uneven)


def numbered(frame: pd.DataFrame, columns: list[str]) -> Integers:
    """Return for each run which of the combinations of these columns it has, counted from 0 in order."""
    if not columns:
        return np.zeros(len(frame), np.int64)
    return frame.groupby(keys(frame, columns), sort=False).ngroup().to_numpy().astype(np.int64)


def split_effects(accs: Floats, configuration: Integers, split: Integers, size: int) -> Floats:
    """Fit accs (N,) by least squares and return the effect of each split (size,), 0 where it has no run.

    Splits and configurations are the nodes of a graph whose edges are the runs. Effects are known up to a constant in
    each connected part, and the constant makes their mean over the part's runs 0.
    """
    from scipy.sparse import coo_array  # takes a tenth of a second; most tables are even
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import lsqr

    rows, ones = np.arange(len(accs)), np.ones(2 * len(accs))
    design = coo_array((ones, (np.r_[rows, rows], np.r_[configuration, size + split])), (len(accs), 2 * size))
    effects: Floats = lsqr(design.tocsr(), accs - accs.mean(), atol=1e-14, btol=1e-14)[0][size:]
    edges = coo_array((ones[: len(accs)], (configuration, size + split)), (2 * size, 2 * size))
    part: Integers = connected_components(edges, directed=False)[1]
    return effects - means_by(effects[split], part[configuration], 2 * size)[part[size:]]


def means_by(values: Floats, group: Integers, size: int) -> Floats:
    """Return the mean of the values (N,) of each group (size,), 0 for a group without values."""
    means: Floats = np.bincount(group, values, size) / np.maximum(np.bincount(group, minlength=size), 1)
    return means


def is_uneven(configuration: Integers, split: Integers, data: Integers) -> bool:
    """Return whether a configuration lacks a split that another one with the same images has."""

    def count(nodes: Integers) -> Integers:
        return np.bincount(data[np.unique(nodes, return_index=True)[1]], minlength=int(data.max(initial=0)) + 1)

    return bool((count(configuration) * count(split) > np.bincount(data)).any())


def best_run(frame: pd.DataFrame) -> Any:
    """Return the run_id of the best run of the best configuration; None where no run is finished."""
    return next(iter(best_configuration(frame)), None)


def best_configuration(frame: pd.DataFrame) -> list[Any]:
    """Return the run_ids of the finished runs of the best configuration, the best run first; none where none is.

    It is the configuration with the highest mean of adjusted validation accuracies, see `adjust`, and its runs are in
    the order of these. Ties are broken by the highest best_val_acc, then by run_id, as in the table.
    """
    by = best_val(frame)
    finished = frame[(frame["state"] == "finished") & frame[by].notna()]
    if finished.empty:
        return []
    finished = finished.sort_values([by, "run_id"], ascending=[False, True]).reset_index(drop=True)
    adjusted = adjust(finished)
    configuration = adjusted.configuration_of  # numbered in the order of their highest runs
    order = np.lexsort((-adjusted.runs, configuration, -adjusted.configurations[configuration]))  # stable
    is_best = configuration[order] == configuration[order[0]]
    best: list[Any] = finished["run_id"].iloc[order[is_best]].tolist()
    return best

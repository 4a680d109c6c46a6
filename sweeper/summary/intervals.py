"""Intervals and p of a mean over seeds: Student's t, Holm's correction and levels, prediction for a new model."""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.special import stdtr, stdtrit

from sweeper.sweep.precision import half_width

Interval = tuple[float, float]


def mean_of(means: Sequence[float]) -> float:
    """Return the mean; of equal numbers, that number to the last digit."""
    return means[0] if len(set(means)) == 1 else fmean(means)


def spread_of(means: Sequence[float], floor: float | None) -> float | None:
    """Return the standard deviation (n - 1) of the seeds' means, at least the floor; None where it is undefined.

    It is undefined for a single seed, and if all seeds agree and no floor is known.
    """
    if len(means) < 2:
        return None
    spread = 0.0 if len(set(means)) == 1 else float(np.std(means, ddof=1))
    return max(spread, floor or 0.0)


def rounding_floor(resolution: float | None, runs: int, pairs: float) -> float | None:
    """Return the standard deviation that rounding alone gives a seed's mean.

    A result with a resolution of q has a rounding error of variance q^2 / 12, each of the runs of a pair its own.

    Args:
        resolution: q; None where it is not known.
        runs: of a pair (2) or a quadruple (4).
        pairs: of a seed.
    """
    return None if resolution is None else resolution * math.sqrt(runs / 12 / pairs)


def t_interval(mean: float, spread: float | None, number: int, level: float) -> Interval | None:
    """Return the interval of a mean over seeds that covers 1 - level; None without a spread."""
    if not spread:
        return None
    half = float(stdtrit(number - 1, 1 - level / 2)) * spread / math.sqrt(number)
    return mean - half, mean + half


def fixed_width(mean: float, spread: float | None, number: int, precision: float) -> Interval | None:
    """Return the interval for a number of seeds that sweep.precision chose.

    Returns:
        mean +- precision if that was reached, else mean +- the half-width of its rule; None without a spread.
    """
    if not spread:
        return None
    half = max(precision, half_width(spread, number))
    return mean - half, mean + half


def within(interval: Interval | None, bound: float | None) -> Interval | None:
    """Return the part of an interval that is possible: from -bound to bound; all of it without a bound.

    What is always true of a mean is no error to exclude, so the coverage stays the same.
    """
    if interval is None or bound is None:
        return interval
    return max(interval[0], -bound), min(interval[1], bound)


def t_test(mean: float, spread: float | None, number: int) -> float | None:
    """Return the two-sided p of a mean over seeds; 1 where every seed has none, None without a spread."""
    if number > 1 and mean == 0:
        return 1.0
    return float(2 * stdtr(number - 1, -abs(mean) / spread * math.sqrt(number))) if spread else None


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values for the family-wise error rate: the step-down method of Holm (1979)."""
    number = len(ps)
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(number)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((number - np.arange(number)) * np.array(ps)[order]))
    return [float(p) for p in adjusted]


def holm_levels(ps: Sequence[float], alpha: float) -> list[float]:
    """Return for each p the level at which Holm's method tests it.

    Of m sorted p values that of rank k (from 0) is tested at alpha / (m - k); those after the first that is not
    significant are tested at its level. An interval at this level excludes 0 exactly where p is significant, and all
    intervals of a family hold simultaneously with about 1 - alpha.
    """
    number = len(ps)
    significant = sum(p < alpha for p in holm(ps))
    levels = np.empty(number)
    ranks = np.minimum(np.arange(number), significant)
    levels[np.argsort(ps, kind="stable")] = alpha / np.maximum(number - ranks, 1)
    return [float(level) for level in levels]


def new_model_interval(means: Sequence[float], level: float, half_width: float = 0.0) -> Interval | None:
    """Return the prediction interval for the effect on a new model, from each model's mean; None below three.

    The prediction interval of a normal sample, mean +- t(M - 1) sd sqrt(1 + 1 / M), covers what differs between models.
    What they share, such as a seed's effect on all of them, does not show in sd but in the interval of the mean over
    seeds. So the half-width is the root of the sum of both squares (Zou and Donner 2008), never below that of the mean.

    Args:
        means: of each model.
        level: 1 - coverage.
        half_width: of the interval of the mean of these models.
    """
    number = len(means)
    if number < 3:
        return None
    mean, spread = fmean(means), float(np.std(means, ddof=1))
    between = float(stdtrit(number - 1, 1 - level / 2)) * spread * math.sqrt(1 + 1 / number)
    half = math.hypot(between, half_width)
    return mean - half, mean + half

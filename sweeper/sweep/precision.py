"""Fixed-width intervals: how many seeds an effect needs until its mean is known to a given precision.

The rule depends only on the spread of the seeds' differences, never on their mean, so the mean stays unbiased: stop
when the half-width at LEVEL is small enough, else run half of the estimated missing seeds, at least one. At
LEVEL = 3%, mean +- half-width then covers the effect in at least 95% of sweeps whatever the spread
(benchmarks/designs.py); at 5% it would not, since stopping favors a small spread (Anscombe 1953 has the rule
for one seed at a time, Stein 1945 an exact two-stage procedure).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

PILOT = 4  # seeds before the first look
LEVEL = 0.03
MAX_SEEDS = 20  # where sweep.max_seeds is null
MOST = 100_000  # limit of the computation; more seeds are never run


def spread_of(differences: Sequence[float], rounding: float = 0.0) -> float:
    """Return the standard deviation of the seeds' differences, at least that of their rounding.

    Args:
        differences: an effect in each seed, at least two.
        rounding: see `rounding_of`.
    """
    return max(float(np.std(differences, ddof=1)), rounding)


def rounding_of(resolution: float, pairs: int) -> float:
    """Return the standard deviation that rounding gives the mean difference of a number of pairs of runs.

    A run's result is a multiple of the resolution, which gives it the variance resolution^2 / 12.
    """
    return resolution / math.sqrt(6 * pairs)


def half_width(spread: float, seeds: int, level: float = LEVEL) -> float:
    """Return the half-width of Student's interval for a mean over a number of seeds, at least two."""
    return float(stdtrit(seeds - 1, 1 - level / 2)) * spread / math.sqrt(seeds)


def seeds_for(spread: float, precision: float, *, level: float = LEVEL, more_than: int = 1) -> int:
    """Return the least number of seeds whose half-width is at most `precision`, if the spread stays the same.

    Returns:
        MOST where it is that many or more.
    """
    low, high = more_than + 1, MOST
    while low < high:  # the half-width falls with every seed
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(spread, middle, level) <= precision else (middle + 1, high)
    return low


def seeds_to_add(seeds: int, needed: int) -> int:
    """Return how many seeds to run before the next look: half of those that are missing, at least one."""
    return max(1, (needed - seeds) // 2)

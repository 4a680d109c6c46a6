"""p values and intervals that stay valid when seeds are added after looking at results.

A t-test for a fixed number of seeds gives more than 5% false positives if seeds are added until it is significant. Here
the evidence against "no difference" is a test martingale: the Bayes factor of a normal prior on mean / standard
deviation and the right Haar prior on the standard deviation (Lai, 1976; Wang and Ramdas, 2025). By Ville's inequality
it exceeds 1 / level at some number of seeds with a probability of at most the level.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from sweeper.summary.intervals import Interval, spread_of

PRIOR = 4.0  # variance of the prior on mean / standard deviation


def e_value(means: Sequence[float], floor: float | None = None) -> float:
    """Return the evidence against a mean of 0 after these seeds; 1 without evidence.

    Args:
        means: the mean difference of each seed.
        floor: the minimum standard deviation, see `spread_of`.
    """
    number, spread = len(means), spread_of(means, floor)
    if not spread:
        return 1.0
    t, degrees, ratio = fmean(means) * math.sqrt(number) / spread, number - 1, 1 + number * PRIOR
    log = number / 2 * (math.log1p(t**2 / degrees) - math.log1p(t**2 / (degrees * ratio))) - math.log(ratio) / 2
    return math.exp(min(log, 700.0))


def anytime_p(means: Sequence[float], floor: float | None = None) -> float | None:
    """Return p: the inverse of the evidence, at most 1; None with fewer than two seeds.

    The highest evidence so far would be valid as well, but could contradict the interval of today's seeds.

    Args:
        means: the mean difference of each seed.
        floor: the minimum standard deviation.
    """
    return None if len(means) < 2 else min(1.0, 1 / e_value(means, floor))


def confidence_sequence(means: Sequence[float], level: float, floor: float | None = None) -> Interval | None:
    """Return the interval that covers 1 - level at all numbers of seeds simultaneously; None with too few seeds."""
    number, spread = len(means), spread_of(means, floor)
    if not spread:
        return None
    degrees, ratio = number - 1, 1 + number * PRIOR
    bound = math.exp(2 / number * (math.log(ratio) / 2 - math.log(level)))
    if bound >= ratio:
        return None
    half = spread / math.sqrt(number) * math.sqrt(degrees * (bound - 1) / (1 - bound / ratio))
    return fmean(means) - half, fmean(means) + half

"""The difference that a number of seeds can detect; see sweeper.sweep.precision for the seeds that an interval needs.

A forecast of when the observed effect would become significant is an instruction to stop at that point, which
turns 5% false positives into 12 to 29%.
"""

import math
from collections.abc import Sequence

from scipy.special import nctdtrinc, stdtrit

POWER = 0.8  # the conventional power


def pooled_spread(spreads: Sequence[float]) -> float:
    """Return the root mean square of the standard deviations of several comparisons."""
    return math.sqrt(math.fsum(spread**2 for spread in spreads) / len(spreads))


def detectable(seeds: int, level: float) -> float:
    """Return the difference, in standard deviations between seeds, that is significant at the level with POWER."""
    critical = stdtrit(seeds - 1, 1 - level / 2)
    return float(nctdtrinc(seeds - 1, 1 - POWER, critical)) / math.sqrt(seeds)

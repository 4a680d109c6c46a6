"""What a number of seeds can show, whatever effect was seen; sweeper.sweep.precision says how many an interval needs.

A number of seeds after which the effect that was seen would be significant is an instruction to stop when it is, which
makes false claims of 12 to 29 % out of 5 %.
"""

import math
from collections.abc import Sequence

from scipy.special import nctdtrinc, stdtrit

POWER = 0.8  # four times in five


def pooled_spread(spreads: Sequence[float]) -> float:
    """Return the root mean square of the standard deviations of several comparisons."""
    return math.sqrt(math.fsum(spread**2 for spread in spreads) / len(spreads))


def detectable(seeds: int, level: float) -> float:
    """Return the difference, in standard deviations between seeds, that is significant at the level with POWER."""
    critical = stdtrit(seeds - 1, 1 - level / 2)
    return float(nctdtrinc(seeds - 1, 1 - POWER, critical)) / math.sqrt(seeds)

"""What a number of seeds can show, and how many seeds an interval needs. Neither depends on the effect that was seen.

A number of seeds after which the effect that was seen would be significant is an instruction to stop when it is, which
makes false claims of 12 to 29 % out of 5 %.
"""

import math
from collections.abc import Sequence

from scipy.special import nctdtrinc, stdtrit

POWER = 0.8  # four times in five
MAX_SEEDS = 100_000


def pooled_spread(spreads: Sequence[float]) -> float:
    """Return the root mean square of the standard deviations of several comparisons."""
    return math.sqrt(math.fsum(spread**2 for spread in spreads) / len(spreads))


def detectable(seeds: int, level: float) -> float:
    """Return the difference, in standard deviations between seeds, that is significant at the level with POWER."""
    critical = stdtrit(seeds - 1, 1 - level / 2)
    return float(nctdtrinc(seeds - 1, 1 - POWER, critical)) / math.sqrt(seeds)


def seeds_for(spread: float, half_width: float, level: float = 0.05) -> int:
    """Return the fewest seeds whose t interval of this spread is at most the half-width; at most MAX_SEEDS."""
    few, many = 1, 2

    def is_enough(seeds: int) -> bool:
        return float(stdtrit(seeds - 1, 1 - level / 2)) * spread <= half_width * math.sqrt(seeds)

    while not is_enough(many) and many < MAX_SEEDS:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return min(many, MAX_SEEDS)

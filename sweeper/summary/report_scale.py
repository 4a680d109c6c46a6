"""Scales of the report's plots: positions of values, and ticks at round numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

STEPS = (1, 2, 5, 10)  # times a power of ten
CLIP = 2.5  # times the largest mean: an interval of two pairs would shrink all others to a dot
FAR = 8  # times the median mean: so would a change that ruins training


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to positions in a picture.

    Attributes:
        low, high: the values at the ends.
        start, end: their positions.
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the position of a value; that of an end for a value beyond it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def at(self, value: float) -> str:
        """Return the position as text."""
        return f"{self.place(value):.1f}"

    def is_inside(self, value: float) -> bool:
        return self.low <= value <= self.high


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most so many and one round numbers from low to high; just the number where both are the same."""
    if not low < high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in STEPS if (high - low) / (factor * power) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def around_zero(means: Sequence[float], others: Sequence[float], ends: Sequence[float]) -> tuple[float, float]:
    """Return the values that a plot of differences shows: zero, the means that are comparable, what is not far beyond.

    Args:
        means: of the changes.
        others: single observations.
        ends: of intervals.
    """
    furthest = FAR * median(map(abs, means)) if len(means) > 2 else math.inf
    centers = [value for value in (*means, *others) if abs(value) <= (furthest or math.inf)]
    limit = CLIP * max(map(abs, centers), default=0.0)
    near = [min(max(end, -limit), limit) for end in ends] if limit else list(ends)
    low, high = min([0.0, *centers, *near]), max([0.0, *centers, *near])
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin

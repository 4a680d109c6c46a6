"""Durations of sweeps and their format. No torch here: readers start fast."""

import heapq
from collections.abc import Sequence


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Return when the last run ends if each starts in the first free slot, the longest first."""
    free = [0.0] * slots
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def format_range(low: float, high: float) -> str:
    """Format a duration that is known to lie between two, in one unit."""
    unit, seconds, digits = ("s", 1, 0) if high < 90 else ("min", 60, 0) if high < 90 * 60 else ("h", 3600, 1)
    least = 10.0**-digits
    texts = [f"{max(least, end / seconds):.{digits}f}" for end in (low, high)]
    return f"about {texts[0]} {unit}" if texts[0] == texts[1] else f"{texts[0]} to {texts[1]} {unit}"


def format_duration(seconds: float) -> str:
    """Format a duration, rounded like an estimate."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

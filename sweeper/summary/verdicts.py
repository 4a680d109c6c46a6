"""The result of a comparison in words that claim no more than the data support."""

from sweeper.summary.axes import format_override
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.inference import Comparison


def verdict(comparison: Comparison) -> str:
    """Return the result as the end of a sentence."""
    if comparison.seeds == 1:
        return f"one {'pair' if comparison.pairs == 1 else 'seed'}: more seeds needed"
    if comparison.p is None:
        return "the same in every seed: no spread to test against"
    if not comparison.is_significant:
        words = "not significant"
        words += ": no difference in any pair" if comparison.higher == comparison.lower == 0 else ""
        return words + diverged(comparison)
    if comparison.averaged:
        names = " and ".join(comparison.averaged)
        return f"no verdict: averaged over {names}; use {' '.join(f'--tune {name}' for name in comparison.averaged)}"
    words = direction(comparison)
    if comparison.diverged is not None and not comparison.diverged.is_empty:
        words += " where all runs finish" if len(comparison.changes) > 1 else " where both runs finish"
    if comparison.parts:
        digits = METRICS[comparison.metric].digits.format
        low, high = (pick(comparison.parts, key=lambda part: part.mean) for pick in (min, max))
        words += f" on average: from {digits(low.mean)} ({low.name}) to {digits(high.mean)} ({high.name})"
    return words + diverged(comparison)


def direction(comparison: Comparison) -> str:
    """Return what a significant change does."""
    metric, up = METRICS[comparison.metric], comparison.mean > 0
    if len(comparison.changes) == 1:
        return metric.higher if up else metric.lower
    value, baseline = (format_override(side) for side in (comparison.changes[1].value, comparison.changes[1].baseline))
    return f"{metric.more if up else metric.less} with {value} than with {baseline}"


def diverged(comparison: Comparison) -> str:
    """Return how many runs diverged, as the end of a result; empty where none did."""
    tally = comparison.diverged
    return "" if tally is None or tally.is_empty else f"; diverged: {tally.text}"

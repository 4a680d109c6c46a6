"""The result of a comparison in words that claim no more than the data support."""

from collections.abc import Sequence

from sweeper.errors import enumerate_words
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.inference import Comparison
from sweeper.summary.parts import Part, opposed

DISAGREE = "the seeds disagree too much to exclude any difference"  # an interval is all that is possible
FEW = "too few seeds for an interval that stays valid when seeds are added"


def verdict(comparison: Comparison) -> str:
    """Return the result as the end of a sentence."""
    if comparison.seeds == 1:
        return f"one {'pair' if comparison.pairs == 1 else 'seed'}: more seeds needed"
    if comparison.is_unplanned:
        return f"no interval, since sweep.precision adds no seeds for it{missing(comparison)}"
    if comparison.p is None and comparison.interval is None:
        return "the same in every seed: no spread to test against"
    if comparison.averaged:
        names = enumerate_words(comparison.averaged)
        return f"no verdict: averaged over {names}; use {' '.join(f'--tune {name}' for name in comparison.averaged)}"
    if not comparison.is_significant:
        words = "not significant" + (on_average(comparison, comparison.parts) if are_opposed(comparison) else "")
        words += ": no difference in any pair" if comparison.higher == comparison.lower == 0 else ""
        words += f": {DISAGREE}" if comparison.is_vacuous else ""
        words += f": {FEW}" if comparison.is_anytime and comparison.family is None else ""
        return words + missing(comparison)
    words = direction(comparison) + where(comparison)
    words += on_average(comparison, comparison.parts) if comparison.parts else ""
    return words + missing(comparison)


def on_average(comparison: Comparison, parts: Sequence[Part]) -> str:
    """Return the range of the parts' means."""
    digits = METRICS[comparison.metric].digits.format
    low, high = (pick(parts, key=lambda part: part.mean) for pick in (min, max))
    return f" on average: from {digits(low.mean)} ({low.name}) to {digits(high.mean)} ({high.name})"


def are_opposed(comparison: Comparison) -> bool:
    """Return whether the simultaneous intervals are above 0 for one model (or rate) and below for another."""
    return opposed(part.family for part in comparison.parts)


def direction(comparison: Comparison) -> str:
    """Return what a significant change does."""
    metric, up = METRICS[comparison.metric], comparison.mean > 0
    if len(comparison.changes) == 1:
        return metric.higher if up else metric.lower
    other = comparison.changes[1]
    return f"{metric.more if up else metric.less} with {other.value_text} than with {other.base_text}"


def where(comparison: Comparison) -> str:
    """Return what a result is restricted to: pairs without a missing result, these test images; empty for neither."""
    diverged, failed = (tally is not None and not tally.is_empty for tally in (comparison.diverged, comparison.failed))
    several = comparison.is_screen or len(comparison.changes) > 1
    restricted = failed or (diverged and not comparison.has_chance)
    words = f" where {'all' if several else 'both'} runs finish" if restricted else ""
    others = comparison.other_images if comparison.is_significant else None
    return words + (" on these test images" if others is not None and others[0] <= 0 <= others[1] else "")


def missing(comparison: Comparison) -> str:
    """Return the end of a result: a precision not reached, the counts of diverged and failed runs; empty if none."""
    words = "" if comparison.is_precise else "; precision not reached"
    if comparison.diverged is not None and not comparison.diverged.is_empty:
        words += f"; diverged{', as chance' if comparison.is_scored else ''}: {comparison.diverged.text}"
    if comparison.failed is not None and not comparison.failed.is_empty:
        words += f"; failed: {comparison.failed.text}"
    return words

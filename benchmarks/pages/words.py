"""Sentences for the pages, which claim what the project's own verdicts do and follow from the data."""

from collections.abc import Sequence

from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effects_lines import format_interval
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.sentences import digits_for, points, sentence
from sweeper.summary.verdicts import verdict

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count(number: int) -> str:
    """Return a number as a word up to twelve."""
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"


def says(comparison: Comparison, name: str | None = None) -> str:
    """Return the answer for one change as the end of a sweep states it, without its full stop.

    Args:
        comparison: by what decides.
        name: of the change, in place of the setting.
    """
    change, _, text = sentence(comparison).partition(": ")
    return f"{name or f'`{change}`'}: {text}"


def is_up(comparison: Comparison | None) -> bool:
    """Return whether a change significantly raises the measure, with no setting over which its mean changes sign."""
    return comparison is not None and comparison.is_significant and comparison.mean > 0 and not comparison.parts


def is_down(comparison: Comparison | None) -> bool:
    """Return whether it significantly lowers it, likewise."""
    return comparison is not None and comparison.is_significant and comparison.mean < 0 and not comparison.parts


def by_model(comparison: Comparison) -> str:
    """Return the mean of each model in points, the highest first, and for how many its own interval excludes 0."""
    parts = sorted(comparison.models, key=lambda part: -part.mean)
    digits = max(digits_for(part.mean) for part in parts)
    means = ", ".join(f"{points(part.mean, digits)} ({part.name})" for part in parts)
    clear = sum(part.family is not None and not part.family[0] <= 0 <= part.family[1] for part in parts)
    known = "each" if clear == len(parts) else f"{count(clear)} of them"
    which = "themselves" if 1 < clear < len(parts) else "itself"
    return f"By model, in points: {means}; {known} significant by {which}"


def interval_of(interval: tuple[float, float]) -> str:
    """Return an interval in percentage points."""
    digits = digits_for(*interval)
    return f"{points(interval[0], digits)} to {points(interval[1], digits)}"


def expected(comparison: Comparison) -> str | None:
    """Return what a new model like these may expect, in points; None where it is not known."""
    if comparison.new_model is None:
        return None
    return f"{interval_of(comparison.new_model)} points ({1 - LEVEL:.0%} prediction interval)"


def measured_result(comparison: Comparison) -> str:
    """Return mean, interval and verdict of a comparison by any measure, such as `-2.30 [-4.10, -0.50], faster`."""
    digits = METRICS[comparison.metric].digits
    return f"{digits.format(comparison.mean)} {format_interval(comparison.family, digits)}, {verdict(comparison)}"


def interactions(found: Sequence[Comparison], *axes: str) -> list[Comparison]:
    """Return the significant interactions of two axes by test accuracy, or mIoU."""
    return [
        one
        for one in found
        if one.is_significant
        and one.metric in ("test_acc", "test_miou")
        and {change.axis for change in one.changes} == set(axes)
    ]


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"

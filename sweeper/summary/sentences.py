"""The answer in sentences: what each change does to test accuracy, and what cannot be seen.

A sentence claims what its verdict does (see sweeper.summary.verdicts), in percentage points and with the interval that
excludes 0 exactly where the change is significant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.summary.cost import LARGE
from sweeper.summary.effect_measures import MAIN
from sweeper.summary.effects import Effects
from sweeper.summary.effects_tables import recipe_of_table, tables
from sweeper.summary.held import Recipe, beside, heading_of
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.intervals import Interval
from sweeper.summary.parts import Part
from sweeper.summary.verdicts import DISAGREE, FEW, are_opposed, missing, verdict, where

MAX_DIGITS = 4  # after the point
OPTIMISTIC = "the test images selected the epochs, so both sides are optimistic"  # data.val_size=0
MEANINGS = {"test_acc": "test accuracy", "test_miou": "test mIoU"}


@dataclass(frozen=True)
class Answer:
    """What was found on one dataset.

    Attributes:
        heading: what is compared with what.
        sentences: one for each change, the largest significant ones first.
    """

    heading: str
    sentences: list[str]


def answers(found: Effects) -> list[Answer]:
    """Return the answer on each dataset, by the measure of its task that decides; none where that was not compared."""
    main = [comparison for comparison in found.comparisons if comparison.metric in MAIN]
    several = len({comparison.data for comparison in main}) > 1
    found_on = []
    for table in tables(main):
        recipe = recipe_of_table(table)
        sentences = [f"{sentence(it, recipe)}." for it in sorted(table, key=importance)]
        found_on.append(Answer(heading(table, several, recipe), sentences))
    for answer in found_on[-1:]:
        answer.sentences.extend(f"{line}." for line in found.never)
    return found_on


def importance(comparison: Comparison) -> tuple[bool, float]:
    """Return a key that sorts significant changes by size, and keeps the order of the others behind them."""
    return not comparison.is_significant, -abs(comparison.mean) if comparison.is_significant else 0.0


def heading(table: Sequence[Comparison], several: bool, recipe: Recipe | None = None) -> str:
    """Return what the sentences of a dataset compare, and how certain their intervals are."""
    changes = [comparison.changes[0] for comparison in table]
    bases = dict.fromkeys(change.base_name for change in changes)
    data = f" on {table[0].data}" if several else ""
    of = MEANINGS[table[0].metric].removeprefix("test ")
    chosen = f"; {OPTIMISTIC}" if any(comparison.is_optimistic for comparison in table) else ""
    return (
        f"Test {of}{data} compared with {', '.join(bases)}{heading_of(recipe)} "
        f"(intervals: at least {1 - LEVEL:.0%}{chosen}):"
    )


def name_of(comparison: Comparison, recipe: Recipe | None = None) -> str:
    """Return the change of a sentence, and what else both sides have where the heading does not say it."""
    return comparison.changes[0].name + beside(comparison.shown_held, recipe)


def sentence(comparison: Comparison, recipe: Recipe | None = None) -> str:
    """Return the answer for one change, without its full stop.

    Args:
        comparison: of the change.
        recipe: what the heading says that all changes are made to; None: it says nothing.
    """
    name = name_of(comparison, recipe)
    interval, seeds = comparison.family, count_seeds(comparison.seeds)
    if comparison.seeds == 1:
        mean = points(comparison.mean, digits_for(comparison.mean))
        return f"{name}: {mean} points with one seed, which shows nothing yet: more seeds needed{rests_on(comparison)}"
    if interval is None and comparison.p is not None and comparison.is_anytime and not comparison.averaged:
        mean = points(comparison.mean, digits_for(comparison.mean))
        return f"{name}: no clear difference: {mean} points{where(comparison)}; {FEW} ({seeds}){rests_on(comparison)}"
    if interval is None or comparison.averaged:
        return f"{name}: {verdict(comparison)}{format_doubts(comparison)}"
    digits = digits_for(*interval)
    if comparison.is_significant:
        low, high = (plain(end, digits) for end in interval)
        text = f"{points(comparison.mean, digits)} points{where(comparison)} ({low} to {high}; {seeds}"
        text += f"{other_images(comparison, digits)})"
        text += on_average(comparison.parts or comparison.models, digits)
    else:
        low, high = (points(end, digits) for end in interval)
        mean = f"{points(comparison.mean, digits)} points{where(comparison)}"
        text = f"no clear difference: {mean}, between {low} and {high}"
        if comparison.is_vacuous:
            text = f"no clear difference: {mean}; {DISAGREE}"
        elif comparison.higher == comparison.lower == 0:
            text = (
                f"no difference in any pair{where(comparison)}; if there is one, it is between {low} and {high} points"
            )
        elif are_opposed(comparison):
            text = (
                f"opposite effects: {mean}{on_average(comparison.parts, digits)}; the mean is between {low} and {high}"
            )
        text += f" ({seeds}{other_images(comparison, digits)})"
    return f"{name}: {text}{step_cost(comparison)}{rests_on(comparison)}"


def rests_on(comparison: Comparison) -> str:
    """Return what is missing in a comparison, and why the values of tuned settings are uncertain."""
    return missing(comparison) + format_doubts(comparison)


def format_doubts(comparison: Comparison) -> str:
    return f"; {comparison.doubts}" if comparison.doubts else ""


def count_seeds(number: int) -> str:
    return f"{number} {'seed' if number == 1 else 'seeds'}"


def other_images(comparison: Comparison, digits: int) -> str:
    """Return the interval for other test images, which the sentence must not hide; empty where it is no wider."""
    interval: Interval | None = comparison.other_images
    if interval is None:
        return ""
    low, high = (points(end, max(digits, digits_for(*interval))) for end in interval)
    return f"; for other test images {low} to {high}"


def on_average(parts: Sequence[Part], digits: int) -> str:
    """Return the range of the parts' means, as a verdict does; empty without parts."""
    if not parts:
        return ""
    low, high = (pick(parts, key=lambda part: part.mean) for pick in (min, max))
    ends = [points(part.mean, max(digits, digits_for(part.mean))) for part in (low, high)]
    return f" on average, from {ends[0]} ({low.name}) to {ends[1]} ({high.name})"


def step_cost(comparison: Comparison) -> str:
    """Return such as `, 4% slower a step`; empty where it is unknown, may be no difference or rounds to nothing."""
    cost = comparison.cost
    ratio = cost.step_time if cost is not None and cost.is_clear else None
    if ratio is None:
        return ""
    if ratio >= LARGE:
        return f", {ratio:,.0f} times the time a step"
    percent = round(100 * (ratio - 1))
    return f", {abs(percent)}% {'slower' if percent > 0 else 'faster'} a step" if percent else ""


def digits_for(*numbers: float) -> int:
    """Return the digits after the point with which no number other than 0 is shown as 0 points."""
    width = 100 * (max(numbers) - min(numbers))
    digits = 1 if width >= 1 or len(numbers) == 1 else 2
    while digits < MAX_DIGITS and any(number and not round(100 * number, digits) for number in numbers):
        digits += 1
    return digits


def points(number: float, digits: int) -> str:
    """Return a difference in accuracy in percentage points, with its sign."""
    rounded = round(100 * number, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def plain(number: float, digits: int) -> str:
    """Return the end of an interval that lies on one side of 0: a sign only below it."""
    return points(number, digits).removeprefix("+")

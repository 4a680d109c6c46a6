"""What a table of effects could have shown, and how many seeds narrower intervals need, as lines of its caption."""

from collections.abc import Sequence

from sweeper.summary.columns import MODEL
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.effects_tables import on_data, tables
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.planning import POWER, detectable, pooled_spread
from sweeper.sweep.precision import MAX_SEEDS, MOST, PILOT, seeds_for


def plans(found: Effects) -> list[str]:
    """Return the detectable difference of each table, and the seeds that narrower intervals need.

    They are those of each axis, or of any change where the design is balanced, so that all effects have one variance.
    """
    lines = []
    for table in tables(found.comparisons):
        metric = METRICS[table[0].metric]
        form = metric.digits.replace("+", "").format
        tested = [comparison for comparison in table if comparison.p is not None]
        spreads: dict[str, list[Comparison]] = {}
        alike = is_balanced(tested)
        for comparison in tested:
            if comparison.spread and (comparison.diverged is None or comparison.diverged.is_empty):
                spreads.setdefault("" if alike else comparison.changes[0].axis_name, []).append(comparison)
        shown, hopeless, seeds, needed = list[str](), list[str](), set[int](), list[tuple[int, str]]()
        for axis, of_axis in spreads.items():
            spread = pooled_spread([comparison.spread or 0.0 for comparison in of_axis])
            fewest = min(comparison.seeds for comparison in of_axis)
            number = max(PILOT, seeds_for(spread, metric.half_width))
            seeds.add(fewest)
            smallest, bound = detectable(fewest, LEVEL / len(tested)) * spread, of_axis[0].bound
            if bound is not None and smallest > bound:
                hopeless.append(f" of {axis}" if axis else "")
            else:
                shown.append(f"{form(smallest)}{of(axis)}")
            if number > fewest:
                needed.append((number, axis))
        if seeds and not found.method.is_anytime:
            name = f"{metric.title}{on_data(table[0], found.comparisons)}"
            known = [f"{'any' if alike else 'a'} true difference of about {' or '.join(shown)}"] if shown else []
            known += [f"no possible difference{' or'.join(hopeless)}"] if hopeless else []
            parts = [f"{differences} is significant with {POWER:.0%} power" for differences in known]
            lines.append(
                f"{name}: with {' to '.join(map(str, sorted({min(seeds), max(seeds)})))} seeds "
                f"{', and '.join(parts)}{more_seeds(needed, table[0].metric)}"
            )
    return lines


def of(axis: str) -> str:
    """Return an axis in parentheses, nothing where a number holds for all."""
    return f" ({axis})" if axis else ""


def is_balanced(table: Sequence[Comparison]) -> bool:
    """Return whether a table's effects are contrasts of the same runs: those of a screen, or of every on/off change.

    Then each has the variance of the same number of runs. A change of model may also change that variance.
    """
    axes = {comparison.changes[0].axis for comparison in table}
    sizes = {(comparison.seeds, comparison.pairs) for comparison in table}
    if len(axes) < len(table) or len(table) < 2 or len(sizes) > 1 or MODEL in axes:
        return False
    ((seeds, pairs),) = sizes
    return all(comparison.is_screen for comparison in table) or 2 * pairs == seeds * 2 ** len(table)


def more_seeds(needed: Sequence[tuple[int, str]], metric: str) -> str:
    """Return how many seeds, with which axis, a narrow enough interval needs, and what adds them."""
    if not needed:
        return ""
    width, most = METRICS[metric].half_width, max(number for number, _ in needed)
    numbers = [f"{f'{number:,}' if number < MOST else f'over {MOST:,}'}{of(axis)}" for number, axis in needed]
    text = f"; ±{width:g} ({1 - LEVEL:.0%}, each) needs about {' or '.join(numbers)} seeds in total"
    limit = f" sweep.max_seeds={most}" if MAX_SEEDS < most < MOST else ""
    return text + (f": sweep.precision={width:g}{limit} adds them" if metric in MAIN and most < MOST else "")

"""The report's forest plots: a line for each change, with its seeds, its mean and its interval, all on one axis."""

from collections.abc import Sequence
from typing import Any

from sweeper.summary.cost import format_cost
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.effects_lines import format_p
from sweeper.summary.effects_tables import recipe_of_table, tables
from sweeper.summary.effects_text import families, shows_cost
from sweeper.summary.held import Recipe, beside
from sweeper.summary.inference import Comparison
from sweeper.summary.intervals import Interval
from sweeper.summary.parts import Part
from sweeper.summary.report_scale import Scale, around_zero, ticks
from sweeper.summary.sentences import digits_for, points
from sweeper.summary.verdicts import verdict

WIDTH, MARGIN = 400, 10  # of a line's picture
MAX_MODELS = 40  # lines with those of models; more are only in the tables
MOST_DIGITS = 2  # after the point of a percentage point


def kind(comparison: Comparison) -> str:
    """Return `up` or `down` for a change that is significant, else `open`."""
    if not comparison.is_significant or comparison.averaged:
        return "open"
    return "up" if comparison.mean > 0 else "down"


def forest(found: Effects) -> dict[str, Any] | None:
    """Return the plot of effects on test accuracy or mIoU in percentage points, largest first; None without one."""
    main = [comparison for comparison in found.comparisons if comparison.metric in MAIN]
    table = sorted(next(iter(tables(main)), []), key=lambda comparison: -comparison.mean)
    if not table:
        return None
    with_models = len(table) + sum(len(comparison.models) for comparison in table) <= MAX_MODELS
    parts = [part for comparison in table if with_models for part in comparison.models]
    drawn_rows: list[Comparison | Part] = [*table, *parts]
    seeds = [mean for one in drawn_rows for mean in one.means]
    ends = [end for one in drawn_rows for end in one.family or ()]
    scale = Scale(*around_zero([comparison.mean for comparison in table], seeds, ends), MARGIN, WIDTH - MARGIN)
    rows: list[dict[str, Any]] = []
    recipe = recipe_of_table(table)
    for comparison in table:
        rows.append(change_row(comparison, scale, recipe))
        rows += [part_row(part, scale) for part in comparison.models] if with_models else []
    shown = ticks(100 * scale.low, 100 * scale.high)
    return {
        "width": WIDTH,
        "zero": scale.at(0.0),
        "ticks": [(scale.at(tick / 100), f"{tick:+g}" if tick else "0") for tick in shown],
        "rows": rows,
        "clipped": any(row["clipped"] for row in rows),
    }


def change_row(comparison: Comparison, scale: Scale, recipe: Recipe | None = None) -> dict[str, Any]:
    """Return the line of a comparison; the heading says what its change is made to, else no recipe is given."""
    change = comparison.changes[0]
    return {
        "name": change.name,
        "baseline": f"{change.base_name}{beside(comparison.shown_held, recipe)}",
        "is_part": False,
        "kind": kind(comparison),
        "seeds": comparison.seeds,
        "p": short_p(comparison.corrected),
        "cost": format_cost(comparison.cost),
        **drawn(comparison.mean, comparison.means, comparison.family, scale),
    }


def short_p(p: float | None) -> str:
    """Return a p to two digits; empty where there is none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def part_row(part: Part, scale: Scale) -> dict[str, Any]:
    """Return the line of one model below its comparison."""
    return {"name": part.name, "is_part": True, "kind": "open", **drawn(part.mean, part.means, part.family, scale)}


def drawn(mean: float, means: Sequence[float], interval: Interval | None, scale: Scale) -> dict[str, Any]:
    """Return mean and interval as text and as positions; those of an interval are None where there is none."""
    digits = min(digits_for(mean) if interval is None else digits_for(*interval), MOST_DIGITS)
    low, high = interval or (mean, mean)
    inside = scale.is_inside(mean)
    return {
        "mean": points(mean, digits),
        "interval": "" if interval is None else f"{points(low, digits)} to {points(high, digits)}",
        "middle": scale.at(mean) if inside else None,
        "ends": None if interval is None else (scale.at(low), scale.at(high)),
        "beyond": (low < scale.low or mean < scale.low, high > scale.high or mean > scale.high),
        "clipped": not scale.is_inside(low) or not scale.is_inside(high),
        "edges": (scale.at(scale.low), scale.at(scale.high)),
        "dots": [scale.at(value) for value in means if scale.is_inside(value)],
    }


def effect_tables(found: Effects) -> list[dict[str, Any]]:
    """Return a table of numbers for each metric, those of interactions last."""
    found_tables = []
    for title, comparisons in families(found):
        recipe = recipe_of_table(comparisons)
        rows: list[dict[str, Any]] = []
        for comparison in comparisons:
            rows += [numbers_row(comparison, recipe), *(model_row(comparison, model) for model in comparison.models)]
        crossed = len(comparisons[0].changes) > 1
        reached = any(comparison.reached is not None for comparison in comparisons)
        columns = {"crossed": crossed, "reached": reached and not crossed, "cost": shows_cost(comparisons)}
        models = any(comparison.models for comparison in comparisons)
        found_tables.append({"title": title, "models": models, **columns, "rows": rows})
    return found_tables


def numbers_row(comparison: Comparison, recipe: Recipe | None) -> dict[str, Any]:
    """Return a comparison as text."""
    changes = [(change.name, change.base_text) for change in comparison.changes]
    (change, baseline), *others = changes
    return {
        "changes": [(change, baseline + beside(comparison.shown_held, recipe)), *others],
        "model": None,
        "models": f"{comparison.models_up} of {len(comparison.models)} up" if comparison.models else "-",
        "seeds": comparison.seeds,
        "reached": "-" if comparison.reached is None else comparison.reached.text,
        "p": format_p(comparison.corrected),
        "cost": format_cost(comparison.cost),
        "result": verdict(comparison),
        **formatted(comparison.metric, comparison.mean, comparison.family),
    }


def model_row(comparison: Comparison, model: Part) -> dict[str, Any]:
    """Return the numbers of one model below its comparison."""
    return {"changes": [], "model": model.name, **formatted(comparison.metric, model.mean, model.family)}


def formatted(metric: str, mean: float, interval: Interval | None) -> dict[str, str]:
    """Return mean and interval in the units of the metric."""
    form = METRICS[metric].digits.format
    return {"mean": form(mean), "interval": "-" if interval is None else " to ".join(map(form, interval))}

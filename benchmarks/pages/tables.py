"""Comparisons as Markdown tables."""

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks.pages.tricks import Trick, trick_of
from sweeper.summary.cost import format_cost
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effects_lines import format_interval, format_p
from sweeper.summary.effects_tables import name_change
from sweeper.summary.effects_text import shows_cost
from sweeper.summary.export import markdown_cell
from sweeper.summary.inference import Comparison
from sweeper.summary.verdicts import verdict

LONG = 60  # characters of a setting that is not shown in full


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    """Return a Markdown table, a row for each comparison."""
    rows = []
    for one in comparisons:
        change = one.changes[0]
        row = {"change": name_change(one), "baseline": change.base_text, "pairs": str(one.pairs)}
        rows.append(row | numbers_of(one))
    return markdown(pd.DataFrame(rows))


def tricks_table(comparisons: Sequence[Comparison], tricks: Mapping[str, Trick]) -> str:
    """Return a Markdown table, a row for each trick: what was measured beside what is claimed elsewhere.

    Args:
        comparisons: the changes.
        tricks: by change.
    """
    rows, is_timed = [], shows_cost(comparisons)
    for one in comparisons:
        trick, change = trick_of(one, tricks), one.changes[0]
        setting = f"`{name_change(one)}`" if len(name_change(one)) < LONG else f"`{change.axis}`"
        row = {"trick": trick.name, "setting": setting, "instead of": f"`{change.base_text}`"}
        row |= numbers_of(one) | ({"time of a step": format_cost(one.cost)} if is_timed else {})
        rows.append(row | {"claimed elsewhere": trick.claim})
    return markdown(pd.DataFrame(rows))


def numbers_of(comparison: Comparison) -> dict[str, str]:
    """Return the cells of a comparison's statistics."""
    digits = METRICS[comparison.metric].digits
    return {
        "seeds": str(comparison.seeds),
        "mean": digits.format(comparison.mean),
        "interval": format_interval(comparison.family, digits),
        "p (Holm)": format_p(comparison.corrected),
        "result": verdict(comparison),
    }


def markdown(cells: pd.DataFrame) -> str:
    """Return cells of text as a Markdown table."""
    texts = cells.map(str).map(markdown_cell)
    lines = [[*map(markdown_cell, map(str, texts.columns))], ["---"] * len(texts.columns), *texts.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""The report's tables: results to sort and filter, effects with their intervals drawn."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.summary.axes import format_override
from sweeper.summary.columns import RESULTS, is_missing, is_number, text_cells
from sweeper.summary.effects import Effects
from sweeper.summary.effects_text import format_p
from sweeper.summary.inference import LEVEL, METRICS, Comparison, Metric
from sweeper.summary.report_question import distinct

MAX_SPAN = 4  # times the largest mean difference: an interval of two pairs would shrink all others to a dot


@dataclass
class Cell:
    """A cell of the table; it is sorted by `number`, or by its text where that is None."""

    text: str
    number: float | None
    missing: bool


@dataclass
class Column:
    """A column of the table.

    Attributes:
        index: from 0.
        kind: `number`, `identifier` or empty, for the style.
        choices: the values that its filter offers; empty where it has no filter.
    """

    name: str
    index: int
    kind: str
    choices: list[str]


def columns_of(table: pd.DataFrame) -> list[Column]:
    """Return the columns; each setting and the state have a filter."""
    columns = []
    for index, name in enumerate(map(str, text_cells(table).columns)):
        known = [value for value in table[name].tolist() if not is_missing(value)]
        numeric = all(number(value) is not None and not isinstance(value, bool) for value in known)
        kind = "identifier" if name == "run_id" else "number" if is_number(name) or (known and numeric) else ""
        filtered = name == "state" or name not in (*RESULTS, "run_id", "runs")
        columns.append(Column(name, index, kind, distinct(name, table[name]) if filtered else []))
    return columns


def rows_of(table: pd.DataFrame) -> list[list[Cell]]:
    """Return the rows as they are shown, with the values that they are sorted by."""
    columns = [
        [Cell(text, number(value), is_missing(value)) for text, value in zip(texts, table[name].tolist(), strict=True)]
        for name, texts in text_cells(table).items()
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def effect_tables(found: Effects) -> list[dict[str, Any]]:
    """Return a table for each metric, those of interactions last; intervals are drawn from -100 to 100."""
    tables = []
    for crossed, family in enumerate((found.comparisons, found.interactions)):
        for name, metric in METRICS.items():
            comparisons = [comparison for comparison in family if comparison.metric == name]
            means = [abs(comparison.mean) for comparison in comparisons if comparison.mean is not None]
            ends = [abs(end) for comparison in comparisons for end in comparison.interval or ()]
            span = min(max(means + ends, default=0.0), MAX_SPAN * max(means, default=0.0)) or 1.0
            title = metric.title + (": interactions" if crossed else "")
            rows = [effect_row(comparison, metric, span) for comparison in comparisons]
            censored = any(comparison.censored for comparison in comparisons)
            tables += [{"title": title, "crossed": crossed, "censored": censored, "rows": rows}] if rows else []
    return tables


def effect_row(comparison: Comparison, metric: Metric, span: float) -> dict[str, Any]:
    """Return a comparison as text, and the positions of its interval and mean; `span` is drawn at 100."""
    mean, interval = comparison.mean, comparison.interval
    known = (comparison.higher, comparison.lower, comparison.tied)

    def position(value: float) -> str:
        return f"{100 * value / span:.1f}"

    format_difference = metric.digits.format
    return {
        "changes": [
            (f"{change.axis}={format_override(change.value)}", format_override(change.baseline))
            for change in comparison.changes
        ],
        "pairs": comparison.pairs,
        "seeds": comparison.seeds,
        "mean": "-" if mean is None else format_difference(mean),
        "interval": "-" if interval is None else " to ".join(map(format_difference, interval)),
        "counts": (*known, comparison.pairs - sum(known), comparison.censored),
        "p": format_p(comparison.corrected),
        "result": comparison.words,
        "significant": comparison.corrected is not None and comparison.corrected < LEVEL,
        "middle": None if mean is None else position(mean),
        "ends": None if interval is None else tuple(map(position, interval)),
    }

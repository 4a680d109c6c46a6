"""The report's tables: results to sort and filter, effects with their intervals drawn."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.summary.columns import RESULTS, format_override, is_missing, is_number, text_cells
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.effects import Effects
from sweeper.summary.effects_lines import format_p
from sweeper.summary.effects_text import families, format_cost, shows_cost
from sweeper.summary.inference import Comparison
from sweeper.summary.intervals import Interval
from sweeper.summary.parts import Part
from sweeper.summary.report_question import distinct
from sweeper.summary.verdicts import verdict

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
    """Return a table for each metric and dataset, those of interactions last; intervals are drawn from -100 to 100."""
    tables = []
    for title, comparisons in families(found):
        means = [abs(comparison.mean) for comparison in comparisons]
        means += [abs(model.mean) for comparison in comparisons for model in comparison.models]
        ends = [abs(end) for comparison in comparisons for end in comparison.family or ()]
        span = min(max(means + ends), MAX_SPAN * max(means)) or 1.0
        rows: list[dict[str, Any]] = []
        for comparison in comparisons:
            rows += [effect_row(comparison, span), *(model_row(comparison, model, span) for model in comparison.models)]
        crossed = len(comparisons[0].changes) > 1
        reached = any(comparison.reached is not None for comparison in comparisons)
        columns = {"crossed": crossed, "reached": reached and not crossed, "cost": shows_cost(comparisons)}
        tables.append({"title": title, **columns, "rows": rows})
    return tables


def effect_row(comparison: Comparison, span: float) -> dict[str, Any]:
    """Return a comparison as text, and the positions of its interval and mean; `span` is drawn at 100."""
    return {
        "changes": [
            (f"{change.axis}={format_override(change.value)}", format_override(change.baseline))
            for change in comparison.changes
        ],
        "model": None,
        "models": f"{comparison.models_up} of {len(comparison.models)} up" if comparison.models else "-",
        "seeds": comparison.seeds,
        "reached": "-" if comparison.reached is None else comparison.reached.text,
        "p": format_p(comparison.corrected),
        "cost": format_cost(comparison),
        "result": verdict(comparison),
        "significant": comparison.is_significant,
        **drawn(comparison.metric, comparison.mean, comparison.family, span),
    }


def model_row(comparison: Comparison, model: Part, span: float) -> dict[str, Any]:
    """Return the line of one model below its comparison."""
    return {
        "changes": [],
        "model": model.name,
        "significant": False,
        **drawn(comparison.metric, model.mean, model.family, span),
    }


def drawn(metric: str, mean: float, interval: Interval | None, span: float) -> dict[str, Any]:
    """Return mean and interval as text and as positions, which are None where there is no interval."""
    form = METRICS[metric].digits.format
    return {
        "mean": form(mean),
        "interval": "-" if interval is None else " to ".join(map(form, interval)),
        "middle": f"{100 * mean / span:.1f}",
        "ends": None if interval is None else tuple(f"{100 * end / span:.1f}" for end in interval),
    }

"""Comparisons as tables: one for each metric and dataset, and what their changes are called."""

from collections.abc import Iterable, Sequence

from sweeper.summary.held import Recipe, recipe_of
from sweeper.summary.inference import Comparison


def tables(comparisons: Sequence[Comparison]) -> Iterable[list[Comparison]]:
    """Yield the comparisons of each metric and dataset."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        found.setdefault((comparison.metric, comparison.data), []).append(comparison)
    yield from found.values()


def recipe_of_table(table: Sequence[Comparison]) -> Recipe | None:
    """Return what all comparisons of a table are changes to, see sweeper.summary.held."""
    return recipe_of([(comparison.changes, comparison.shown_held) for comparison in table])


def name_change(comparison: Comparison) -> str:
    return " x ".join(change.name for change in comparison.changes)


def on_data(comparison: Comparison, every: Sequence[Comparison]) -> str:
    """Return ` on DATASET` where there are several."""
    return f" on {comparison.data}" if len({other.data for other in every}) > 1 else ""

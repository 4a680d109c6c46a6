"""Markdown tables for the benchmarks."""

from collections.abc import Iterable, Sequence
from typing import Any


def print_table(title: str, header: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """Print a title and the table below it.

    Args:
        title: the title, a phrase without a full stop.
        header: names of the columns.
        lines: cells of each row; a float is shown with three digits.
    """
    print(f"{title}:\n")
    shown = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines]
    for cells in (header, ["---"] * len(header), *shown):
        print(f"| {' | '.join(cells)} |")
    print()

"""Markdown for the benchmarks and the pages that they write."""

import textwrap
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


def wrapped(text: str) -> str:
    """Return a paragraph, or an item of a list, in lines of at most 120 characters."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)

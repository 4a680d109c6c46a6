"""Runs beside a screen, which are no part of its design, such as a baseline run or another value of a trick.

With them, the columns of a screen are not orthogonal, or a trick has three values, so that no effect is estimated.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.summary.columns import format_override
from sweeper.sweep.designs import FULL_UP_TO, screening

RARE = 4  # a screen has each value in half of its runs; one in fewer than a quarter is none of its values
MOST_REMOVED = 3  # combinations that are looked for one by one
MAX_NAMED = 5  # runs in a note


def runs_outside(settings: pd.DataFrame, axes: Sequence[str]) -> dict[int, str]:
    """Return the rows that are no part of the screen that the others form, with the rare values that tell them apart.

    Args:
        settings: of the runs of one dataset that ended.
        axes: that vary.

    Returns:
        None of them where the runs are no screen of five tricks or more, or nothing else.
    """
    kept, rare = drop_rare(settings, axes)
    varying = [axis for axis in axes if kept[axis].nunique(dropna=False) > 1]
    values = [list(dict.fromkeys(kept[axis])) for axis in varying]
    if len(varying) <= FULL_UP_TO or any(len(found) > 2 for found in values):
        return {}
    signs = np.column_stack(
        [
            np.where([cell == found[0] for cell in kept[axis]], 1, -1)
            for axis, found in zip(varying, values, strict=True)
        ]
    )
    design, numbers = np.unique(signs, axis=0, return_inverse=True)
    for inside in candidates(design):
        if is_screen(design[inside]):
            others = [int(row) for row, number in zip(kept.index, numbers, strict=True) if not inside[number]]
            return rare | dict.fromkeys(others, "")
    return {}


def drop_rare(settings: pd.DataFrame, axes: Sequence[str]) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the runs without rare values of the axes, and those with one, with the value."""
    rare: dict[int, str] = {}
    while True:
        found: dict[int, str] = {}
        for axis in axes:
            cells = settings[axis].tolist()
            counts = Counter(cells)
            for row, cell in zip(settings.index, cells, strict=True):
                if counts[cell] * RARE < len(cells):
                    found[int(row)] = f"{axis}={format_override(cell)}"
        if not found:
            return settings, rare
        rare |= found
        settings = settings.drop(index=list(found))


def candidates(design: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Yield masks of the combinations that may be a screen, the largest part first.

    A folded design has each combination with all signs turned as well; the half of five tricks has all those of one
    product. Otherwise up to MOST_REMOVED combinations are left out, whose sum is then that of all.

    Args:
        design: (combinations, axes), +1 and -1.
    """
    number = len(design)
    yield np.ones(number, bool)
    rows = {tuple(row) for row in design.tolist()}
    yield np.array([tuple(-sign for sign in row) in rows for row in design.tolist()])
    product = design.prod(axis=1)
    yield from (product == sign for sign in (1, -1) if 3 * (product == sign).sum() >= 2 * number)
    total = design.sum(axis=0)
    for removed in range(1, MOST_REMOVED + 1):
        for few in combinations(range(number), removed):
            if np.array_equal(design[list(few)].sum(axis=0), total):
                yield ~np.isin(np.arange(number), few)


def is_screen(design: NDArray[np.int64]) -> bool:
    """Return whether combinations are a whole screen: balanced, and orthogonal but for axes that change together."""
    number = len(design)
    gram = np.abs(design.T @ design)
    if not number or design.sum(axis=0).any() or not np.isin(gram, (0, number)).all():
        return False
    tricks = len(np.unique(gram, axis=0))
    return tricks > FULL_UP_TO and number == len(screening(tricks))


def without_outside(
    settings: pd.DataFrame, run_ids: Sequence[Any], axes: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the settings without the runs beside screens, and a note on those of each dataset.

    Args:
        settings: of all runs that ended.
        run_ids: of these, by row.
        axes: that vary.
    """
    groups = [part for _, part in settings.groupby("data", sort=False)] if "data" in settings else [settings]
    found = [runs_outside(part, axes) for part in groups]
    notes = []
    for outside in filter(None, found):
        names = [f"{run_ids[row]}{f' ({value})' if value else ''}" for row, value in sorted(outside.items())]
        rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        what = "1 run that is" if len(names) == 1 else f"{len(names)} runs that are"
        notes.append(f"left out {what} no part of the screen: {', '.join(names[:MAX_NAMED])}{rest}")
    return settings.drop(index=[row for outside in found for row in outside]), notes

"""Complete blocks: the seeds and the cells (models, ...) that a comparison uses, so that every seed has every cell.

If seeds have different models, their means over models estimate different quantities, but the t-test over seeds needs
means of a single quantity (Ibragimov and Mueller, 2010).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.summary.columns import format_override
from sweeper.summary.pairing import Difference
from sweeper.sweep.baseline import sort_key

MAX_NAMED = 5  # seeds or cells in a note
Cell = tuple[Any, ...]


@dataclass(frozen=True)
class Blocks:
    """The seeds and cells that a comparison uses.

    Attributes:
        differences: of the kept cells and seeds, in the order of the seeds.
        seeds, cells: which are kept, in order.
        left_out: those that are not, and what they lack, such as `seeds 2, 3 (lack cnn, mlp)`.
    """

    differences: Sequence[Difference]
    seeds: Sequence[Any]
    cells: Sequence[Cell]
    left_out: Sequence[str] = ()


def complete_blocks(differences: Sequence[Difference], names: Sequence[str]) -> Blocks:
    """Leave out the seeds and the cells that lack most of the others, until every seed has every cell.

    At least two seeds are kept if there are two, since one allows no test.

    Args:
        differences: of one comparison.
        names: of the settings in a cell.
    """
    seeds = sorted({pair.seed for pair in differences}, key=sort_key)
    cells = sorted({pair.cell for pair in differences}, key=lambda cell: [sort_key(value) for value in cell])
    ordered = sorted(differences, key=lambda pair: sort_key(pair.seed))
    rows, columns = ({key: index for index, key in enumerate(keys)} for keys in (cells, seeds))
    present = np.zeros((len(cells), len(seeds)), bool)
    for pair in differences:
        present[rows[pair.cell], columns[pair.seed]] = True
    if present.all():
        return Blocks(ordered, seeds, cells)
    kept_cells, kept_seeds = choose_blocks(present)
    labels = name_cells(cells, names)
    used: list[int] = np.flatnonzero(kept_cells).tolist()
    lacking: dict[tuple[str, ...], list[str]] = {}
    for index in np.flatnonzero(~kept_seeds):
        absent = [cell for cell in used if not present[cell, index]]
        lacks = tuple(name_absent(absent, used, cells, names, labels))
        lacking.setdefault(lacks, []).append(format_override(seeds[index]))
    left_out = [
        f"{'seed' if len(found) == 1 else 'seeds'} {shorten(found)} ({'lacks' if len(found) == 1 else 'lack'} "
        f"{shorten(lacks)})"
        for lacks, found in lacking.items()
    ]
    for index in np.flatnonzero(~kept_cells):
        without = [format_override(seeds[seed]) for seed in np.flatnonzero(kept_seeds & ~present[index])]
        left_out.append(f"{labels[index]} (lacks {'seed' if len(without) == 1 else 'seeds'} {shorten(without)})")
    kept = [pair for pair in ordered if kept_cells[rows[pair.cell]] and kept_seeds[columns[pair.seed]]]
    return Blocks(
        kept,
        [seed for seed, is_kept in zip(seeds, kept_seeds, strict=True) if is_kept],
        [cell for cell, is_kept in zip(cells, kept_cells, strict=True) if is_kept],
        left_out,
    )


def unpaired_seeds(sides: Mapping[Any, Collection[str]], both: Collection[str]) -> list[str]:
    """Name the seeds that have one side of a comparison and not the other, such as `seeds 2, 3 (lack norm=batch)`.

    Args:
        sides: for each seed without a pair, the names of the sides of which it has runs.
        both: names of both sides.
    """
    lacking: dict[str, list[str]] = {}
    for seed in sorted(sides, key=sort_key):
        missing = [side for side in both if side not in sides[seed]]
        lacking.setdefault(missing[0] if missing else "", []).append(format_override(seed))
    lines = []
    for side, seeds in lacking.items():
        one = len(seeds) == 1
        why = f"{'lacks' if one else 'lack'} {side}" if side else "runs of different code or environment"
        lines.append(f"{'seed' if one else 'seeds'} {shorten(seeds)} ({why})")
    return lines


def choose_blocks(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the rows (cells) and the columns (seeds) between which nothing is missing.

    The row or column that lacks the largest fraction of the others is left out first; in a tie, a column before a row,
    and the last before the first.
    """
    rows, columns = (np.ones(number, bool) for number in present.shape)
    while not (kept := present[np.ix_(rows, columns)]).all():
        row_lacks, column_lacks = ((~kept).mean(axis=axis) for axis in (1, 0))
        may_drop_column = columns.sum() > 2 or rows.sum() == 1
        if may_drop_column and column_lacks.max() >= row_lacks.max():
            drop_last(columns, column_lacks)
        else:
            drop_last(rows, row_lacks)
    columns |= present[rows].all(axis=0)  # what only lacked something that was left out later
    rows |= present[:, columns].all(axis=1)
    return rows, columns


def drop_last(mask: np.ndarray, lacks: np.ndarray) -> None:
    """Unset the last of the set elements that lack most."""
    mask[np.flatnonzero(mask)[np.flatnonzero(lacks == lacks.max())[-1]]] = False


def name_cells(cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
    """Name each cell by the settings in which cells differ, a model by its name only: `cnn batch_size=64`."""
    varying = [index for index in range(len(names)) if len({cell[index] for cell in cells}) > 1]
    return [" ".join(name_value(names[index], cell[index]) for index in varying) or "results" for cell in cells]


def name_absent(
    absent: Sequence[int], kept: Sequence[int], cells: Sequence[Cell], names: Sequence[str], labels: Sequence[str]
) -> list[str]:
    """Name the cells that a seed lacks, by a single setting if they are exactly the cells with some of its values.

    Args:
        absent, kept: indices of the cells that the seed lacks and of the cells that the comparison uses.
        cells: all cells.
        names: of the settings in a cell.
        labels: of the cells.
    """
    for index, name in enumerate(names):
        values = {cells[cell][index] for cell in absent}
        with_values = [cell for cell in kept if cells[cell][index] in values]
        if len(with_values) == len(absent) < len(kept):
            return [name_value(name, value) for value in sorted(values, key=sort_key)]
    return [labels[cell] for cell in absent]


def name_value(name: str, value: Any) -> str:
    return format_override(value) if name == "model" else f"{name}={format_override(value)}"


def shorten(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + rest


def means_by(differences: Sequence[Difference], index: int) -> Mapping[Any, list[float]]:
    """Return the seeds' means, in order, of the pairs with each value of a setting in the cell.

    Args:
        differences: of complete blocks, in the order of their seeds.
        index: of the setting in the cell.
    """
    found: dict[Any, dict[Any, list[float]]] = {}
    for pair in differences:
        found.setdefault(pair.cell[index], {}).setdefault(pair.seed, []).append(pair.value)
    return {
        value: [sum(pairs) / len(pairs) for pairs in found[value].values()] for value in sorted(found, key=sort_key)
    }

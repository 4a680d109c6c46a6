"""Parts of a comparison: the pairs of each model, or of each value of another setting."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.summary.blocks import Blocks, means_by
from sweeper.summary.columns import MODEL, format_override
from sweeper.summary.intervals import Interval, mean_of, spread_of
from sweeper.summary.pairing import DECIMALS


@dataclass(frozen=True)
class Part:
    """The pairs of a comparison that share a value of another setting, such as a model.

    Attributes:
        name: the value.
        means: of its pairs for each seed, in the order of the seeds.
        spread: standard deviation of these.
        family: interval of their mean that holds simultaneously for all such parts of the table (Bonferroni).
    """

    name: str
    means: tuple[float, ...]
    spread: float | None
    family: Interval | None = None

    @property
    def mean(self) -> float:
        return mean_of(self.means)


def parts_of(name: str, index: int, blocks: Blocks, floor: float | None) -> tuple[Part, ...]:
    """Return the parts of a comparison by the values of a setting, a model named by its value alone.

    Args:
        name: of the setting.
        index: of the setting in a cell.
        blocks: of the comparison.
        floor: the standard deviation that rounding alone gives a difference.
    """
    prefix, cells = "" if name == MODEL else f"{name}=", Counter(cell[index] for cell in blocks.cells)
    parts = []
    for value, unrounded in means_by(blocks.differences, index).items():
        means = tuple(round(mean, DECIMALS) for mean in unrounded)
        least = None if floor is None else floor / math.sqrt(cells[value])
        parts.append(Part(f"{prefix}{format_override(value)}", means, spread_of(means, least)))
    return tuple(parts)


def opposed(intervals: Iterable[Interval | None]) -> bool:
    """Return whether some intervals are above 0 and others below."""
    known = [interval for interval in intervals if interval is not None]
    return any(low > 0 for low, _ in known) and any(high < 0 for _, high in known)


def agree(means: Sequence[float]) -> bool:
    """Return whether all means have the same sign."""
    return all(mean > 0 for mean in means) or all(mean < 0 for mean in means)

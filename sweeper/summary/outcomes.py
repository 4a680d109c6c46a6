"""How the runs of a comparison ended: diverged, failed, stopped by the epoch limit, reached the target."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sweeper.summary.effect_measures import Runs, reached_epoch
from sweeper.summary.pairing import Signed, Stratum


@dataclass(frozen=True)
class Tally:
    """How many runs of the value and of the baseline ended in a certain way.

    Attributes:
        value, baseline: runs that did.
        of_value, of_baseline: runs that were counted.
    """

    value: int
    of_value: int
    baseline: int
    of_baseline: int

    @property
    def text(self) -> str:
        return f"{self.value} of {self.of_value} vs. {self.baseline} of {self.of_baseline}"

    @property
    def is_empty(self) -> bool:
        return self.value == self.baseline == 0


def count_among(contrasted: Iterable[tuple[Stratum, Signed]], counted: Collection[int]) -> Tally:
    """Count the runs that ended in a certain way, over the pairs (or quadruples) all of whose runs have ended.

    The comparison itself has only the pairs whose runs all finished, which are the survivors.

    Args:
        contrasted: the runs that finished, diverged or failed, see sweeper.summary.pairing.contrasts.
        counted: rows of the runs that ended in this way.
    """
    counts = [0, 0, 0, 0]
    for _, signed in contrasted:
        if all(rows for rows, _ in signed):
            for rows, sign in signed:
                side = 0 if sign > 0 else 2
                counts[side] += sum(row in counted for row in rows)
                counts[side + 1] += len(rows)
    return Tally(*counts)


def count_limited(runs: Runs, rows: Sequence[int], base_rows: Sequence[int]) -> Tally:
    """Count the runs with early stopping that were ended by the epoch limit instead."""
    sides = [sum(is_limited(runs, row) for row in side) for side in (rows, base_rows)]
    return Tally(sides[0], len(rows), sides[1], len(base_rows))


def is_limited(runs: Runs, row: int) -> bool:
    patience, epochs = runs.number("patience", row), runs.number("epochs", row)
    done, best = runs.number("epochs_done", row), runs.number("best_epoch", row)
    if patience is None or epochs is None or done is None or best is None:
        return False
    return done >= epochs and done - best < patience


def count_reached(runs: Runs, rows: Sequence[int], base_rows: Sequence[int]) -> Tally:
    """Count the runs that reached the target."""

    def is_reached(row: int) -> bool:
        reached = reached_epoch(runs.column("epochs_to_target")[row])
        return reached is not None and reached[1]

    sides = [sum(map(is_reached, side)) for side in (rows, base_rows)]
    return Tally(sides[0], len(rows), sides[1], len(base_rows))

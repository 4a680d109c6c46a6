"""The measures by which effects compare runs; each is an entry of METRICS."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import pandas as pd

from sweeper.summary.columns import OF_CLASSES, is_missing, scores
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.other_images import Correctness
from sweeper.summary.run_row import LARGEST


class Runs:
    """The results of the compared runs, by row; each column is read once.

    Args:
        frame: a row for each run, labeled from 0.
        options: how learning curves are read.
        correctness: which test images they got right; None: not read.
    """

    def __init__(
        self, frame: pd.DataFrame, options: ConvergenceOptions, correctness: Correctness | None = None
    ) -> None:
        self.frame = frame
        self.options = options
        self.correctness = correctness
        self.columns: dict[str, list[Any]] = {}
        self.numbers: dict[str, list[float | None]] = {}

    def column(self, name: str) -> list[Any]:
        """Return a column's values, None where missing."""
        if name not in self.columns:
            values = self.frame[name].tolist() if name in self.frame else [None] * len(self.frame)
            self.columns[name] = [None if is_missing(value) else value for value in values]
        return self.columns[name]

    def number(self, name: str, row: int) -> float | None:
        if name not in self.numbers:
            self.numbers[name] = [as_number(value) for value in self.column(name)]
        return self.numbers[name][row]

    @cached_property
    def is_mixed(self) -> bool:
        """Whether the runs are of several tasks."""
        return len(scores(self.frame)) > 1

    @cached_property
    def best_so_far(self) -> list[list[float] | None]:
        """Each run's best validation accuracy up to each epoch, from the first; None without a learning curve."""
        return [best_so_far(curve) for curve in self.column("val_curve")]

    @cached_property
    def summed(self) -> list[list[float] | None]:
        """The sums of `best_so_far` up to each epoch."""
        return [None if curve is None else [*accumulate(curve)] for curve in self.best_so_far]

    def budget(self, rows: Sequence[int], otherwise: Sequence[float]) -> float:
        """Return the epochs that all of the runs were allowed: the lowest `epochs`, or a number where there is none."""
        limits = (self.number("epochs", row) for row in rows)
        return min(limit or number for limit, number in zip(limits, otherwise, strict=True))


def best_so_far(curve: Any) -> list[float] | None:
    """Return the highest number up to each of a text of numbers; None where it is none."""
    try:
        return [*accumulate(map(float, curve.split()), max)] or None
    except (AttributeError, ValueError):
        return None


@dataclass(frozen=True)
class Metric:
    """A result by which runs are compared.

    Attributes:
        title: of its table.
        higher, lower: the effect of a value that has more of it, or less, than the baseline.
        more, less: the same of an interaction.
        digits: format of a mean difference.
        half_width: of an interval that is narrow enough, for which the caption estimates the number of seeds.
        is_known: whether a run (its row) can be compared.
        values: the measure of each run of a pair or a quadruple, which may depend on the others.
        resolution: the smallest step between two values of a run; None where it is not known.
        is_exploratory: whether its table only suggests what to test; test_acc decides.
        meaning: a sentence below the tables with {percent} and {target} of the options; empty where the title says all.
        is_share: whether a value is between 0 and 1, so that no difference is beyond -1 to 1.
    """

    title: str
    higher: str
    lower: str
    more: str
    less: str
    digits: str
    half_width: float
    is_known: Callable[[Runs, int], bool]
    values: Callable[[Runs, Sequence[int]], Sequence[float]]
    resolution: Callable[[Runs, int], float | None]
    is_exploratory: bool = True
    meaning: str = ""
    is_share: bool = False


def column_metric(
    column: str,
    words: tuple[str, str, str, str],
    *,
    digits: str,
    half_width: float,
    resolution: Callable[[Runs, int], float | None],
    is_exploratory: bool = True,
    meaning: str = "",
    is_share: bool = True,
) -> Metric:
    """Return the measure that is a number in a column of the frame of runs."""

    def is_known(runs: Runs, row: int) -> bool:
        return runs.number(column, row) is not None

    def values(runs: Runs, rows: Sequence[int]) -> list[float]:
        cells = runs.column(column)
        return [float(cells[row]) for row in rows]

    return Metric(column, *words, digits, half_width, is_known, values, resolution, is_exploratory, meaning, is_share)


def as_number(value: Any) -> float | None:
    """Return a result as a number; None where it is none, or too large to be one."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < LARGEST else None


def one_image(column: str) -> Callable[[Runs, int], float | None]:
    """Return the resolution of an accuracy over the images that a column counts: that of one image."""

    def resolution(runs: Runs, row: int) -> float | None:
        images = runs.number(column, row)
        return 1 / images if images else None

    return resolution


def one_epoch(_runs: Runs, _row: int) -> float:
    return 1.0


def has_curve(score: str) -> Callable[[Runs, int], bool]:
    """Return whether a run has a learning curve of this metric, see sweeper.runs.scores."""

    def is_known(runs: Runs, row: int) -> bool:
        return runs.best_so_far[row] is not None and has_score(runs, row, score)

    return is_known


def has_score(runs: Runs, row: int, score: str) -> bool:
    """Return whether a run is ranked by this metric; all runs of a frame are that has one."""
    return not runs.is_mixed or runs.number(f"test_{score}", row) is not None


def curves_of(runs: Runs, rows: Sequence[int]) -> list[list[float]]:
    return [curve for row in rows if (curve := runs.best_so_far[row]) is not None]


def epochs_to_level(runs: Runs, rows: Sequence[int]) -> list[int]:
    """Return the first epoch of each run at a validation accuracy that all of them reach.

    The level is `fraction` of the lowest of their best validation accuracies. With a level relative to its own
    best, a run would count as slower because it keeps improving.
    """
    curves = curves_of(runs, rows)
    level = runs.options.fraction * min(curve[-1] for curve in curves)
    return [bisect_left(curve, level) + 1 for curve in curves]


def mean_val_acc(runs: Runs, rows: Sequence[int]) -> list[float]:
    """Return the mean over the epochs that all runs were allowed of the best validation accuracy so far.

    A run that stopped early keeps its best until then.
    """
    curves = curves_of(runs, rows)
    budget = runs.budget(rows, [len(curve) for curve in curves])
    sums = [summed for row in rows if (summed := runs.summed[row]) is not None]
    done = [min(int(budget), len(curve)) for curve in curves]
    return [
        (summed[epochs - 1] + (budget - epochs) * curve[epochs - 1]) / budget
        for curve, summed, epochs in zip(curves, sums, done, strict=True)
    ]


def reached_epoch(value: Any) -> tuple[int, bool] | None:
    """Return the epoch in which a run reached the target, or how many it completed without; None where unknown."""
    if isinstance(value, str):
        missed = re.fullmatch(r">(\d{1,9})", value)
        return (int(missed[1]), False) if missed else None
    number = as_number(value)
    return None if number is None or math.isnan(number) else (int(number), True)


def has_target(score: str) -> Callable[[Runs, int], bool]:
    """Return whether it is known when a run reached the target of this metric."""

    def is_known(runs: Runs, row: int) -> bool:
        return reached_epoch(runs.column("epochs_to_target")[row]) is not None and has_score(runs, row, score)

    return is_known


def epochs_to_target(runs: Runs, rows: Sequence[int]) -> list[float]:
    """Return the first epoch of each run at the target, one more than the epochs allowed where there is none.

    This is the restricted mean time of survival analysis (Royston and Parmar, 2013). A run that stopped early is known
    not to reach the target by its own rules, so nothing is censored.
    """
    reached = [epoch for row in rows if (epoch := reached_epoch(runs.column("epochs_to_target")[row])) is not None]
    budget = runs.budget(rows, [math.inf if is_reached else epoch for epoch, is_reached in reached])
    return [min(epoch, budget + 1) if is_reached else budget + 1 for epoch, is_reached in reached]


ACCURACY = ("helps", "hurts", "effect better", "effect worse")
EPOCHS = ("slower", "faster", "effect slower", "effect faster")


def not_known(_runs: Runs, _row: int) -> None:
    return None


def usual(score: str, names: tuple[str, str, str, str]) -> dict[str, Metric]:
    """Return what the runs of a task are compared by unless other measures are requested.

    Args:
        score: the metric that ranks them, see sweeper.runs.scores.
        names: of the measures.
    """
    test, level, mean, target = names
    val, is_acc = f"val_{score}", score == "acc"
    return {
        test: column_metric(
            *(test, ACCURACY),
            digits="{:+z.4f}",
            half_width=0.005,
            resolution=one_image("test_images") if is_acc else not_known,
            is_exploratory=False,
        ),
        level: Metric(
            *(f"epochs to a common {val}", *EPOCHS),
            digits="{:+z.2f}",
            half_width=1.0,
            is_known=has_curve(score),
            values=epochs_to_level,
            resolution=one_epoch,
            meaning=f"epochs to a common {val}: the first epoch at {{percent}} of the lower best {val} of the pair, a "
            "level that both runs reach",
        ),
        mean: Metric(
            *(f"mean best-so-far {val}", "higher", "lower", *ACCURACY[2:]),
            digits="{:+z.4f}",
            half_width=0.005,
            is_known=has_curve(score),
            values=mean_val_acc,
            resolution=one_image("val_images") if is_acc else not_known,
            meaning=f"mean best-so-far {val}: over the epoch budget; a run that stopped early keeps its best",
            is_share=True,
        ),
        target: Metric(
            *(target, *EPOCHS),
            digits="{:+z.2f}",
            half_width=1.0,
            is_known=has_target(score),
            values=epochs_to_target,
            resolution=one_epoch,
            meaning=f"{target}: the first epoch with {val} of at least {{target}}, or the epoch budget plus one if "
            "there is none (restricted mean time)",
        ),
    }


USUAL = usual("acc", ("test_acc", "epochs_to_level", "mean_val_acc", "epochs_to_target"))
USUAL_OF = {
    "acc": USUAL,
    "miou": usual("miou", ("test_miou", "epochs_to_level_miou", "mean_val_miou", "epochs_to_target_miou")),
}
MAIN = tuple(next(iter(measures)) for measures in USUAL_OF.values())  # of each task; the others are exploratory
TARGETS = tuple(list(measures)[-1] for measures in USUAL_OF.values())


def usual_measures(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return what the runs of a frame are compared by unless other measures are requested."""
    return tuple(name for score in scores(frame) for name in USUAL_OF[score])


def measure(
    name: str,
    *,
    lower_is_better: bool = False,
    half_width: float = 0.005,
    meaning: str = "",
    is_share: bool = True,
) -> Metric:
    """Return a measure of the test images that is compared only on request."""
    words = (ACCURACY[1], ACCURACY[0], ACCURACY[3], ACCURACY[2]) if lower_is_better else ACCURACY
    meaning = f"{name}: {meaning}" if meaning else ""
    return column_metric(
        name,
        words,
        digits="{:+z.4f}",
        half_width=half_width,
        resolution=not_known,
        meaning=meaning,
        is_share=is_share,
    )


class Metrics(dict[str, Metric]):
    """Metrics by name; those of each class, such as `test_acc[CLASS]`, are among them."""

    def __missing__(self, name: str) -> Metric:
        if not name.startswith(OF_CLASSES):
            raise KeyError(name)
        return measure(name)


METRICS = Metrics(
    USUAL
    | USUAL_OF["miou"]
    | {
        "test_balanced_acc": measure("test_balanced_acc", meaning="mean over the classes of their accuracy"),
        "test_macro_f1": measure("test_macro_f1", meaning="mean over the classes of their F1 score"),
        "test_pixel_acc": measure("test_pixel_acc", meaning="fraction of labeled pixels that are classified correctly"),
        "test_top5_acc": measure(
            "test_top5_acc", meaning="fraction of images whose class is among the five most likely"
        ),
        "test_acc_views": measure("test_acc_views", meaning="accuracy of logits averaged over views"),
        "test_loss": measure(
            "test_loss",
            lower_is_better=True,
            half_width=0.02,
            meaning="negative log-likelihood, in nats",
            is_share=False,
        ),
        "test_ece": measure(
            "test_ece",
            lower_is_better=True,
            meaning="expected calibration error, the gap between confidence and accuracy of the predicted class",
        ),
    }
)

"""A new evaluation of a run in the terminal, and whether it is the recorded one."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.display import print_sentence, stdout_console
from sweeper.errors import UserError
from sweeper.runs.evaluate import Reevaluation
from sweeper.summary.output import printable

OTHER_DEVICE = 0.01  # of the test images may get another class on another type of device, which rounds differently
PADDING = 3  # a border and a space on both sides of a cell


def print_evaluation(name: str, evaluation: Reevaluation) -> None:
    """Print an evaluation; where a terminal is too narrow for the confusion matrix, in parts of fewer columns."""
    print(f"{name}\ntest_{evaluation.score} {evaluation.test_score:.4f}, recorded {evaluation.recorded_score:.4f}")
    labels = [Text(printable(label)) for label in evaluation.classes]
    limit = stdout_console().width if sys.stdout.isatty() else None
    what = "pixels" if evaluation.score == "miou" else "images"
    per_class = scores(evaluation.confusion, labels, what, evaluation.ignored)
    for table in (per_class, *matrices(evaluation.confusion, labels, limit, what)):
        console = stdout_console()
        console.width = width_of(table)
        console.print(table)


def scores(
    confusion: NDArray[np.int64], labels: Sequence[Text], what: str = "images", ignored: int | None = None
) -> Table:
    """Return precision, recall and the number of images of each class, nothing of the one that does not count; of
    pixels, IoU as well.
    """
    hits, predicted, actual = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    table = Table(title="Per class", title_justify="left")
    table.add_column("class")
    others = ("IoU",) if what == "pixels" else ()
    for header in ("precision", "recall", *others, what):
        table.add_column(header, justify="right")
    for index, label in enumerate(labels):
        totals = (predicted, actual, predicted + actual - hits)[: 2 + len(others)]
        parts = [f"{hits[index] / total[index]:.4f}" if total[index] and index != ignored else "-" for total in totals]
        table.add_row(label, *parts, f"{actual[index]:,}")
    return table


def matrices(
    confusion: NDArray[np.int64], labels: Sequence[Text], limit: int | None, what: str = "images"
) -> Iterator[Table]:
    """Yield the confusion matrix in tables of as many predicted classes as fit in `limit` characters; None: all."""
    digits = len(f"{confusion.max():,}")
    widths = [max(label.cell_len, digits) + PADDING for label in labels]
    first = 1 + max(label.cell_len for label in labels) + PADDING
    start = 0
    while start < len(labels):
        stop = start + 1
        while stop < len(labels) and (limit is None or first + sum(widths[start : stop + 1]) <= limit):
            stop += 1
        yield matrix(confusion, labels, start, stop, what)
        start = stop


def matrix(confusion: NDArray[np.int64], labels: Sequence[Text], start: int, stop: int, what: str = "images") -> Table:
    """Return the columns from start to stop of the confusion matrix."""
    table = Table(title=f"{what.title()} by true class (rows) and predicted class (columns)", title_justify="left")
    table.add_column("")
    for label in labels[start:stop]:
        table.add_column(label, justify="right")
    for label, row in zip(labels, confusion, strict=True):
        table.add_row(label, *(f"{count:,}" for count in row[start:stop]))
    return table


def width_of(table: Table) -> int:
    """Return the characters across that a table needs for all of its cells."""
    return Console(width=100_000).measure(table).maximum


def check_evaluation(evaluation: Reevaluation, recorded: Path) -> None:
    """Compare with the record; say on standard error where that is not possible or the device differs.

    Raises:
        UserError: predicted classes or the accuracy differ, on another type of device by more than rounding.
    """
    num_images, changed = int(evaluation.confusion.sum()), evaluation.num_changed
    if changed is None:
        print_sentence(f"{recorded} is missing or damaged; predicted classes are not compared", sys.stderr)
    if evaluation.device_type != evaluation.recorded_device:
        places = f"trained on {evaluation.recorded_device}, evaluated on {evaluation.device_type}"
        print_sentence(f"{places}: {changed or 0:,} of {num_images:,} predicted classes differ", sys.stderr)
        allowed = OTHER_DEVICE
    else:
        allowed = 0.0
    if (changed or 0) > allowed * num_images:
        raise UserError(f"{changed} predicted classes differ from those in {recorded}")
    if abs(evaluation.test_score - evaluation.recorded_score) > allowed:
        raise UserError(
            f"test_{evaluation.score}={evaluation.test_score} differs from the recorded {evaluation.recorded_score}"
        )

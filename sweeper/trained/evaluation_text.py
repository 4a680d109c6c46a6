"""A new evaluation of a run in the terminal, and whether it is the recorded one."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweeper.errors import UserError
from sweeper.runs.evaluate import Reevaluation

OTHER_DEVICE = 0.01  # of the test images may get another class on another type of device, which rounds differently


def print_evaluation(name: str, evaluation: Reevaluation) -> None:
    """Print the accuracy and the recorded one, precision and recall of each class, and the confusion matrix."""
    console = Console()
    print(f"{name}\ntest_acc {evaluation.test_acc:.4f}, recorded {evaluation.recorded_acc:.4f}")
    confusion, classes = evaluation.confusion, evaluation.classes
    hits, predicted, actual = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    scores = Table(title="Per class", title_justify="left")
    matrix = Table(title="Images by true class (rows) and predicted class (columns)", title_justify="left")
    for header in ("class", "precision", "recall", "images"):
        scores.add_column(header, justify="left" if header == "class" else "right")
    matrix.add_column("")
    for index, label in enumerate(classes):
        precision = f"{hits[index] / predicted[index]:.4f}" if predicted[index] else "-"
        scores.add_row(label, precision, f"{hits[index] / actual[index]:.4f}", str(actual[index]))
        matrix.add_column(label, justify="right")
    for label, row in zip(classes, confusion, strict=True):
        matrix.add_row(label, *(str(count) for count in row))
    console.print(scores, matrix, markup=False)


def check_evaluation(evaluation: Reevaluation, recorded: Path) -> None:
    """Compare with the record; say on standard error where that is not possible or the device differs.

    Raises:
        UserError: predicted classes or the accuracy differ, on another type of device by more than rounding.
    """
    num_images, changed = int(evaluation.confusion.sum()), evaluation.num_changed
    if changed is None:
        print(f"{recorded} is missing or damaged; predicted classes are not compared", file=sys.stderr)
    if evaluation.device_type != evaluation.recorded_device:
        places = f"trained on {evaluation.recorded_device}, evaluated on {evaluation.device_type}"
        print(f"{places}: {changed or 0} of {num_images} predicted classes differ", file=sys.stderr)
        allowed = OTHER_DEVICE
    else:
        allowed = 0.0
    if (changed or 0) > allowed * num_images:
        raise UserError(f"{changed} predicted classes differ from those in {recorded}")
    if abs(evaluation.test_acc - evaluation.recorded_acc) > allowed:
        raise UserError(f"test_acc={evaluation.test_acc} differs from the recorded {evaluation.recorded_acc}")

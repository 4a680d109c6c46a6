"""The test images that a run predicts wrongly, most confident first."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.directory import RunDirectory
from sweeper.runs.measures import probabilities, wrong_images
from sweeper.runs.predictions import read_predictions
from sweeper.runs.scores import task_of
from sweeper.runs.states import state_of
from sweeper.runs.stored_images import StoredImages


@dataclass(frozen=True)
class Mistakes:
    """Wrong predictions of a run.

    Attributes:
        run_id: of the run.
        frame: a row for each wrong test image, highest probability first: `image`, its index among the test images,
            `file` (empty where it has none), `true` and `predicted` class, `probability` of the predicted and
            `true_probability` of the true class.
        num_images: test images of the chosen true class, or all.
        true, predicted: the classes that were chosen; None: any.
        images: pixels (N, C, H, W) uint8 of all test images.
    """

    run_id: str
    frame: pd.DataFrame
    num_images: int
    images: NDArray[np.uint8]
    true: str | None = None
    predicted: str | None = None

    def __str__(self) -> str:
        of_class = "" if self.true is None else f" of class {self.true}"
        as_class = "" if self.predicted is None else f" as {self.predicted}"
        return f"wrongly predicted{as_class}: {len(self.frame):,} of {self.num_images:,} test images{of_class}"


def find_mistakes(
    record: RunDirectory, stored: StoredImages, true: str | None = None, predicted: str | None = None
) -> Mistakes:
    """Rank the wrong predictions of a finished run by the probability of the predicted class.

    Args:
        record: of the run.
        stored: its test images.
        true, predicted: names of classes; only images of this true class, or predicted as this class.

    Raises:
        UserError: the predictions are missing, damaged or of other images, or a class is unknown.
    """
    logits, labels = predictions_of(record)
    if not np.array_equal(labels, stored.labels):
        raise UserError(f"{record.predictions} is of other test images than those in the cache")
    classes = class_names(record, logits.shape[1])
    for option, name in (("--true", true), ("--predicted", predicted)):
        if name is not None and name not in classes:
            raise UserError(
                f"{option} {name}: unknown class{nearest(name, classes)}; choose from {format_names(classes)}"
            )
    guesses, shares = logits.argmax(axis=1), probabilities(logits)
    chosen = np.ones(len(labels), bool) if true is None else labels == classes.index(true)
    shown = chosen & (True if predicted is None else guesses == classes.index(predicted))
    order = wrong_images(logits, labels)
    order = order[shown[order]]
    frame = pd.DataFrame(
        {
            "image": order,
            "file": [stored.files[row] if stored.files else "" for row in order],
            "true": [classes[label] for label in labels[order]],
            "predicted": [classes[guess] for guess in guesses[order]],
            "probability": shares[order, guesses[order]],
            "true_probability": shares[order, labels[order]],
        }
    )
    return Mistakes(record.run_id, frame, int(chosen.sum()), stored.images, true, predicted)


def class_names(record: RunDirectory, num_classes: int) -> list[str]:
    """Return the names of the classes that a run records; numbers where it records others than that many."""
    dataset = (record.run() or {}).get("dataset")
    names = dataset.get("classes") if isinstance(dataset, dict) else None
    is_whole = isinstance(names, list) and len(names) == num_classes
    return list(map(str, names if is_whole and names is not None else range(num_classes)))


def is_same_dataset(first: RunDirectory, second: RunDirectory) -> bool:
    """Return whether two runs record the same dataset."""
    datasets = [(record.run() or {}).get("dataset") for record in (first, second)]
    prints = [dataset.get("fingerprint") if isinstance(dataset, dict) else None for dataset in datasets]
    return bool(prints[0] == prints[1])


def predictions_of(record: RunDirectory) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the logits (N, K) and the labels (N,) of a run's test images.

    Raises:
        UserError: it has none, or they are of no use.
    """
    if record.result() is None:
        raise UserError(f"{record.run_id} has no result (state: {state_of(record)})")
    if task_of((record.run() or {}).get("effective")) == "segmentation":
        raise UserError(f"{record.run_id} is of segmentation: it predicts a class for each pixel, not for each image")
    found = read_predictions(record.predictions)
    if found is None:
        raise UserError(f"{record.predictions} is missing or damaged")
    logits, labels = found
    if not np.isfinite(logits).all() or not len(labels) or not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise UserError(f"{record.predictions} has logits that are not finite, or labels of other classes")
    return found


def as_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn an image (C, H, W) into rows of color pixels (H, W, 3)."""
    pixels: NDArray[np.uint8] = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
    return pixels

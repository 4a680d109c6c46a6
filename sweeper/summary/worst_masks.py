"""The test images that a run of segmentation predicts worst, by their mean intersection over union."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.data.source import UNLABELED
from sweeper.errors import UserError, format_names, nearest
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import read_masks
from sweeper.runs.states import state_of
from sweeper.runs.stored_images import StoredImages
from sweeper.summary.wrong_images import class_names

Masks = NDArray[np.uint8]


@dataclass(frozen=True)
class WorstMasks:
    """Test images of a run, worst first.

    Attributes:
        run_id: of the run.
        classes: names.
        frame: a row for each test image with pixels that count: `image`, its index among the test images, `file`
            (empty where it has none), `miou` over its classes and `pixel_acc`; with a chosen class, `iou` of it, and
            only images that have it or are predicted to.
        images: pixels (N, C, H, W) uint8 of all test images.
        predicted, masks: classes of their pixels (N, H, W).
        true: the class that was chosen; None: all.
    """

    run_id: str
    classes: list[str]
    frame: pd.DataFrame
    images: NDArray[np.uint8]
    predicted: Masks
    masks: Masks
    true: str | None = None

    @property
    def by(self) -> str:
        """What the images are ranked by."""
        return "mIoU" if self.true is None else f"IoU of {self.true}"


def find_worst(record: RunDirectory, stored: StoredImages, true: str | None = None) -> WorstMasks:
    """Rank the test images of a finished run of segmentation by mean intersection over union, lowest first.

    Args:
        record: of the run.
        stored: its test images.
        true: name of a class, by whose intersection over union images are ranked instead.

    Raises:
        UserError: the predictions are missing, damaged or of other images, or the class is unknown.
    """
    predicted, masks = masks_of(record)
    if not np.array_equal(masks, stored.labels):
        raise UserError(f"{record.predictions} is of other test images than those in the cache")
    classes, ignored = labels_of(record, predicted)
    if true is not None and true not in classes:
        raise UserError(f"--true {true}: unknown class{nearest(true, classes)}; choose from {format_names(classes)}")
    ious, accs = scores_of(predicted, masks, len(classes), ignored)
    rows = {
        "image": np.arange(len(masks)),
        "file": stored.files or [""] * len(masks),
        "miou": mious_of(ious),
        "pixel_acc": accs,
    }
    by = "miou"
    if true is not None:
        rows, by = rows | {"iou": ious[:, classes.index(true)]}, "iou"
    frame = pd.DataFrame(rows).dropna(subset=[by]).sort_values([by, "image"]).reset_index(drop=True)
    return WorstMasks(record.run_id, classes, frame, stored.images, predicted, masks, true)


def masks_of(record: RunDirectory) -> tuple[Masks, Masks]:
    """Return the predicted and the true classes (N, H, W) of the test images of a finished run of segmentation.

    Raises:
        UserError: it has no result, or they are missing or damaged.
    """
    if record.result() is None:
        raise UserError(f"{record.run_id} has no result (state: {state_of(record)})")
    found = read_masks(record.predictions)
    if found is None:
        raise UserError(f"{record.predictions} is missing or damaged")
    return found


def labels_of(record: RunDirectory, predicted: Masks) -> tuple[list[str], int]:
    """Return the names of the classes of a run of segmentation, and the class that does not count."""
    run = record.run() or {}
    dataset, effective = run.get("dataset"), run.get("effective")
    known = dataset.get("classes") if isinstance(dataset, dict) else None
    task = effective.get("task") if isinstance(effective, dict) else None
    ignored = task.get("ignore_index", UNLABELED) if isinstance(task, dict) else UNLABELED
    return class_names(record, len(known) if isinstance(known, list) else int(predicted.max()) + 1), ignored


def mious_of(ious: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the classes that an image has (N,) from scores_of; NaN where no pixel counts."""
    return np.array([float(np.nanmean(row)) if np.isfinite(row).any() else np.nan for row in ious])


def scores_of(
    predicted: Masks, masks: Masks, num_classes: int, ignored: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the intersection over union of each class in each image (N, K), NaN where it is absent, and accuracies."""
    labeled = (masks != UNLABELED) & (masks != ignored)
    ious = np.full((len(masks), num_classes), np.nan)
    for index in range(num_classes):
        if index == ignored:
            continue
        true, guessed = (masks == index) & labeled, (predicted == index) & labeled
        either = (true | guessed).sum((1, 2))
        np.divide((true & guessed).sum((1, 2)), either, out=ious[:, index], where=either > 0)
    accs = ((predicted == masks) & labeled).sum((1, 2)) / np.maximum(labeled.sum((1, 2)), 1)
    return ious, accs

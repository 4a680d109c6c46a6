"""How two runs of segmentation differ on the same test images, by the mean intersection over union of each image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.summary.worst_masks import Masks, labels_of, masks_of, mious_of, scores_of
from sweeper.summary.wrong_images import is_same_dataset


@dataclass(frozen=True)
class MaskDifference:
    """How two runs differ on the same test images.

    Attributes:
        mious: of each run, over the pixels of all images: its recorded test_miou.
        only_first, only_second: images whose own mIoU is higher in this run; equal: the others with pixels that count.
        p: of Wilcoxon's signed-rank test (1945), two-sided, of the images' differences: whether they are symmetric
            around 0.
    """

    mious: tuple[float, float]
    only_first: int
    only_second: int
    equal: int
    p: float


def compare_masks(first: RunDirectory, second: RunDirectory) -> MaskDifference:
    """Compare two runs of segmentation image by image.

    Raises:
        UserError: a run has no result or no predictions, or they are of different images or ignore different classes.
    """
    (predicted, masks), (others, same_masks) = masks_of(first), masks_of(second)
    names, ignored = labels_of(first, predicted)
    same_names, same_ignored = labels_of(second, others)
    if not is_same_dataset(first, second) or same_names != names or not np.array_equal(masks, same_masks):
        raise UserError(f"{first.run_id} and {second.run_id} have different images")
    if same_ignored != ignored:
        raise UserError(
            f"{first.run_id} and {second.run_id} ignore different classes: task.ignore_index is {ignored} and "
            f"{same_ignored}"
        )
    own, other = (image_mious(it, masks, len(names), ignored) for it in (predicted, others))
    differences = (other - own)[~np.isnan(own)]
    results: list[dict[str, Any]] = [record.result() or {} for record in (first, second)]
    return MaskDifference(
        (results[0]["test_miou"], results[1]["test_miou"]),
        int((differences < 0).sum()),
        int((differences > 0).sum()),
        int((differences == 0).sum()),
        float(wilcoxon(differences).pvalue) if differences.any() else 1.0,
    )


def image_mious(predicted: Masks, masks: Masks, num_classes: int, ignored: int) -> NDArray[np.float64]:
    """Return the mIoU of each image (N,); NaN where no pixel counts."""
    return mious_of(scores_of(predicted, masks, num_classes, ignored)[0])

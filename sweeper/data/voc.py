"""The files of PASCAL VOC 2012's segmentation (Everingham et al. 2015), through torchvision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeper.data.mask_folders import Pair
from sweeper.errors import UserError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip


def voc_pairs(root: Path) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """Return the images and masks of the 1,464 training and the 1,449 validation images, downloaded where missing.

    Raises:
        UserError: they cannot be downloaded.
    """
    from torchvision.datasets import VOCSegmentation  # slow to import, needed once
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known: dict[str, Any] = DATASET_YEAR_DICT["2012"]
    is_there = (root / known["base_dir"] / "ImageSets").is_dir()
    try:
        parts = []
        for index, name in enumerate(("train", "val")):
            part = VOCSegmentation(str(root), "2012", name, download=not is_there and index == 0)
            parts.append(list(zip(part.images, part.masks, strict=True)))
        return parts[0], parts[1]
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"PASCAL VOC 2012 could not be read or downloaded from {known['url']} ({error}); put {known['filename']}, "
            f"unpacked, into data.root={root}, or use data=segmentation_folder or data=digit_scenes"
        ) from error

"""What a dataset is before it is decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Allocate = Callable[[str, tuple[int, ...], str], NDArray[np.uint8]]  # name, shape, dtype -> array to fill
DECODER_VERSION = 2  # of what image_files makes of a file
MASK_VERSION = 3  # of what image_files and mask_folders make of a file
UNLABELED = 255  # in masks: of no class


@dataclass
class Source:
    """A dataset before it is decoded.

    Attributes:
        key: text that changes when the files do; found without reading them.
        decode: fills the arrays train_images (N, C, H, W) uint8, train_labels (N,) int64, test_images and test_labels
            that it gets from `allocate`, val_images and val_labels where the dataset has validation images of its own,
            and returns the classes' names. See `with_masks` for other labels.
        test_files: paths of the test images below the dataset's root, in order; none where they are in an archive.
    """

    key: str
    decode: Callable[[Allocate], list[str]]
    test_files: Sequence[str] = ()


def with_masks(function: Callable[..., Source]) -> Callable[..., Source]:
    """Mark a dataset whose labels are masks (N, H, W) uint8: the class of each pixel, or UNLABELED."""
    function.targets = "masks"  # type: ignore[attr-defined]
    return function

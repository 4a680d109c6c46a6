"""Masks as pictures: a color for each class, laid over the image."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweeper.data.source import UNLABELED
from sweeper.summary.wrong_images import as_pixels

Pixels = NDArray[np.uint8]
UNLABELED_COLOR = (128, 128, 128)
GOLDEN = 0.618034  # of the color circle, from a class to the next
SHARE = 0.6  # of the class's color in an overlay


def palette(num_classes: int) -> NDArray[np.uint8]:
    """Return the color of each index (256, 3): black for class 0, distinct hues for the others, gray for no class."""
    colors = np.full((256, 3), UNLABELED_COLOR, np.uint8)
    colors[0] = 0
    for index in range(1, min(num_classes, UNLABELED)):
        red_green_blue = colorsys.hsv_to_rgb(index * GOLDEN % 1, 0.85 if index % 2 else 0.6, 1.0)
        colors[index] = [round(255 * part) for part in red_green_blue]
    return colors


def overlaid(image: Pixels, mask: Pixels, num_classes: int) -> Pixels:
    """Return an image (C, H, W) under the colors of its mask (H, W): (H, W, 3). Unlabeled pixels stay as they are."""
    pixels = as_pixels(image)
    colors = palette(num_classes)[mask]
    blended = ((1 - SHARE) * pixels + SHARE * colors).round().astype(np.uint8)
    return np.where((mask == UNLABELED)[..., None], pixels, blended)


def side_by_side(image: Pixels, masks: Sequence[Pixels], num_classes: int) -> Pixels:
    """Return an image (C, H, W) and the colors of its masks (H, W) in a row: (H, (1 + M) W, 3)."""
    colors = palette(num_classes)
    return np.concatenate([as_pixels(image), *(colors[mask] for mask in masks)], axis=1)

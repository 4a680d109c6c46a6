"""How the steps of augmentation move masks: each with the draws that move its image, to the nearest pixel.

A move takes masks (N, H, W) uint8 and the step's `draws` (N, D), and returns new masks; its keyword-only arguments are
the step's settings. Pixels that come from outside of the image are UNLABELED. Steps that leave pixels where they are
have no move: they are listed in LABEL_FREE.
"""

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.data import operations
from sweeper.data.augmentation import crop_grid, shifted, with_border
from sweeper.data.policies import LEVELS, OPERATIONS, apply_drawn

LABEL_FREE = ("brightness", "contrast", "saturation", "cutout", "erasing")  # what is covered keeps its class
# Of those that the policies choose from, only affine maps move pixels.
MASK_OPERATIONS = tuple(it if it.maps is not None else replace(it, apply=operations.identity) for it in OPERATIONS)


def as_images(masks: Tensor) -> Tensor:
    """Return masks as images (N, 1, H, W) in which 0, the border of images, is unlabeled; `as_masks` undoes it."""
    return ~masks[:, None]


def as_masks(images: Tensor) -> Tensor:
    return ~images[:, 0]


def resized_crop(masks: Tensor, draws: Tensor, *, resized_crop: float) -> Tensor:
    """Resize the same part of each mask."""
    grid = crop_grid(draws, masks.shape[1], masks.shape[2], resized_crop)
    part = F.grid_sample(as_images(masks).float(), grid, "nearest", "border", align_corners=False)
    return as_masks(part.to(masks.dtype))


def flip(masks: Tensor, draws: Tensor, *, flip: str) -> Tensor:
    """Mirror the same masks."""
    return masks.flip(-1).where(draws[:, 0, None, None] < 0.5, masks)


def crop(masks: Tensor, draws: Tensor, *, crop_padding: int, crop_border: str = "black") -> Tensor:
    """Shift each mask alike; a reflected border has the classes of what is reflected."""
    images = as_images(masks)
    for dim, draw in ((2, draws[:, 0]), (3, draws[:, 1])):
        images = shifted(with_border(images, dim, crop_padding, crop_border), dim, draw, 2 * crop_padding)
    return as_masks(images)


def trivial_augment(masks: Tensor, draws: Tensor, *, trivial_augment: str) -> Tensor:
    """Apply the same operation to each mask where it is an affine map."""
    level = (draws[:, 1] * LEVELS).floor()
    return as_masks(apply_drawn(as_images(masks), draws[:, :1], draws[:, 2:], level, trivial_augment, MASK_OPERATIONS))


def randaugment(masks: Tensor, draws: Tensor, *, randaugment_ops: int, randaugment_magnitude: int) -> Tensor:
    """Apply the same operations to each mask where they are affine maps."""
    level = draws.new_full((len(draws),), randaugment_magnitude)
    return as_masks(apply_drawn(as_images(masks), draws[:, ::2], draws[:, 1::2], level, "standard", MASK_OPERATIONS))


MOVES: Registry = {
    "resized_crop": resized_crop,
    "flip": flip,
    "crop": crop,
    "trivial_augment": trivial_augment,
    "randaugment": randaugment,
}

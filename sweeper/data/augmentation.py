"""Random changes of training images, as pure functions on a batch of uint8 images.

A step takes images (N, C, H, W) uint8, `draws` (N, D) of uniform numbers in [0, 1) and the mean pixel (C,) uint8, and
returns new images of the same shape. Its keyword-only arguments are its settings; the step is on where they are given.
Steps combine freely: each has draws of its own, which follow from the seed, the epoch and the step's name alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry

AugmentationStep = Callable[[Tensor, Tensor, Tensor], Tensor]


def needs_draws(number: int) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Mark a step with how many numbers D it draws per image and epoch."""

    def mark(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        step.num_draws = number  # type: ignore[attr-defined]
        return step

    return mark


@needs_draws(1)
def flip(images: Tensor, draws: Tensor, mean: Tensor, *, flip: str) -> Tensor:
    """Mirror half of the images left to right, at random."""
    return torch.where(draws[:, 0, None, None, None] < 0.5, images.flip(-1), images)


@needs_draws(2)
def crop(images: Tensor, draws: Tensor, mean: Tensor, *, crop_padding: int) -> Tensor:
    """Shift each image by up to `crop_padding` pixels, with a black border (He et al. 2015)."""
    num, channels, height, width = images.shape
    padded = F.pad(images, (crop_padding,) * 4)
    corners = (draws * (2 * crop_padding + 1)).long()  # (N, 2)
    rows = corners[:, 0, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = corners[:, 1, None] + torch.arange(width, device=images.device)  # (N, W)
    rows = rows[:, None, :, None].expand(num, channels, height, width + 2 * crop_padding)
    columns = columns[:, None, None, :].expand(num, channels, height, width)
    return padded.gather(2, rows).gather(3, columns)


@needs_draws(2)
def cutout(images: Tensor, draws: Tensor, mean: Tensor, *, cutout: int) -> Tensor:
    """Cover a square of `cutout` pixels, its center anywhere in the image, with the mean color (DeVries 2017)."""
    height, width = images.shape[2:]
    top = (draws[:, 0] * height).long() - cutout // 2
    left = (draws[:, 1] * width).long() - cutout // 2
    rows = torch.arange(height, device=images.device) - top[:, None]  # (N, H)
    columns = torch.arange(width, device=images.device) - left[:, None]  # (N, W)
    inside = ((rows >= 0) & (rows < cutout))[:, :, None] & ((columns >= 0) & (columns < cutout))[:, None, :]
    return torch.where(inside[:, None], mean[:, None, None], images)  # inside: (N, H, W)


# In the order in which they are applied.
STEPS: Registry = {"flip": flip, "crop": crop, "cutout": cutout}

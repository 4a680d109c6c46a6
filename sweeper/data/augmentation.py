"""Random changes of training images, as pure functions on a batch of uint8 images.

Every function takes images (N, C, H, W), `draws` (N, 5) of uniform numbers in [0, 1) and the mean pixel (C,) uint8, and
returns new images of the same shape. The caller draws for a whole epoch at once, so that an image's change depends on
the seed and the epoch alone. A function's keyword-only arguments are the settings that the choice uses.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def none(images: Tensor, draws: Tensor, mean: Tensor) -> Tensor:
    return images


def flip(images: Tensor, draws: Tensor, mean: Tensor) -> Tensor:
    """Mirror left to right every second image."""
    return torch.where(draws[:, 0, None, None, None] < 0.5, images.flip(-1), images)


def flip_crop(images: Tensor, draws: Tensor, mean: Tensor, *, padding: int) -> Tensor:
    """Flip, then a crop of the same size at a random place of the image with a black border (He et al. 2015)."""
    return crop(flip(images, draws, mean), draws[:, 1:3], padding)


def cutout(images: Tensor, draws: Tensor, mean: Tensor, *, padding: int, size: int) -> Tensor:
    """Flip and crop, then a square of the mean colour at a random place (DeVries & Taylor 2017)."""
    return cut_square(flip_crop(images, draws, mean, padding=padding), draws[:, 3:5], mean, size)


def crop(images: Tensor, draws: Tensor, padding: int) -> Tensor:
    """Shift each image by up to `padding` pixels; draws (N, 2) give the vertical and the horizontal place."""
    num, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    corners = (draws * (2 * padding + 1)).long()  # (N, 2)
    rows = corners[:, 0, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = corners[:, 1, None] + torch.arange(width, device=images.device)  # (N, W)
    rows = rows[:, None, :, None].expand(num, channels, height, width + 2 * padding)
    columns = columns[:, None, None, :].expand(num, channels, height, width)
    return padded.gather(2, rows).gather(3, columns)


def cut_square(images: Tensor, draws: Tensor, mean: Tensor, size: int) -> Tensor:
    """Cover a square whose centre is anywhere in the image; draws (N, 2) give the centre's row and column."""
    height, width = images.shape[2:]
    top = (draws[:, 0] * height).long() - size // 2
    left = (draws[:, 1] * width).long() - size // 2
    rows = torch.arange(height, device=images.device) - top[:, None]  # (N, H)
    columns = torch.arange(width, device=images.device) - left[:, None]  # (N, W)
    inside = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None, :]  # (N, H, W)
    return torch.where(inside[:, None], mean[:, None, None], images)


AUGMENTATIONS: dict[str, Callable[..., Tensor]] = {"none": none, "flip": flip, "flip_crop": flip_crop, "cutout": cutout}

"""Random changes of training images, as pure functions on a batch of uint8 images.

A step takes images (N, C, H, W) uint8, `draws` (N, D) of uniform numbers in [0, 1) and the mean pixel (C,) uint8, and
returns new images of the same shape. Its keyword-only arguments are its settings; the step is on where they are given.
Steps combine freely: each has draws of its own, which follow from the seed, the epoch and the step's name alone.
A step without draws changes the order of an epoch instead of its images.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.data.color import brightness, contrast, saturation
from sweeper.data.draws import changes_pixels, needs_draws
from sweeper.data.policies import randaugment, trivial_augment
from sweeper.errors import UserError

AugmentationStep = Callable[[Tensor, Tensor, Tensor], Tensor]

CROPPED_ASPECT = 4 / 3  # largest width : height or height : width of a resized crop (Szegedy et al. 2015)
ERASED_AREA = (0.02, 0.33)  # of the image; with the aspect ratio, as in torchvision
ERASED_ASPECT = 10 / 3
NOISE_OFFSETS = 2**16


def repeats(order: Tensor, batch_size: int, *, repeats: int) -> Tensor:
    """Let a batch contain `repeats` copies of each of its images, augmented differently (Hoffer et al. 2020).

    An epoch has as many steps and images as without it, and so takes a part of the images, another one every epoch.
    Copies are distributed over the batch, so that mixing rarely mixes an image with itself.

    Args:
        order: (N,) int64, the order of all images.

    Returns:
        The order of the epoch: (N,) int64. Where `repeats` does not divide the size of a batch, some images have a
        copy less.
    """
    sizes = [len(batch) for batch in order.split(batch_size)]
    distinct = [math.ceil(size / repeats) for size in sizes]
    parts = order[: sum(distinct)].split(distinct)
    return torch.cat([part.repeat(repeats)[:size] for part, size in zip(parts, sizes, strict=True)])


@needs_draws(4)
def resized_crop(images: Tensor, draws: Tensor, mean: Tensor, *, resized_crop: float) -> Tensor:
    """Resize a random part of each image, `resized_crop` to 1 of its area, to the image's size (Szegedy et al. 2015).

    The aspect ratio is between 3:4 and 4:3, uniform in its logarithm; a side longer than the image is the image's.
    """
    height, width = images.shape[2:]
    grid = crop_grid(draws, height, width, resized_crop)
    return F.grid_sample(images.float(), grid, "bilinear", "border", align_corners=False).round_().to(torch.uint8)


def crop_grid(draws: Tensor, height: int, width: int, least_area: float) -> Tensor:
    """Return where a random resized crop takes each pixel from: (N, H, W, 2), as grid_sample counts."""
    area = (least_area + (1 - least_area) * draws[:, 0]) * height * width
    aspect = CROPPED_ASPECT ** (2 * draws[:, 1] - 1)
    part_height = (area / aspect).sqrt().round().clamp(1, height)
    part_width = (area * aspect).sqrt().round().clamp(1, width)
    x = sampled((draws[:, 3] * (width - part_width + 1)).floor(), part_width, width)
    y = sampled((draws[:, 2] * (height - part_height + 1)).floor(), part_height, height)
    return torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)


def sampled(first: Tensor, length: Tensor, size: int) -> Tensor:
    """Return where a resize of `length` (N,) pixels, from `first` (N,) on, to `size` pixels takes these from.

    Returns:
        (N, size), counted as grid_sample does: the image's side is from -1 to 1.
    """
    source = (torch.arange(size, device=first.device) + 0.5) * (length / size)[:, None] - 0.5
    source = first[:, None] + source.clamp(min=0).minimum(length[:, None] - 1)
    return (2 * source + 1) / size - 1


@needs_draws(1)
def flip(images: Tensor, draws: Tensor, mean: Tensor, *, flip: str) -> Tensor:
    """Mirror half of the images left to right, at random or in alternation.

    `alternating` mirrors each image in every other epoch, since its draws alternate (Jordan 2024, airbench; see
    TrainLoader.draws).
    """
    return replaced(images, draws[:, 0, None, None, None] < 0.5, images.flip(-1))


@needs_draws(2)
def crop(images: Tensor, draws: Tensor, mean: Tensor, *, crop_padding: int, crop_border: str = "black") -> Tensor:
    """Shift each image by up to `crop_padding` pixels, with a black border (He et al. 2015) or a reflected one."""
    for dim, draw in ((2, draws[:, 0]), (3, draws[:, 1])):
        images = shifted(with_border(images, dim, crop_padding, crop_border), dim, draw, 2 * crop_padding)
    return images


def with_border(images: Tensor, dim: int, size: int, border: str) -> Tensor:
    """Return images with `size` more pixels at both ends of a dimension, black or reflected."""
    if border == "reflect":
        side = images.shape[dim]
        ends = images.narrow(dim, 1, size).flip(dim), images.narrow(dim, side - 1 - size, size).flip(dim)
    else:
        shape = [size if number == dim else side for number, side in enumerate(images.shape)]
        ends = (images.new_zeros(shape),) * 2
    return torch.cat([ends[0], images, ends[1]], dim)


def shifted(images: Tensor, dim: int, draws: Tensor, surplus: int) -> Tensor:
    """Cut `surplus` pixels off a dimension, as drawn (N,) at its start and the rest at its end.

    On a CPU, images that are cut alike are cut together; a GPU would wait for their numbers.
    """
    before = (draws * (surplus + 1)).long()
    side = images.shape[dim] - surplus
    if images.is_cuda:
        kept = before[:, None] + torch.arange(side, device=before.device)
        return images.take_along_dim(kept[:, None, :, None] if dim == 2 else kept[:, None, None, :], dim)
    order = before.argsort(stable=True)
    parts = images.index_select(0, order).split(before.bincount(minlength=surplus + 1).tolist())
    cut = torch.cat([part.narrow(dim, start, side) for start, part in enumerate(parts)])
    return cut.index_select(0, order.argsort())


@needs_draws(2)
def cutout(images: Tensor, draws: Tensor, mean: Tensor, *, cutout: int) -> Tensor:
    """Cover a square of `cutout` pixels, its center anywhere in the image, with the mean color (DeVries 2017)."""
    height, width = images.shape[2:]
    top = (draws[:, 0] * height).long() - cutout // 2
    left = (draws[:, 1] * width).long() - cutout // 2
    return replaced(images, rectangle(images, top, left, cutout, cutout), mean[:, None, None])


@needs_draws(6)
def erasing(images: Tensor, draws: Tensor, mean: Tensor, *, erasing: float, erasing_fill: str = "mean") -> Tensor:
    """Cover a random rectangle in a fraction of the images, with the mean color or with noise (Zhong et al. 2020).

    Its area is 2 to 33 % of the image, its aspect ratio between 3:10 and 10:3, uniform in its logarithm, and it is
    inside of the image; a side longer than the image is the image's.
    """
    height, width = images.shape[2:]
    low, high = ERASED_AREA
    area = (low + (high - low) * draws[:, 1]) * height * width
    aspect = ERASED_ASPECT ** (2 * draws[:, 2] - 1)
    rows = (area / aspect).sqrt().round().clamp(1, height)
    columns = (area * aspect).sqrt().round().clamp(1, width)
    top, left = (draws[:, 3] * (height - rows + 1)).floor(), (draws[:, 4] * (width - columns + 1)).floor()
    covered = rectangle(images, top, left, rows[:, None], columns[:, None])
    covered &= draws[:, 0, None, None, None] < erasing
    fill = noise(images, draws[:, 5]) if erasing_fill == "noise" else mean[:, None, None]
    return replaced(images, covered, fill)


def rectangle(images: Tensor, top: Tensor, left: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    """Return the mask (N, 1, H, W) of a rectangle per image, whose corner (N,) may be outside; sizes (N, 1) or one."""
    rows = torch.arange(images.shape[2], device=images.device) - top[:, None]  # (N, H)
    columns = torch.arange(images.shape[3], device=images.device) - left[:, None]  # (N, W)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return inside[:, None]


def replaced(images: Tensor, where: Tensor, others: Tensor) -> Tensor:
    """Return images with the pixels of others where a mask says so: torch.where, which is slow for uint8, by bits."""
    return images ^ ((images ^ others) & where.to(torch.uint8).neg_())


def noise(images: Tensor, draws: Tensor) -> Tensor:
    """Return images of random pixels: each a part of one random sequence, which its draw (N,) chooses."""
    size = images[0].numel()
    generator = torch.Generator().manual_seed(0)
    sequence = torch.randint(256, (NOISE_OFFSETS + size,), dtype=torch.uint8, generator=generator).to(images.device)
    return sequence.unfold(0, size, 1)[(draws * NOISE_OFFSETS).long()].view_as(images)


def check_augmentation(steps: Mapping[str, partial[Any]], input_shape: tuple[int, int, int]) -> None:
    """Check that the steps that are on fit each other and images of this shape (C, H, W).

    Raises:
        UserError: two steps exclude each other, or a step cannot work with these images.
    """
    given = {key: value for step in steps.values() for key, value in step.keywords.items()}
    for first, second in (("crop_padding", "resized_crop"), ("trivial_augment", "randaugment_ops")):
        if first in given and second in given:
            raise UserError(
                f"augmentation.{first}={given[first]} excludes augmentation.{second}={given[second]}; "
                f"set augmentation.{first}=null or augmentation.{second}=null"
            )
    channels, *sides = input_shape
    if "saturation" in given and channels == 1:
        raise UserError(
            f"augmentation.saturation={given['saturation']} has no effect on gray images; "
            "choose augmentation.saturation=null"
        )
    if "crop_border" in given and given["crop_padding"] >= min(sides):
        raise UserError(
            f"augmentation.crop_padding={given['crop_padding']} is out of range with augmentation.crop_border=reflect: "
            f"must be below {min(sides)}, the images' smaller side"
        )
    alternating = {"flip"} if given.get("flip") == "alternating" else set()  # it flips all copies of an image alike
    if "repeats" in given and not any(changes_pixels(step) for name, step in steps.items() if name not in alternating):
        why = "augmentation.flip=alternating flips alike" if alternating else "no step changes"
        raise UserError(
            f"augmentation.repeats={given['repeats']} repeats images that {why}; "
            "choose augmentation.repeats=null or another augmentation as well"
        )


# In the order in which they are applied.
STEPS: Registry = {
    "repeats": repeats,
    "resized_crop": resized_crop,
    "flip": flip,
    "crop": crop,
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "trivial_augment": trivial_augment,
    "randaugment": randaugment,
    "cutout": cutout,
    "erasing": erasing,
}

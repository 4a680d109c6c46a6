"""Mixing of the images and targets of a training batch, as pure functions.

A choice takes normalized images (B, C, H, W) float32, targets (B,) int64, the number of classes K and where training
stands, and returns images of the same shape and targets, which may then be probabilities (B, K). An image is mixed with
the one before it in the batch. The draws follow from the seed and the step alone.
"""

import math

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.data.batches import Step


def none(images: Tensor, targets: Tensor, num_classes: int, step: Step) -> tuple[Tensor, Tensor]:
    """No mixing."""
    return images, targets


def mixup(
    images: Tensor, targets: Tensor, num_classes: int, step: Step, *, mixup_alpha: float, until: float
) -> tuple[Tensor, Tensor]:
    """Take the weighted mean of two images and of their targets (Zhang et al. 2018).

    The weight is drawn from Beta(mixup_alpha, mixup_alpha), once per batch. After the fraction `until` of training,
    images are not mixed.
    """
    if is_over(step, until):
        return images, targets
    share = numbers_of(step, "mixup").beta(mixup_alpha, mixup_alpha)
    return images.lerp(images.roll(1, 0), share), mixed_targets(targets, num_classes, share)


def cutmix(
    images: Tensor, targets: Tensor, num_classes: int, step: Step, *, cutmix_alpha: float, until: float
) -> tuple[Tensor, Tensor]:
    """Replace a rectangle of each image with that of another image, and weight targets by area (Yun et al. 2019).

    The rectangle, the same for the whole batch, has the shape of the image and a share of its area that is drawn from
    Beta(cutmix_alpha, cutmix_alpha). Its center is anywhere in the image; what is outside is cut off. After the
    fraction `until` of training, images are not mixed.
    """
    if is_over(step, until):
        return images, targets
    numbers = numbers_of(step, "cutmix")
    scale = math.sqrt(numbers.beta(cutmix_alpha, cutmix_alpha))
    height, width = images.shape[2:]
    rows, columns = (span(side, scale, numbers.random()) for side in (height, width))
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[:, :, rows, columns].roll(1, 0)
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return mixed, mixed_targets(targets, num_classes, share)


def mixup_cutmix(
    images: Tensor,
    targets: Tensor,
    num_classes: int,
    step: Step,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    until: float,
) -> tuple[Tensor, Tensor]:
    """Mix by mixup and by cutmix in turn, step by step."""
    if step.index % 2 == 0:
        return mixup(images, targets, num_classes, step, mixup_alpha=mixup_alpha, until=until)
    return cutmix(images, targets, num_classes, step, cutmix_alpha=cutmix_alpha, until=until)


def is_over(step: Step, until: float) -> bool:
    """Return whether the fraction `until` of training is done."""
    return step.index >= until * step.total


def numbers_of(step: Step, name: str) -> np.random.Generator:
    """Return a generator for the draws of this step: torch has no public draw from Beta with a generator."""
    return np.random.default_rng(step.generator(name).initial_seed())


def span(side: int, scale: float, center: float) -> slice:
    """Return the pixels of a side that a part `scale` of it covers, around a center in [0, 1)."""
    half, middle = int(side * scale) // 2, int(side * center)
    return slice(max(middle - half, 0), min(middle + half, side))


def mixed_targets(targets: Tensor, num_classes: int, share: float) -> Tensor:
    """Return the targets' probabilities (B, K), a share of them the previous image's."""
    probabilities = F.one_hot(targets, num_classes).float()
    return probabilities.lerp(probabilities.roll(1, 0), share)


MIXINGS: Registry = {"none": none, "mixup": mixup, "cutmix": cutmix, "mixup_cutmix": mixup_cutmix}

"""Mixing of the images and targets of a training batch, as pure functions.

A choice takes normalized images (B, C, H, W) float32, targets (B,) int64, the number of classes K and where training
stands, and returns images of the same shape and targets, which may then be probabilities (B, K).
"""

from torch import Tensor

from sweeper.choice import Registry
from sweeper.data.batches import Step


def none(images: Tensor, targets: Tensor, num_classes: int, step: Step) -> tuple[Tensor, Tensor]:
    return images, targets


MIXINGS: Registry = {"none": none}

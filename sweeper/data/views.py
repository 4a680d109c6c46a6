"""Views of test images, whose logits an evaluation may average.

A choice takes normalized images (B, C, H, W) float32 and yields views of the same shape.
"""

from collections.abc import Iterator

from torch import Tensor

from sweeper.choice import Registry


def none(images: Tensor) -> Iterator[Tensor]:
    yield images


VIEWS: Registry = {"none": none}

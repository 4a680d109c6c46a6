"""Views of test images, whose logits an evaluation may average.

A choice takes normalized images (B, C, H, W) float32 and yields views of the same shape.
"""

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry

Views = Callable[..., Iterator[Tensor]]


def weighted(*weights: float) -> Callable[[Views], Views]:
    """Mark a choice with the weights of its views; without them, all have the same."""

    def mark(views: Views) -> Views:
        views.weights = weights  # type: ignore[attr-defined]
        return views

    return mark


def none(images: Tensor) -> Iterator[Tensor]:
    """Each image as it is."""
    yield images


def mirror(images: Tensor) -> Iterator[Tensor]:
    """Each image and its mirror image."""
    yield images
    yield images.flip(-1)


@weighted(2, 2, 1, 1, 1, 1)
def mirror_shift(images: Tensor, *, shift: int) -> Iterator[Tensor]:
    """Each image and two shifts of it by `shift` pixels, each with its mirror image (airbench, Jordan 2024).

    The shifts go up and left, and down and right; the border is reflected. The image itself has as much weight as both
    shifts together. An image has more pixels than the shift in each direction.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (shift,) * 4, mode="reflect")
    for view in (images, padded[..., 2 * shift :, 2 * shift :], padded[..., :height, :width]):
        yield from mirror(view)


VIEWS: Registry = {"none": none, "mirror": mirror, "mirror_shift": mirror_shift}

"""Color jitter: augmentation steps that change brightness, contrast and saturation by a random factor.

Jitter as by Howard (2013); the factors and the operations are those of torchvision.
"""

from torch import Tensor

from sweeper.data import operations
from sweeper.data.draws import needs_draws


@needs_draws(1)
def brightness(images: Tensor, draws: Tensor, mean: Tensor, *, brightness: float) -> Tensor:
    """Multiply each image by a factor between 1 - brightness and 1 + brightness."""
    return operations.brightness(images, uniform(draws, brightness))


@needs_draws(1)
def contrast(images: Tensor, draws: Tensor, mean: Tensor, *, contrast: float) -> Tensor:
    """Scale the difference to the image's mean brightness by a factor between 1 - contrast and 1 + contrast."""
    return operations.contrast(images, uniform(draws, contrast))


@needs_draws(1)
def saturation(images: Tensor, draws: Tensor, mean: Tensor, *, saturation: float) -> Tensor:
    """Scale the difference to the gray image by a factor between 1 - saturation and 1 + saturation."""
    return operations.color(images, uniform(draws, saturation))


def uniform(draws: Tensor, largest: float) -> Tensor:
    """Return numbers (N,) between -largest and largest."""
    return (2 * draws[:, 0] - 1) * largest

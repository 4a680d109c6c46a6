"""Initial weights by name.

A choice changes a freshly built network in place. It draws from torch's global generator, which follows from the run's
seed. `images(n)` returns up to n normalized training images (N, C, H, W) float32, drawn at random.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from sweeper.choice import Registry

SomeImages = Callable[[int], Tensor]


def default(model: nn.Module, images: SomeImages) -> None:
    """Keep torch's initial weights; LeCun-normal weights for SELU, whose self-normalization needs them."""
    if any(isinstance(module, nn.SELU) for module in model.modules()):
        lecun_normal(model, images)


def lecun_normal(model: nn.Module, images: SomeImages) -> None:
    """Draw every weight from N(0, 1 / fan_in) and set every bias to 0 (LeCun et al. 1998)."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=1 / math.sqrt(fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


INITS: Registry = {"default": default, "lecun_normal": lecun_normal}

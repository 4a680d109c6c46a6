"""What networks of segmentation share: their mark, and upsampling that begins as bilinear interpolation.

They take images (N, C, H, W) and return the logits of each pixel (N, K, H, W).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def for_segmentation(function: Any) -> Any:
    """Mark a model that classifies pixels."""
    function.task = "segmentation"
    return function


def upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution that multiplies height and width by an even `factor`, see `bilinear`.

    Each channel is interpolated alone at first; all weights are trained (Long et al. 2015).
    """
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = bilinear(factor)
    return layer


def bilinear(factor: int) -> Tensor:
    """Return the filter (2 F, 2 F) of bilinear interpolation by a factor F."""
    distance = (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    weights = 1 - distance
    return weights[:, None] * weights


class ZeroScores(nn.Conv2d):
    """A 1x1 convolution from features to logits whose weights begin at 0, with every init."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__(channels, num_classes, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def padded(images: Tensor, factor: int) -> Tensor:
    """Pad images (N, C, H, W) with zeros, to the right and below, to sides that are multiples of `factor`."""
    height, width = images.shape[2:]
    return F.pad(images, (0, -width % factor, 0, -height % factor))


def convolutions(
    channels: tuple[int, ...],
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[[], nn.Module],
) -> nn.Sequential:
    """Return 3x3 convolutions from each number of channels to the next, each with norm and activation; then dropout."""
    layers: list[nn.Module] = []
    for fan_in, filters in pairwise(channels):
        layers += [nn.Conv2d(fan_in, filters, 3, padding=1), norm(filters, 2), activation()]
    return nn.Sequential(*layers, dropout())

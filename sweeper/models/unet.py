"""Networks of segmentation that start from scratch: a U-Net, and a linear classifier of patches as its baseline."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.models.architecture import takes_steps
from sweeper.models.linear import Shape
from sweeper.models.pixelwise import convolutions, for_segmentation, padded, upsampling


@for_segmentation
@takes_steps("logit_scale")
def patch_softmax(input_shape: Shape, num_classes: int, *, kernel_size: int) -> nn.Module:
    """Softmax regression of each pixel's class from the patch around it: a single convolution.

    Raises:
        UserError: the patch has no pixel in its middle.
    """
    if kernel_size % 2 == 0:
        raise UserError(f"model.kernel_size={kernel_size} has no middle pixel; choose an odd number")
    return nn.Conv2d(input_shape[0], num_classes, kernel_size, padding=kernel_size // 2)


class UNet(nn.Module):
    """Convolutions at several resolutions, down and up again, with connections between equal resolutions."""

    def __init__(
        self,
        input_shape: Shape,
        num_classes: int,
        widths: list[int],
        activation: Callable[[], nn.Module],
        norm: Callable[[int, int], nn.Module],
        dropout: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            convolutions((fan_in, filters, filters), activation, norm, dropout)
            for fan_in, filters in pairwise([input_shape[0], *widths])
        )
        self.pool = nn.MaxPool2d(2)
        ascending = list(pairwise(reversed(widths)))
        self.larger = nn.ModuleList(upsampling(below, 2) for below, _ in ascending)
        self.up = nn.ModuleList(
            convolutions((below + filters, filters, filters), activation, norm, dropout) for below, filters in ascending
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        skipped: list[Tensor] = []
        height, width = images.shape[2:]
        maps = padded(images, 2 ** len(self.larger))
        for level, block in enumerate(self.down):
            maps = block(self.pool(maps) if level else maps)
            skipped.append(maps)
        skipped.pop()
        for larger, block in zip(self.larger, self.up, strict=True):
            maps = block(torch.cat([larger(maps), skipped.pop()], 1))
        logits: Tensor = self.head(maps)
        return logits[..., :height, :width]


@for_segmentation
@takes_steps("fixed_scale", "logit_scale")
def unet(
    input_shape: Shape,
    num_classes: int,
    *,
    widths: list[int],
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[[], nn.Module],
) -> nn.Module:
    """U-Net (Ronneberger et al. 2015), with padded convolutions and a resolution for each of `widths`."""
    return UNet(input_shape, num_classes, widths, activation, norm, dropout)

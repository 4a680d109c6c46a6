"""The network of airbench: few layers, fast to train to 94% on CIFAR-10 (Jordan 2024)."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.errors import UserError
from sweeper.models.architecture import takes_steps
from sweeper.models.linear import Shape


class OffsetConv2d(nn.Conv2d):
    """A convolution without padding whose bias starts at 0 and is named offset.

    `optimizer.bias_lr_factor` is for biases, in this network those of the norms, and leaves the offset alone.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, bias=False)
        self.offset = nn.Parameter(torch.zeros(out_channels))

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, self.offset)


@takes_steps("fixed_scale", "logit_scale")
def airbench(
    input_shape: Shape,
    num_classes: int,
    *,
    widths: list[int],
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
) -> nn.Module:
    """A 2x2 convolution, and for each width a group of two 3x3 convolutions; then one linear layer (Jordan 2024).

    The first convolution has as many filters as init=whitening fills: twice the numbers of a patch. A group's first
    convolution is followed by 2x2 max pooling, both by norm and activation. The last group's maximum over positions is
    classified. Only the first convolution has a bias.

    Args:
        widths: filters of each group; 64, 256, 256 are those of airbench94.

    Raises:
        UserError: the images are too small for so many groups.
    """
    channels, *sides = input_shape
    filters = 2 * channels * 2 * 2
    layers: list[nn.Module] = [OffsetConv2d(channels, filters, 2), activation()]
    sides = [side - 1 for side in sides]
    for fan_in, width in pairwise([filters, *widths]):
        sides = [side // 2 for side in sides]
        convolutions = [nn.Conv2d(inputs, width, 3, padding=1, bias=False) for inputs in (fan_in, width)]
        norms = [norm(width, 2) for _ in convolutions]
        parts = [convolutions[0], nn.MaxPool2d(2), norms[0], activation(), convolutions[1], norms[1], activation()]
        layers.append(nn.Sequential(*parts))
        values = width // norms[0].num_groups * sides[0] * sides[1] if isinstance(norms[0], nn.GroupNorm) else 2
        if min(sides) < 1 or values < 2:  # a single value has no variance
            raise UserError(f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for the layers")
    height, width = sides
    return nn.Sequential(
        *layers, nn.MaxPool2d((height, width)), nn.Flatten(), nn.Linear(widths[-1], num_classes, bias=False)
    )

"""Small convolutional networks, downsampled by strides or by max pooling after every convolution."""

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from sweeper.errors import UserError
from sweeper.models.linear import Shape


def cnn(
    input_shape: Shape,
    num_classes: int,
    *,
    channels: list[int],
    kernel_size: int,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[[], nn.Module],
) -> nn.Module:
    """Convolutions of stride 2, each with norm, activation and dropout; then one fully connected layer."""
    layers: list[nn.Module] = []
    for fan_in, filters in pairwise([input_shape[0], *channels]):
        conv = nn.Conv2d(fan_in, filters, kernel_size, stride=2, padding=kernel_size // 2)
        layers += [conv, norm(filters, 2), activation(), dropout()]
    return classifier(layers, input_shape, num_classes)


def cnn_pool(
    input_shape: Shape,
    num_classes: int,
    *,
    channels: list[int],
    kernel_size: int,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[[], nn.Module],
) -> nn.Module:
    """Convolutions of stride 1, each with norm, activation, 2x2 max pooling and dropout; then one linear layer."""
    layers: list[nn.Module] = []
    for fan_in, filters in pairwise([input_shape[0], *channels]):
        conv = nn.Conv2d(fan_in, filters, kernel_size, padding=kernel_size // 2)
        layers += [conv, norm(filters, 2), activation(), nn.MaxPool2d(2), dropout()]
    return classifier(layers, input_shape, num_classes)


def classifier(layers: list[nn.Module], input_shape: Shape, num_classes: int) -> nn.Module:
    """Add a linear classifier to the layers, its input size computed from convolutions and pools.

    Not by a forward pass on the meta device, whose first call imports torch's symbolic shapes: 150 MB and a second.

    Raises:
        UserError: the images are too small for the layers.
    """
    channels, *sides = input_shape
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            padding, kernel, stride = int(layer.padding[0]), layer.kernel_size[0], layer.stride[0]
            sides = [(side + 2 * padding - kernel) // stride + 1 for side in sides]
        elif isinstance(layer, nn.MaxPool2d):
            sides = [side // 2 for side in sides]
        useless = isinstance(layer, nn.GroupNorm) and channels // layer.num_groups * sides[0] * sides[1] == 1
        if min(sides) < 1 or useless:  # a single value has no variance
            raise UserError(f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for the layers")
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * sides[0] * sides[1], num_classes))

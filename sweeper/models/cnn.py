"""Small convolutional networks: strides or max pooling halve the image after every convolution."""

from collections.abc import Callable
from itertools import pairwise

import torch
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
    """The layers with a linear classifier on top, its inputs counted by a first blank image.

    Raises:
        UserError: the images are so small that nothing is left of them after the layers.
    """
    features = nn.Sequential(*layers, nn.Flatten())
    try:
        with torch.no_grad():
            width = features.eval()(torch.zeros(1, *input_shape)).shape[1]
    except (RuntimeError, ValueError) as error:
        raise UserError(f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for the layers") from error
    return features.train().append(nn.Linear(width, num_classes))

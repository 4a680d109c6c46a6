"""Fully connected networks."""

import math
from collections.abc import Callable
from itertools import pairwise

from torch import nn

from sweeper.models.linear import Shape


def mlp(
    input_shape: Shape,
    num_classes: int,
    *,
    hidden: list[int],
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[[], nn.Module],
) -> nn.Module:
    """Hidden layers of `hidden` units: linear, norm, activation, dropout each; then a linear classifier."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [math.prod(input_shape), *hidden]
    for fan_in, units in pairwise(sizes):
        layers += [nn.Linear(fan_in, units), norm(units, 1), activation(), dropout()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))

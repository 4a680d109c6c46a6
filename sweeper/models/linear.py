"""The softmax classifier: one linear layer on the pixels."""

import math

from torch import nn

Shape = tuple[int, int, int]  # channels, height, width of an image


def softmax(input_shape: Shape, num_classes: int) -> nn.Module:
    """Multinomial logistic regression; it has no hidden layer, so no activation, norm or dropout."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))

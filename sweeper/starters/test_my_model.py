"""Tests of my_model: python -m pytest test_my_model.py."""

import torch
from torch import nn

from my_model import my_model


def test_it_turns_images_into_logits() -> None:
    network = my_model((3, 8, 8), 5, activation=nn.ReLU, dropout=nn.Identity, units=4)
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    assert sum(parameter.numel() for parameter in network.parameters()) == (3 * 8 * 8 + 1) * 4 + (4 + 1) * 5

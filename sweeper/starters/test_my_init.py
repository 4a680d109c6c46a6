"""Tests of my_init: python -m pytest test_my_init.py."""

import torch
from torch import nn

from my_init import my_init


def test_weights_are_cut_off_and_biases_are_zero() -> None:
    layer = nn.Linear(100, 50)
    my_init(nn.Sequential(layer), lambda number: torch.empty(0), deviations=1.5)
    assert 0.14 < float(layer.weight.detach().abs().max()) <= 0.15 + 1e-6  # 1.5 deviations of 1 / sqrt(100)
    assert not layer.bias.any()

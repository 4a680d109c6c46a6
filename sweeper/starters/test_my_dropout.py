"""Tests of my_dropout: python -m pytest test_my_dropout.py."""

import torch
from torch import nn

from my_dropout import my_dropout


def test_it_does_nothing_outside_of_training() -> None:
    inputs = torch.randn(5, 8)
    assert torch.equal(my_dropout(nn.Dropout, rate=0.5).eval()(inputs), inputs)


def test_the_noise_has_the_moments_of_dropout() -> None:
    torch.manual_seed(0)
    outputs = my_dropout(nn.Dropout, rate=0.2)(torch.ones(100_000))
    assert abs(float(outputs.mean()) - 1) < 0.01 and abs(float(outputs.var()) - 0.25) < 0.01

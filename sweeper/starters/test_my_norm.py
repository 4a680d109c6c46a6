"""Tests of my_norm: python -m pytest test_my_norm.py."""

import torch

from my_norm import my_norm


def test_the_mean_square_over_channels_becomes_one() -> None:
    for shape, dims in (((4, 6), 1), ((4, 6, 3, 3), 2)):
        outputs = my_norm(6, dims)(torch.randn(shape) * 5)
        torch.testing.assert_close(outputs.square().mean(1), torch.ones_like(outputs[:, 0]))

"""Tests of my_activation: python -m pytest test_my_activation.py."""

import torch
from torch.nn import functional as F

from my_activation import my_activation


def test_it_is_silu_where_beta_is_one() -> None:
    inputs = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(my_activation(beta=1.0)(inputs), F.silu(inputs))


def test_a_large_beta_is_nearly_relu() -> None:
    inputs = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(my_activation(beta=50.0)(inputs), F.relu(inputs))

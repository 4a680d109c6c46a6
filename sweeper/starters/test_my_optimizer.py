"""Tests of my_optimizer: python -m pytest test_my_optimizer.py."""

import torch
from torch import nn

from my_optimizer import my_optimizer


def test_a_step_is_a_fraction_lr_of_the_weights_against_the_gradient() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = my_optimizer([("weight", weight)], lr=0.1)
    (weight * torch.tensor([0.0, 7.0])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 3.5]))

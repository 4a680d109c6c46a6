"""Tests of my_architecture: python -m pytest test_my_architecture.py."""

import torch
from torch import nn

from my_architecture import my_architecture
from sweeper.models.architecture import Layers


def test_logits_are_bounded_and_small_ones_are_kept() -> None:
    model = nn.Sequential(nn.Identity())
    my_architecture(model, Layers(nn.ReLU, lambda num_features, dims: nn.Identity()), my_architecture=2.0)
    outputs = model(torch.tensor([-100.0, 0.01, 100.0]))
    torch.testing.assert_close(outputs, torch.tensor([-2.0, 0.01, 2.0]), rtol=0, atol=1e-4)

"""my_norm: a normalization, after each hidden layer.

Train with it:

    python train.py extend=my_norm.py norm=my_norm model=mlp data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`norm.eps=0.001` changes it, and `-m norm.eps=0.001,0.1` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import Tensor, nn


class MyNorm(nn.Module):
    """Divide by the root mean square over channels, and multiply by a trained scale per channel."""

    def __init__(self, num_features: int, eps: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_features))
        self.eps = eps

    def forward(self, inputs: Tensor) -> Tensor:  # (N, C) or (N, C, H, W)
        normalized = inputs * torch.rsqrt(inputs.square().mean(1, keepdim=True) + self.eps)
        return normalized * self.scale.view(1, -1, *[1] * (inputs.ndim - 2))


def my_norm(num_features: int, dims: int, *, eps: float = 1e-6) -> nn.Module:
    """Return a new layer for `num_features` channels; dims is 1 for units (N, C), 2 for images (N, C, H, W)."""
    return MyNorm(num_features, eps)


NORMS = {"my_norm": my_norm}  # choices by name; one file may have several, of several groups

"""my_dropout: a kind of dropout, on hidden layers.

Train with it:

    python train.py extend=my_dropout.py dropout=my_dropout model=mlp data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`dropout.rate=0.3` changes it, and `-m dropout.rate=0.1,0.3` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import Tensor, nn


class MyDropout(nn.Module):
    """Multiply by noise of mean 1 and variance rate / (1 - rate), in training only (Gaussian dropout)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.p = rate

    def forward(self, inputs: Tensor) -> Tensor:
        deviation = (self.p / (1 - self.p)) ** 0.5
        return inputs * (1 + deviation * torch.randn_like(inputs)) if self.training else inputs


def my_dropout(kind: type[nn.Module], *, rate: float = 0.1) -> nn.Module:
    """Return a new layer. `kind` is what suits the activation: nn.AlphaDropout for selu, else nn.Dropout."""
    return MyDropout(rate)


DROPOUTS = {"my_dropout": my_dropout}  # choices by name; one file may have several, of several groups

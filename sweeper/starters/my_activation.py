"""my_activation: an activation, the nonlinearity of hidden layers.

Train with it:

    python train.py extend=my_activation.py activation=my_activation data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`activation.beta=2` changes it, and `-m activation.beta=1,2` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import Tensor, nn


class MyActivation(nn.Module):
    """x sigmoid(beta x), element by element."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * torch.sigmoid(self.beta * inputs)


def my_activation(*, beta: float = 1.5) -> nn.Module:
    """Return a new layer. A model calls this once for each of its activations."""
    return MyActivation(beta)


ACTIVATIONS = {"my_activation": my_activation}  # choices by name; one file may have several, of several groups

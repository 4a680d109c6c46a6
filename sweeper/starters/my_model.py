"""my_model: a network.

Train with it:

    python train.py extend=my_model.py model=my_model data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`model.units=256` changes it, and `-m model.units=64,256` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import math
from collections.abc import Callable

from torch import nn


def my_model(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    activation: Callable[[], nn.Module],
    dropout: Callable[[], nn.Module],
    units: int = 128,
) -> nn.Module:
    """Return a network from images (N, C, H, W) to logits (N, num_classes), its weights drawn by torch.

    The arguments `activation`, `norm` and `dropout` are slots, filled by the choices of these groups: `activation()`
    and `dropout()` return a new layer, `norm(num_features, dims)` one after a linear layer (dims 1) or a convolution
    (dims 2). Leave out the slots that the network lacks.
    """
    hidden = nn.Linear(math.prod(input_shape), units)
    return nn.Sequential(nn.Flatten(), hidden, activation(), dropout(), nn.Linear(units, num_classes))


MODELS = {"my_model": my_model}  # choices by name; one file may have several, of several groups

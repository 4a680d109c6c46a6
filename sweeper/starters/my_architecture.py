"""my_architecture: a step of architecture, a change of a network.

Train with it:

    python train.py extend=my_architecture.py architecture=my_architecture data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`architecture.my_architecture=5` changes it, and null turns the step off.
After an edit, runs that used what was edited are trained again.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.models.architecture import Layers


def capped(limit: float, module: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
    return limit * torch.tanh(logits / limit)


def my_architecture(model: nn.Module, layers: Layers, *, my_architecture: float = 10.0) -> None:
    """Change a freshly built network in place, before its weights are initialized: here, bound its logits.

    `layers.activation()` and `layers.norm(num_features, dims)` return new layers of the run's kinds. Raise
    sweeper.errors.UserError for a network that the step does not apply to.

    Args:
        my_architecture: the limit. The first setting turns the step on, so its name must be new to the group.
    """
    model.register_forward_hook(partial(capped, my_architecture))


# Steps by name. They combine with all others: architecture=fixed_scale architecture.my_architecture=5
ARCHITECTURES = {"my_architecture": my_architecture}

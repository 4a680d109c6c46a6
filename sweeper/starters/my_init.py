"""my_init: how weights are initialized.

Train with it:

    python train.py extend=my_init.py init=my_init data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`init.deviations=3` changes it, and `-m init.deviations=1,3` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

from collections.abc import Callable

from torch import Tensor, nn

from sweeper.models.init import weight_layers, zero_bias


def my_init(model: nn.Module, images: Callable[[int], Tensor], *, deviations: float = 2.0) -> None:
    """Change the weights of a freshly built network in place.

    Random numbers come from torch's global generator, which follows from the run's seed. `images(n)` returns up to n
    normalized training images (N, C, H, W).
    """
    for layer in weight_layers(model):  # convolutions and linear layers
        std = layer.weight[0].numel() ** -0.5  # of unit variance per input
        nn.init.trunc_normal_(layer.weight, std=std, a=-deviations * std, b=deviations * std)
        zero_bias(layer)


INITS = {"my_init": my_init}  # choices by name; one file may have several, of several groups

"""The slots of a network: activation, norm and dropout by name.

A function's keyword-only arguments are the settings that the choice uses. With these filled in, each call of
`activation()`, `norm(num_features, dims)` or `dropout()` makes one fresh layer; dims is 1 for units, 2 for images.
"""

import math
from collections.abc import Callable

from torch import nn

from sweeper.errors import UserError


def relu() -> nn.Module:
    return nn.ReLU()


def leaky_relu(*, negative_slope: float) -> nn.Module:
    return nn.LeakyReLU(negative_slope)


def selu() -> nn.Module:
    """Self-normalising (Klambauer et al. 2017): comes with LeCun-normal weights and alpha dropout."""
    return nn.SELU()


def gelu() -> nn.Module:
    return nn.GELU()


def silu() -> nn.Module:
    return nn.SiLU()


def tanh() -> nn.Module:
    return nn.Tanh()


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "selu": selu,
    "gelu": gelu,
    "silu": silu,
    "tanh": tanh,
}


def none(num_features: int, dims: int) -> nn.Module:
    return nn.Identity()


def batch(num_features: int, dims: int) -> nn.Module:
    """Batch normalisation (Ioffe & Szegedy 2015)."""
    return nn.BatchNorm1d(num_features) if dims == 1 else nn.BatchNorm2d(num_features)


def layer(num_features: int, dims: int) -> nn.Module:
    """Layer normalisation (Ba et al. 2016), over channels and places, as one group of all channels."""
    return nn.GroupNorm(1, num_features)


def group(num_features: int, dims: int, *, num_groups: int) -> nn.Module:
    """Group normalisation (Wu & He 2018).

    Raises:
        UserError: the number of groups does not divide the number of channels, or a group would be a single number.
    """
    if dims == 1 and num_groups == num_features:
        raise UserError(f"norm.num_groups={num_groups} leaves one unit a group, which would always be normalised to 0")
    if num_features % num_groups:
        raise UserError(f"norm.num_groups={num_groups} does not divide a hidden layer's {num_features} channels")
    return nn.GroupNorm(num_groups, num_features)


NORMS: dict[str, Callable[..., nn.Module]] = {"none": none, "batch": batch, "layer": layer, "group": group}


def dropout(kind: type[nn.Dropout] | type[nn.AlphaDropout], *, rate: float) -> nn.Module:
    """Dropout (Srivastava et al. 2014) of the kind that suits the activation; nothing at rate 0."""
    return kind(rate) if rate > 0 else nn.Identity()


DROPOUTS: dict[str, Callable[..., nn.Module]] = {"none": dropout, "light": dropout, "heavy": dropout}


def lecun_normal_(model: nn.Module) -> None:
    """Draw every weight from N(0, 1 / fan_in) and set every bias to 0, in place (LeCun et al. 1998)."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=1 / math.sqrt(fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)

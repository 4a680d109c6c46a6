"""The slots of a network: activation, norm and dropout by name.

A function's keyword-only arguments are the settings that the choice uses. With these filled in, each call of
`activation()`, `norm(num_features, dims)` or `dropout()` returns a new layer; dims is 1 for units, 2 for images.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.choice import Registry
from sweeper.errors import UserError


def own(num_features: int = 0, dims: int = 2) -> nn.Module:
    """The activations or norms that a network of a library has by itself."""
    return nn.Identity()  # in its place, where it is asked for a layer


def relu() -> nn.Module:
    """max(0, x) (Nair & Hinton 2010)."""
    return nn.ReLU()


def leaky_relu(*, negative_slope: float) -> nn.Module:
    """x above zero, `negative_slope` times x below (Maas et al. 2013)."""
    return nn.LeakyReLU(negative_slope)


def selu() -> nn.Module:
    """Self-normalizing (Klambauer et al. 2017); implies LeCun-normal weights and alpha dropout."""
    return nn.SELU()


def gelu() -> nn.Module:
    """x Phi(x), with the standard normal CDF Phi (Hendrycks & Gimpel 2016)."""
    return nn.GELU()


def silu() -> nn.Module:
    """x sigmoid(x), also called swish (Elfwing et al. 2018; Ramachandran et al. 2017)."""
    return nn.SiLU()


def tanh() -> nn.Module:
    """The hyperbolic tangent, the usual choice before ReLU (LeCun et al. 1998)."""
    return nn.Tanh()


ACTIVATIONS: Registry = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "selu": selu,
    "gelu": gelu,
    "silu": silu,
    "tanh": tanh,
    "own": own,
}


def none(num_features: int, dims: int) -> nn.Module:
    """No normalization."""
    return nn.Identity()


def batch(num_features: int, dims: int, *, momentum: float | None = None, eps: float | None = None) -> nn.Module:
    """Batch normalization (Ioffe & Szegedy 2015); null settings take torch's defaults."""
    kind = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
    return kind(num_features, **given(momentum=momentum, eps=eps))


def given(**settings: Any) -> dict[str, Any]:
    """Return the settings that are not null."""
    return {name: value for name, value in settings.items() if value is not None}


class GhostBatchNorm1d(nn.BatchNorm1d):
    """Batch norm of units (N, C), see `ghost_batch`."""

    ghost_size: int

    def forward(self, input: Tensor) -> Tensor:
        normalize = super().forward
        return in_ghosts(normalize, input, self.ghost_size) if self.training else normalize(input)


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of images (N, C, H, W), see `ghost_batch`."""

    ghost_size: int

    def forward(self, input: Tensor) -> Tensor:
        normalize = super().forward
        return in_ghosts(normalize, input, self.ghost_size) if self.training else normalize(input)


def in_ghosts(normalize: Callable[[Tensor], Tensor], batch: Tensor, ghost_size: int) -> Tensor:
    """Normalize N // ghost_size parts of a batch of N, of sizes as equal as possible, one after the other."""
    return torch.cat([normalize(part) for part in batch.tensor_split(max(1, len(batch) // ghost_size))])


def ghost_batch(
    num_features: int, dims: int, *, ghost_size: int, momentum: float | None = None, eps: float | None = None
) -> nn.Module:
    """Batch normalization of each part of the batch by its own statistics (Hoffer et al. 2017).

    The parts, of at least `ghost_size` images, update the running statistics one after the other.
    """
    kind = GhostBatchNorm1d if dims == 1 else GhostBatchNorm2d
    norm = kind(num_features, **given(momentum=momentum, eps=eps))
    norm.ghost_size = ghost_size
    return norm


def layer(num_features: int, dims: int) -> nn.Module:
    """Layer normalization (Ba et al. 2016), over channels and positions, as a single group of all channels."""
    return nn.GroupNorm(1, num_features)


def group(num_features: int, dims: int, *, num_groups: int) -> nn.Module:
    """Group normalization (Wu & He 2018).

    Raises:
        UserError: the number of groups does not divide the number of channels, or a group would hold a single number.
    """
    if dims == 1 and num_groups == num_features:
        raise UserError(f"norm.num_groups={num_groups} leaves a single unit per group, always normalized to 0")
    if num_features % num_groups:
        raise UserError(f"norm.num_groups={num_groups} does not divide a hidden layer's {num_features} channels")
    return nn.GroupNorm(num_groups, num_features)


NORMS: Registry = {
    "none": none,
    "batch": batch,
    "ghost_batch": ghost_batch,
    "layer": layer,
    "group": group,
    "own": own,
}


def dropout(kind: type[nn.Dropout] | type[nn.AlphaDropout], *, rate: float) -> nn.Module:
    """Dropout (Srivastava et al. 2014) of the kind that suits the activation; nothing at rate 0."""
    return kind(rate) if rate > 0 else nn.Identity()


DROPOUTS: Registry = {"dropout": dropout}

"""Augmentation policies: steps that draw operations from one table, TrivialAugment and RandAugment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from sweeper.data import operations
from sweeper.data.draws import needs_draws
from sweeper.data.operations import PART

LEVELS = 31  # of strength, from none to the largest


@dataclass(frozen=True)
class Operation:
    """An operation and its largest strengths.

    Attributes:
        maps: for a geometric operation, which `apply` applies: its affine maps, from strengths and height and width.
        standard: the largest strength in the space of RandAugment; a share of the side `side` where that is given.
        wide: the largest strength in the wide space of TrivialAugment.
        signed: whether half of the strengths are negative.
        side: the dimension of the images that `standard` is a share of.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    standard: float = 0.0
    wide: float = 0.0
    signed: bool = True
    side: int | None = None
    maps: Callable[[Tensor, int, int], Tensor] | None = None

    def largest(self, space: str, shape: torch.Size) -> float:
        """Return the largest strength for images of this shape."""
        if space == "wide":
            return self.wide
        return self.standard if self.side is None else self.standard * shape[self.side]

    def parameters(self, strength: Tensor, shape: torch.Size) -> Tensor:
        """Return what `apply` needs to apply these strengths (N,) to images of this shape."""
        return strength if self.maps is None else self.maps(strength, *shape[2:])


# The strengths are those of torchvision.
OPERATIONS: tuple[Operation, ...] = (
    Operation(operations.identity),
    Operation(operations.warp, 0.3, 0.99, maps=operations.shear_x),
    Operation(operations.warp, 0.3, 0.99, maps=operations.shear_y),
    Operation(operations.warp, 150 / 331, 32, side=3, maps=operations.translate_x),  # pixels
    Operation(operations.warp, 150 / 331, 32, side=2, maps=operations.translate_y),
    Operation(operations.warp, 30, 135, maps=operations.rotate),  # degrees
    Operation(operations.brightness, 0.9, 0.99),
    Operation(operations.color, 0.9, 0.99),
    Operation(operations.contrast, 0.9, 0.99),
    Operation(operations.sharpness, 0.9, 0.99),
    Operation(operations.posterize, 4, 6, signed=False),  # bits
    Operation(operations.solarize, 255, 255, signed=False),
    Operation(operations.autocontrast, signed=False),
    Operation(operations.equalize, signed=False),
)


@needs_draws(3)
def trivial_augment(images: Tensor, draws: Tensor, mean: Tensor, *, trivial_augment: str) -> Tensor:
    """Apply one random operation of random strength to each image (Müller & Hutter 2021).

    Strengths are up to those of RandAugment (`standard`) or far more (`wide`).
    """
    level = (draws[:, 1] * LEVELS).floor()
    return apply_drawn(images, draws[:, :1], draws[:, 2:], level, trivial_augment)


@needs_draws(lambda randaugment_ops, **_: 2 * randaugment_ops)
def randaugment(
    images: Tensor, draws: Tensor, mean: Tensor, *, randaugment_ops: int, randaugment_magnitude: int
) -> Tensor:
    """Apply `randaugment_ops` random operations of one strength to each image (Cubuk et al. 2020)."""
    level = torch.full_like(draws[:, 0], randaugment_magnitude)
    return apply_drawn(images, draws[:, ::2], draws[:, 1::2], level, "standard")


def apply_drawn(
    images: Tensor,
    which: Tensor,
    sign: Tensor,
    level: Tensor,
    space: str,
    operations: Sequence[Operation] = OPERATIONS,
) -> Tensor:
    """Apply L operations to each image, one after the other.

    Images with the same operation, and those of all affine maps, are changed together, as many as fit a processor's
    cache. They are moved together for it, from where the operation before left them.

    Args:
        images: (N, C, H, W) uint8.
        which: (N, L) in [0, 1), choose the operations.
        sign: (N, L) in [0, 1), below a half for a negative strength.
        level: (N,) from 0 to LEVELS - 1, for no strength to the largest in this space.
        operations: others with the strengths of OPERATIONS.
    """
    shape = images.shape
    signed = [(it.largest(space, shape), it.largest(space, shape) * (-1 if it.signed else 1)) for it in operations]
    numbers = (which.T * len(operations)).long()
    strengths = level * torch.tensor(signed, device=images.device)[numbers, (sign.T < 0.5).long()] / (LEVELS - 1)
    place = torch.arange(len(images), device=images.device)  # of each image
    for number, strength in zip(numbers, strengths, strict=True):
        order = number.argsort(stable=True)
        sizes = number.bincount(minlength=len(operations)).tolist()
        drawn = zip(operations, strength[order].split(sizes), strict=True)
        places, changed = place[order], []
        for apply, group in groupby(drawn, key=lambda one: one[0].apply):
            values = [operation.parameters(of_operation, shape) for operation, of_operation in group]
            for part in (values[0] if len(values) == 1 else torch.cat(values)).split(PART):
                chosen, places = places[: len(part)], places[len(part) :]
                changed.append(apply(images.index_select(0, chosen), part) if len(part) > 0 else images[:0])
        images, place = torch.cat(changed), order.argsort()
    return images.index_select(0, place)

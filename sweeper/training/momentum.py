"""Momentum that follows a learning-rate schedule."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from sweeper.errors import UserError
from sweeper.training.schedules import LRMultiplier, WithMomentum


def momentum_of(group: dict[str, Any]) -> float:
    """Return the momentum of a parameter group, or the first of its betas; 0 where it has neither."""
    return float(group["momentum"] if "momentum" in group else group.get("betas", (0.0,))[0])


def set_momentum(optimizer: Optimizer, momenta: Sequence[float]) -> None:
    """Set the momentum, or the first of the betas, of each parameter group."""
    for group, momentum in zip(optimizer.param_groups, momenta, strict=True):
        if "momentum" in group:
            group["momentum"] = momentum
        else:
            group["betas"] = (momentum, group["betas"][1])


def follow(optimizer: Optimizer, multiplier: LRMultiplier) -> Callable[[int], list[float]] | None:
    """Return the momentum of each parameter group at a step; None where the schedule does not change it.

    Args:
        optimizer: new, with its own momentum.

    Raises:
        UserError: the schedule changes momentum, and that of a group is not above the schedule's minimum.
    """
    if not isinstance(multiplier, WithMomentum):
        return None
    own = [momentum_of(group) for group in optimizer.param_groups]
    if min(own) <= multiplier.min_momentum:
        raise UserError(
            f"scheduler.min_momentum={multiplier.min_momentum} must be below the optimizer's momentum (or first "
            f"beta), which is {min(own)}"
        )
    momentum_at = multiplier.momentum_at
    return lambda step: [momentum_at(step, momentum) for momentum in own]

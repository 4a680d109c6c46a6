"""my_optimizer: an update rule.

Train with it:

    python train.py extend=my_optimizer.py optimizer=my_optimizer data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`optimizer.lr=0.1` changes it, and `-m optimizer.lr=0.01,0.1` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.training.without_dynamo import WithoutDynamo, loss_of


class MyOptimizer(WithoutDynamo):
    """Steps of a length that follows from the weights, not from the gradients: w <- w - lr |w| g / |g|."""

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, weight_decay: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        loss = loss_of(closure)  # which computes the gradients
        for group in self.param_groups:  # its lr is set before each step, by the schedule
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                gradient = weight.grad + group["weight_decay"] * weight
                length = weight.norm().clamp(min=1e-3) / gradient.norm().clamp(min=1e-12)
                weight.sub_(gradient, alpha=float(group["lr"] * length))
        return loss


def my_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], *, lr: float = 0.01, weight_decay: float = 0.0
) -> Optimizer:
    """Return an optimizer of named parameters; each of its groups has an `lr_factor`, which multiplies its rate."""
    groups = [{"params": [parameter for _, parameter in parameters], "lr_factor": 1.0}]
    return MyOptimizer(groups, lr=lr, weight_decay=weight_decay)


OPTIMIZERS = {"my_optimizer": my_optimizer}  # choices by name; one file may have several, of several groups

"""The optimizer Lion."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sweeper.training.without_dynamo import WithoutDynamo, loss_of


class Lion(WithoutDynamo):
    """Evolved sign momentum (Chen et al. 2023).

    w <- w (1 - lr decay) - lr sign(b1 m + (1 - b1) g), then m <- b2 m + (1 - b2) g.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        loss = loss_of(closure)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["exp_avg"] = torch.zeros_like(weight)
            moments = [self.state[weight]["exp_avg"] for weight in weights]
            lr, (beta1, beta2) = group["lr"], group["betas"]
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
            signs = torch._foreach_sign(torch._foreach_lerp(moments, gradients, 1 - beta1))
            torch._foreach_add_(weights, signs, alpha=-lr)
            torch._foreach_lerp_(moments, gradients, 1 - beta2)
        return loss

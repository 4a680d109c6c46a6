"""Sharpness-aware minimization, around the step of another optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

ETA = 0.01  # added to the size of a weight by ASAM, as in its paper


class SAM(Optimizer):
    """SAM (Foret et al. 2021) and ASAM (Kwon et al. 2021): step with the gradient of a nearby point of higher loss.

    The point is w + rho T^2 g / |T g|, with T = 1 for SAM and T = |w| + 0.01 for ASAM. Both gradients are of one
    function: dropout draws the same in the second pass as in the first, as in the code of Foret et al.

    Args:
        base: the optimizer that makes the step; its parameter groups are shared.
        interval: steps from one such step to the next; the steps between are those of the base optimizer.
    """

    def __init__(self, base: Optimizer, *, rho: float, interval: int, adaptive: bool) -> None:
        self.base, self.rho, self.interval, self.adaptive = base, rho, interval, adaptive
        self.num_steps = 0
        self.share_state()

    def share_state(self) -> None:
        base = self.base
        self.defaults, self.param_groups, self.state = base.defaults, base.param_groups, base.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        assert closure is not None
        sharp = self.num_steps % self.interval == 0
        on_gpu = [weight.device for weight in self.param_groups[0]["params"][:1] if weight.is_cuda]
        with torch.random.fork_rng(on_gpu, enabled=sharp), torch.enable_grad():
            loss = closure()
        if sharp:
            every = [weight for group in self.param_groups for weight in group["params"] if weight.grad is not None]
            before = [weight.clone() for weight in every]
            torch._foreach_add_(every, self.ascent(every))
            with torch.enable_grad():
                closure()
            torch._foreach_copy_(every, before)
        self.num_steps += 1
        self.base.step()
        return loss

    def ascent(self, weights: list[Tensor]) -> list[Tensor]:
        """Return the offset from the weights to the point of higher loss."""
        way: Any = [weight.grad for weight in weights]
        sizes: Any = torch._foreach_add(torch._foreach_abs(weights), ETA) if self.adaptive else None
        if sizes is not None:
            way = torch._foreach_mul(way, sizes)
        norm = torch.stack(torch._foreach_norm(way)).norm().clamp(min=1e-12)
        if sizes is not None:
            way = torch._foreach_mul(way, sizes)
        return list(torch._foreach_mul(way, self.rho / norm))

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"base": self.base.state_dict(), "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.base.load_state_dict(state["base"])
        self.num_steps = state["num_steps"]
        self.share_state()

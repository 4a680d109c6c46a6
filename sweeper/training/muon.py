"""The optimizer Muon, whose momentum is orthogonalized. torch.optim.Muon takes matrices only, no filters."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sweeper.training.parameter_groups import is_layer_weight
from sweeper.training.without_dynamo import WithoutDynamo, loss_of

QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al. 2024: steepest at 0, and near 1 after a few steps


def is_hidden_matrix(parameters: Sequence[tuple[str, Tensor]]) -> list[bool]:
    """Return for each named parameter of a model, in its order, whether Muon trains it.

    It trains the weights of layers, matrices and convolutions reshaped to matrices (filters, inputs), except the first
    convolution that is trained and the last layer.
    """
    matrices = [index for index, named in enumerate(parameters) if is_layer_weight(*named)]
    left_out = [*matrices[-1:], *[index for index in matrices if parameters[index][1].ndim > 2][:1]]
    return [index in matrices and index not in left_out for index in range(len(parameters))]


def orthogonalize(matrix: Tensor, num_steps: int) -> Tensor:
    """Move the singular values of a matrix (M, N) to about 1 by Newton-Schulz steps: (M, N), of the same type."""
    a, b, c = QUINTIC
    x: Tensor = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(num_steps):
        gram = x @ x.mT
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


class Muon(WithoutDynamo):
    """Muon (Jordan et al. 2024) for the groups with `ns_steps`; the other base class steps the other groups.

    w <- w (1 - lr decay) - lr sqrt(max(1, rows / columns)) orthogonalized(momentum), as torch.optim.Muon. The steps are
    computed in bfloat16 on a GPU, where that is fast, and in float32 elsewhere.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        loss = loss_of(closure)
        groups = self.param_groups
        for group in groups:
            for weight in group["params"] if group["ns_steps"] else ():
                self.step_matrix(weight, group)
        try:
            self.param_groups = [group for group in groups if not group["ns_steps"]]
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def step_matrix(self, weight: Tensor, group: dict[str, Any]) -> None:
        if weight.grad is None:
            return
        momentum = group["momentum"]
        if not self.state[weight]:  # AdamW requires a step in every state that it loads
            self.state[weight] = {"momentum_buffer": torch.zeros_like(weight.grad), "step": torch.zeros(())}
        buffer = self.state[weight]["momentum_buffer"]
        buffer.lerp_(weight.grad, 1 - momentum)
        update = weight.grad.lerp(buffer, momentum) if group["nesterov"] else buffer
        matrix = update.flatten(1).to(torch.bfloat16 if update.is_cuda else torch.float32)
        direction = orthogonalize(matrix, group["ns_steps"]).to(weight.dtype).reshape(weight.shape)
        rows, columns = matrix.shape
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(direction, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


class NormalizedMuon(Muon):
    """Muon whose matrices have a norm of sqrt(rows) before each step, and no weight decay (Jordan 2024, airbench)."""

    def step_matrix(self, weight: Tensor, group: dict[str, Any]) -> None:
        if weight.grad is None:
            return
        rows, columns = len(weight), weight[0].numel()
        weight.mul_(math.sqrt(rows) / weight.norm().clamp(min=1e-7))  # a weight of 0 has no direction yet
        lr = group["lr"] / math.sqrt(max(1, rows / columns))  # a step has norm 1, whatever the shape
        super().step_matrix(weight, group | {"lr": lr, "weight_decay": 0.0})

"""torch's optimizers without the import of torch's compiler."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def unwrap(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of torch's optimizers without its wrapper for torch.compile."""
    unwrapped: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return unwrapped


def loss_of(closure: Callable[[], Tensor] | None) -> Tensor | None:
    """Compute the loss and the gradients within an optimizer's step; None where they were computed before it."""
    with torch.enable_grad():
        return None if closure is None else closure()


class WithoutDynamo(Optimizer):
    """An optimizer that is not meant for torch.compile.

    torch wraps these methods to exclude them from compilation. The first call of any of them imports the compiler,
    which takes longer than importing torch itself.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)

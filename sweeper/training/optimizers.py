"""Optimizers by name. A function's keyword-only arguments are the settings that the choice uses.

A choice gets the trained parameters with their names and returns a torch optimizer whose parameter groups each have an
`lr_factor`: a group's learning rate is lr * schedule(step) * lr_factor, and its weight decay is its own. `step` gets a
closure that computes loss and gradients, and may call it several times.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer

from sweeper.choice import Registry
from sweeper.errors import UserError

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def unwrap(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of torch's optimizers without its wrapper for torch.compile."""
    unwrapped: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return unwrapped


class WithoutDynamo(Optimizer):
    """An optimizer that is not meant for torch.compile.

    torch wraps these methods so that a compiler leaves them alone. The first call of any imports that compiler, which
    takes longer than importing torch itself.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class SGD(WithoutDynamo, optim.SGD):
    """torch.optim.SGD."""

    step = torch.no_grad()(unwrap(optim.SGD.step))


class Adam(WithoutDynamo, optim.Adam):
    """torch.optim.Adam."""

    step = torch.no_grad()(unwrap(optim.Adam.step))


class AdamW(WithoutDynamo, optim.AdamW):
    """torch.optim.AdamW."""

    step = torch.no_grad()(unwrap(optim.AdamW.step))


def single_group(parameters: NamedParameters) -> list[dict[str, Any]]:
    """Return all parameters as one group with the base learning rate."""
    return [{"params": [parameter for _, parameter in parameters], "lr_factor": 1.0}]


def sgd(parameters: NamedParameters, *, lr: float, weight_decay: float) -> Optimizer:
    """Plain stochastic gradient descent."""
    return SGD(single_group(parameters), lr=lr, weight_decay=weight_decay, fused=True)


def momentum(
    parameters: NamedParameters, *, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> Optimizer:
    """Gradient descent with (Nesterov) momentum, Sutskever et al. 2013.

    Raises:
        UserError: Nesterov momentum of 0.
    """
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov=true needs optimizer.momentum above 0")
    groups = single_group(parameters)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


def as_betas(betas: list[float]) -> tuple[float, float]:
    if len(betas) != 2:
        raise UserError(f"optimizer.betas={betas} must be two numbers")
    return betas[0], betas[1]


def adam(parameters: NamedParameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Adam, Kingma & Ba 2015; weight decay as an L2 penalty."""
    return Adam(single_group(parameters), lr=lr, betas=as_betas(betas), weight_decay=weight_decay, fused=True)


def adamw(parameters: NamedParameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Adam with decoupled weight decay, Loshchilov & Hutter 2019."""
    return AdamW(single_group(parameters), lr=lr, betas=as_betas(betas), weight_decay=weight_decay, fused=True)


OPTIMIZERS: Registry = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw}

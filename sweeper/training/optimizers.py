"""Optimizers by name. A function's keyword-only arguments are the settings that the choice uses."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer

from sweeper.errors import UserError

Parameters = Iterable[nn.Parameter]


def bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of torch's optimizers without its wrapper for torch.compile."""
    unwrapped: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return unwrapped


class Uncompiled(Optimizer):
    """An optimizer that is not meant for torch.compile.

    torch wraps these methods so that a compiler leaves them alone. The first call of any imports that compiler, which
    takes longer than importing torch itself.
    """

    add_param_group = bare(Optimizer.add_param_group)
    zero_grad = bare(Optimizer.zero_grad)
    state_dict = bare(Optimizer.state_dict)
    load_state_dict = bare(Optimizer.load_state_dict)


class SGD(Uncompiled, optim.SGD):
    """torch.optim.SGD."""

    step = torch.no_grad()(bare(optim.SGD.step))


class Adam(Uncompiled, optim.Adam):
    """torch.optim.Adam."""

    step = torch.no_grad()(bare(optim.Adam.step))


class AdamW(Uncompiled, optim.AdamW):
    """torch.optim.AdamW."""

    step = torch.no_grad()(bare(optim.AdamW.step))


def sgd(parameters: Parameters, *, lr: float, weight_decay: float) -> Optimizer:
    """Plain stochastic gradient descent."""
    return SGD(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def momentum(parameters: Parameters, *, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """Gradient descent with (Nesterov) momentum, Sutskever et al. 2013.

    Raises:
        UserError: Nesterov momentum of 0.
    """
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov=true needs optimizer.momentum above 0")
    return SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


def pair(betas: list[float]) -> tuple[float, float]:
    if len(betas) != 2:
        raise UserError(f"optimizer.betas={betas} must be two numbers")
    return betas[0], betas[1]


def adam(parameters: Parameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Adam, Kingma & Ba 2015; weight decay as an L2 penalty."""
    return Adam(parameters, lr=lr, betas=pair(betas), weight_decay=weight_decay, fused=True)


def adamw(parameters: Parameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Adam with decoupled weight decay, Loshchilov & Hutter 2019."""
    return AdamW(parameters, lr=lr, betas=pair(betas), weight_decay=weight_decay, fused=True)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw}

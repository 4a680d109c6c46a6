"""Optimizers by name. A function's keyword-only arguments are the settings that the choice uses.

A choice gets the trained parameters with their names and returns a torch optimizer whose parameter groups each have an
`lr_factor`: a group's learning rate is lr * schedule(step) * lr_factor, and its weight decay is its own. `step` gets a
closure that computes loss and gradients, and may call it several times.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import optim
from torch.optim import Optimizer

from sweeper.choice import Registry, keyword_only
from sweeper.errors import UserError, format_names
from sweeper.models.architecture import MODELS_WITH
from sweeper.training.lion import Lion
from sweeper.training.muon import Muon, NormalizedMuon, is_hidden_matrix
from sweeper.training.parameter_groups import NamedParameters, is_layer_weight
from sweeper.training.sam import SAM
from sweeper.training.without_dynamo import WithoutDynamo, unwrap


class SGD(WithoutDynamo, optim.SGD):
    """torch.optim.SGD that also trains networks whose parameters are frozen at times."""

    torch_step = torch.no_grad()(unwrap(optim.SGD.step))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; a parameter that was frozen so far has a momentum of 0.

        torch's fused kernel requires the momentum buffers of all parameters of a group or of none; 0 gives the same
        update as a first step.
        """
        for group in self.param_groups:
            missing = [p for p in group["params"] if p.requires_grad and "momentum_buffer" not in self.state.get(p, {})]
            if group["momentum"] and missing and len(missing) < sum(p.requires_grad for p in group["params"]):
                for parameter in missing:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return self.torch_step(closure)


class Adam(WithoutDynamo, optim.Adam):
    """torch.optim.Adam."""

    step = torch.no_grad()(unwrap(optim.Adam.step))


class AdamW(WithoutDynamo, optim.AdamW):
    """torch.optim.AdamW."""

    step = torch.no_grad()(unwrap(optim.AdamW.step))


class RAdam(WithoutDynamo, optim.RAdam):
    """torch.optim.RAdam."""

    step = torch.no_grad()(unwrap(optim.RAdam.step))


class NAdam(WithoutDynamo, optim.NAdam):
    """torch.optim.NAdam."""

    step = torch.no_grad()(unwrap(optim.NAdam.step))


class RMSprop(WithoutDynamo, optim.RMSprop):
    """torch.optim.RMSprop."""

    step = torch.no_grad()(unwrap(optim.RMSprop.step))


class MuonAdamW(Muon, AdamW):
    """Muon on hidden matrices, AdamW on the other parameters."""


class MuonSGD(Muon, SGD):
    """Muon on hidden matrices, SGD on the other parameters."""


class NormalizedMuonSGD(NormalizedMuon, SGD):
    """Muon on matrices of constant norm, SGD on the other parameters."""


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
        UserError: Nesterov momentum with momentum 0.
    """
    check_nesterov(nesterov, momentum)
    groups = single_group(parameters)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


def check_nesterov(nesterov: bool, momentum: float) -> None:
    """Check that Nesterov momentum is not 0.

    Raises:
        UserError: it is.
    """
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov=true needs optimizer.momentum above 0")


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


def radam(parameters: NamedParameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Rectified Adam: a warm-up derived from the variance of the adaptive rate (Liu et al. 2020); L2 penalty."""
    return RAdam(single_group(parameters), lr=lr, betas=as_betas(betas), weight_decay=weight_decay)


def nadam(parameters: NamedParameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Adam with Nesterov momentum (Dozat 2016); L2 penalty."""
    return NAdam(single_group(parameters), lr=lr, betas=as_betas(betas), weight_decay=weight_decay)


def rmsprop(parameters: NamedParameters, *, lr: float, alpha: float, momentum: float, weight_decay: float) -> Optimizer:
    """Divide gradients by a running root mean square (Tieleman & Hinton 2012); L2 penalty."""
    return RMSprop(single_group(parameters), lr=lr, alpha=alpha, momentum=momentum, weight_decay=weight_decay)


def lion(parameters: NamedParameters, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Update by the sign of an interpolated momentum, with decoupled weight decay (Chen et al. 2023)."""
    return Lion(single_group(parameters), lr=lr, betas=as_betas(betas), weight_decay=weight_decay)


def muon(
    parameters: NamedParameters,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    weight_decay: float,
    aux: str,
    aux_lr: float,
    betas: list[float] | None,
) -> Optimizer:
    """Orthogonalized momentum for hidden matrices and filters (Jordan et al. 2024), another optimizer for the rest.

    The rest are the first convolution that is trained, the last matrix, and all parameters that are no weight of a
    layer: biases, norms, tokens and positions. With aux=sgd they have the same momentum.

    Raises:
        UserError: the model has no hidden matrix, or the auxiliary optimizer does not use the settings.
    """
    check_nesterov(nesterov, momentum)
    named = list(parameters)
    hidden = is_hidden_matrix(named)
    if not any(hidden):
        raise UserError(
            "optimizer=muon needs a trained matrix besides the first convolution and the last layer: "
            f"model={format_names(MODELS_WITH['several layers'])} with enough trained layers"
        )
    if (betas is None) == (aux == "adamw"):
        raise UserError(f"optimizer.betas={betas} does not fit optimizer.aux={aux}: adamw needs them, sgd has none")
    matrices = [item for item, is_hidden in zip(named, hidden, strict=True) if is_hidden]
    others = [item for item, is_hidden in zip(named, hidden, strict=True) if not is_hidden]
    muon_settings = {"ns_steps": ns_steps, "momentum": momentum, "nesterov": nesterov}
    groups = [group | muon_settings for group in single_group(matrices)]
    groups += [group | {"lr_factor": aux_lr / lr, "ns_steps": 0} for group in single_group(others)]
    if betas is not None:
        return MuonAdamW(groups, lr=lr, betas=as_betas(betas), weight_decay=weight_decay, fused=True)
    return MuonSGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


def normalized_muon(
    parameters: NamedParameters,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    aux_lr: float,
    aux_momentum: float,
    bias_lr: float,
    weight_decay: float,
) -> Optimizer:
    """Muon on filters and matrices of constant norm, SGD on the rest (Jordan 2024, airbench94_muon).

    Before each step, a matrix of n rows is scaled to a norm of sqrt(n). The rest are the last matrix, and biases, norms
    and others that are no weight of a layer, which have a rate of their own; weight decay is an L2 penalty on them, for
    all but the last matrix so that the decay of a step is that of the last matrix.

    Raises:
        UserError: the model has no trained matrix besides the last.
    """
    check_nesterov(nesterov, momentum)
    named = list(parameters)
    matrices = [item for item in named if is_layer_weight(*item)]
    vectors = [item for item in named if not is_layer_weight(*item)]
    if len(matrices) < 2:
        raise UserError(
            "optimizer=normalized_muon needs a trained matrix besides the last layer: "
            f"model={format_names(MODELS_WITH['several layers'])} with enough trained layers"
        )
    hidden = {"ns_steps": ns_steps, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.0}
    groups = [group | hidden for group in single_group(matrices[:-1])]
    for part, rate in ((matrices[-1:], aux_lr), (vectors, bias_lr)):
        decay = weight_decay * aux_lr / rate
        groups += [
            group | {"lr_factor": rate / lr, "ns_steps": 0, "weight_decay": decay} for group in single_group(part)
        ]
    groups = [group for group in groups if group["params"]]
    nesterov = nesterov and aux_momentum > 0
    return NormalizedMuonSGD(groups, lr=lr, momentum=aux_momentum, nesterov=nesterov, fused=True)


def base_optimizer(base: str, parameters: NamedParameters, settings: dict[str, Any]) -> Optimizer:
    """Build the update rule that sam wraps.

    Args:
        settings: None where not given.

    Raises:
        UserError: the rule needs a setting that is not given, or does not use one that is given.
    """
    functions: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw}
    function = functions[base]
    used = keyword_only(function)
    for name, value in settings.items():
        if (value is None) == (name in used):
            shown = "null" if value is None else value
            raise UserError(f"optimizer.{name}={shown}: optimizer.base={base} uses {format_names(used)}")
    return function(parameters, **{name: settings[name] for name in used})


def sam(
    parameters: NamedParameters,
    *,
    base: str,
    lr: float,
    momentum: float | None,
    nesterov: bool | None,
    betas: list[float] | None,
    weight_decay: float,
    rho: float,
    adaptive: bool,
    interval: int,
) -> Optimizer:
    """Sharpness-aware minimization: update w with the gradient at w + rho g / |g| (Foret et al. 2021); if `adaptive`,
    large weights are moved further on the way there (ASAM, Kwon et al. 2021).

    Args:
        base: the update rule; `momentum`, `nesterov` and `betas` are given where it uses them.
        interval: a sharpness-aware step every so many steps; the others are ordinary steps.

    Raises:
        UserError: see `base_optimizer`.
    """
    settings = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "betas": betas, "weight_decay": weight_decay}
    return SAM(base_optimizer(base, parameters, settings), rho=rho, interval=interval, adaptive=adaptive)


OPTIMIZERS: Registry = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adam,
    "adamw": adamw,
    "radam": radam,
    "nadam": nadam,
    "rmsprop": rmsprop,
    "lion": lion,
    "muon": muon,
    "normalized_muon": normalized_muon,
    "sam": sam,
}

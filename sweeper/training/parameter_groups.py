"""Separate learning rates and weight decays for some parameters, with any optimizer."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sweeper.errors import UserError

NamedParameters = Iterable[tuple[str, nn.Parameter]]
GROUPING = ("decay_norm_and_bias", "bias_lr_factor", "layer_decay")  # settings of every optimizer


def refine_groups(
    optimizer: Optimizer,
    parameters: NamedParameters,
    *,
    decay_norm_and_bias: bool | None,
    bias_lr_factor: float | None,
    layer_decay: float | None,
) -> None:
    """Split the groups of a new optimizer by the kind of its parameters; leave them unchanged if nothing is set.

    Args:
        parameters: those of the optimizer, in the model's order.
        decay_norm_and_bias: false turns off the weight decay of parameters with one dimension (He et al. 2019).
        bias_lr_factor: multiplies the rate of biases, and divides their weight decay, so that the decay per
            step stays the same (Jordan 2024).
        layer_decay: multiplies the rate from layer to layer, beginning with the second to last (Clark et al. 2020). A
            layer is a matrix or a convolution with the biases and norms that follow it.

    Raises:
        UserError: a setting has no effect.
    """
    decays = decay_norm_and_bias is not False
    bias_factor, factor = bias_lr_factor or 1.0, layer_decay or 1.0
    if decays and bias_factor == 1 and factor == 1:
        return
    if not decays and not any(group["weight_decay"] for group in optimizer.param_groups):
        raise UserError("optimizer.decay_norm_and_bias=false needs optimizer.weight_decay above 0")
    layers, is_bias, layer = {}, {}, -1
    for name, parameter in parameters:
        layer = max(0, layer + (parameter.ndim > 1))
        layers[parameter], is_bias[parameter] = layer, name.rpartition(".")[2] == "bias"
    if factor != 1 and layer == 0:
        raise UserError(f"optimizer.layer_decay={factor} needs a model with several trained layers; choose 1")
    if bias_factor != 1 and not any(is_bias.values()):
        raise UserError(f"optimizer.bias_lr_factor={bias_factor} needs a model with trained biases; choose 1")
    refined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            bias, flat = is_bias[parameter], parameter.ndim < 2
            key = (index, bias and bias_factor != 1, flat and not decays, layers[parameter] if factor != 1 else 0)
            if key not in refined:
                own = bias_factor if bias else 1.0
                lr_factor = group["lr_factor"] * own * factor ** (layer - layers[parameter])
                decay = 0.0 if flat and not decays else group["weight_decay"] / own
                refined[key] = group | {"params": [], "lr_factor": lr_factor, "weight_decay": decay}
            refined[key]["params"].append(parameter)
    optimizer.param_groups[:] = refined.values()

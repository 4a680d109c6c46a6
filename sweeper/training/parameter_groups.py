"""Separate learning rates and weight decays for some parameters, with any optimizer."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.errors import UserError

NamedParameters = Iterable[tuple[str, nn.Parameter]]
GROUPING = ("decay_norm_and_bias", "bias_lr_factor", "layer_decay")  # settings of every optimizer


def is_layer_weight(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is the weight of a layer: a matrix or filters, with `weight` in its name.

    Others are biases, norms, scales, tokens, and what depends on positions, some of them with several dimensions.
    """
    return parameter.ndim > 1 and "weight" in name


def layer_numbers(parameters: NamedParameters) -> list[int]:
    """Return the layer of each trained parameter, in the model's order: a weight with all that follows it.

    A bias or norm before the first weight, such as the bias of a frozen weight, begins a layer too; a token does not.
    """
    numbers, layer = [], -1
    for name, parameter in parameters:
        layer += is_layer_weight(name, parameter) or (layer < 0 and parameter.ndim < 2)
        numbers.append(max(0, layer))
    return numbers


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
        decay_norm_and_bias: false leaves weight decay to the weights of layers alone (He et al. 2019).
        bias_lr_factor: multiplies the rate of biases, and divides their weight decay, so that the decay per
            step stays the same (Jordan 2024).
        layer_decay: multiplies the rate from layer to layer, beginning with the second to last (Clark et al. 2020). A
            layer is a matrix or a convolution with the biases and norms that follow it, see `layer_numbers`.

    Raises:
        UserError: a setting has no effect.
    """
    decays = decay_norm_and_bias is not False
    bias_factor, factor = bias_lr_factor or 1.0, layer_decay or 1.0
    if decays and bias_factor == 1 and factor == 1:
        return
    if not decays and not any(group["weight_decay"] for group in optimizer.param_groups):
        raise UserError("optimizer.decay_norm_and_bias=false needs optimizer.weight_decay above 0")
    named = list(parameters)
    numbers = layer_numbers(named)
    layers, is_bias, is_weight, layer = {}, {}, {}, numbers[-1]
    for (name, parameter), number in zip(named, numbers, strict=True):
        layers[parameter], is_bias[parameter] = number, parameter.ndim < 2 and name.endswith("bias")
        is_weight[parameter] = is_layer_weight(name, parameter)
    if factor != 1 and layer == 0:
        raise UserError(f"optimizer.layer_decay={factor} needs a model with several trained layers; choose 1")
    if bias_factor != 1 and not any(is_bias.values()):
        raise UserError(f"optimizer.bias_lr_factor={bias_factor} needs a model with trained biases; choose 1")
    refined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            bias, decayed = is_bias[parameter], decays or is_weight[parameter]
            key = (index, bias and bias_factor != 1, decayed, layers[parameter] if factor != 1 else 0)
            if key not in refined:
                own = bias_factor if bias else 1.0
                lr_factor = group["lr_factor"] * own * factor ** (layer - layers[parameter])
                decay = group["weight_decay"] / own if decayed else 0.0
                refined[key] = group | {"params": [], "lr_factor": lr_factor, "weight_decay": decay}
            refined[key]["params"].append(parameter)
    optimizer.param_groups[:] = refined.values()

"""Other activations and norms in a network of a library, whose layers were chosen by its authors."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sweeper.errors import UserError

# Classes of torch and timm, by name. Gates, which are sigmoids, and activations with weights are not among them.
ACTIVATION_LAYERS = re.compile(
    r"(?:ReLU6?|LeakyReLU|ELU|SELU|CELU|SiLU|Swish|GELU|GELUTanh|QuickGELU|Mish|HardMish|Hardswish|HardSwish)(?:Me)?"
)
FUNCTIONS = r"(?:relu6?|leaky_relu|elu|selu|celu|silu|swish|gelu|gelu_tanh|quick_gelu|mish|hard_mish|hard_?swish)_?"
UNCALLED = ("forward_intermediates",)  # of timm: not called where a network classifies or encodes
IN_CODE = re.compile(rf"\b(?:F|functional|torch)\.{FUNCTIONS}\(")


def replace_activations(network: nn.Module, activation: Callable[[], nn.Module], arch: str) -> None:
    """Replace every activation of a network; dropout no longer overwrites its input, which some need for gradients.

    Args:
        arch: the network's name, for error messages.

    Raises:
        UserError: some are no layers of their own, so that they would stay.
    """
    layers = dict(network.named_modules(remove_duplicate=False))
    found = [name for name, layer in layers.items() if is_activation(layer)]
    others = [layer for layer in layers.values() if not is_activation(layer)]
    if not found or any(map(keeps_function, others)) or any(map(calls_function, {type(layer) for layer in others})):
        raise UserError(f"model.arch={arch} does not offer other activations; choose activation=own")
    for name in found:
        network.set_submodule(name, activation())
    for layer in layers.values():
        if isinstance(layer, nn.Dropout):
            layer.inplace = False


def replace_norms(network: nn.Module, norm: Callable[[int, int], nn.Module], arch: str) -> None:
    """Replace every batch norm of a network; new scales and biases begin as the old ones.

    Args:
        arch: the network's name, for error messages.

    Raises:
        UserError: it has none, or norms of other kinds as well.
    """
    layers = dict(network.named_modules(remove_duplicate=False))
    found: dict[str, Any] = {name: layer for name, layer in layers.items() if is_batch_norm(layer)}
    others = [layer for layer in layers.values() if layer not in found.values() and is_norm(layer)]
    if not found or others:
        raise UserError(
            f"model.arch={arch} does not offer other norms, since it has not batch norm alone; choose norm=own"
        )
    for name, layer in found.items():
        new = norm(layer.num_features, 2)
        if getattr(new, "weight", None) is not None:
            with torch.no_grad():
                for key, value in layer.named_parameters(recurse=False):
                    new.get_parameter(key).copy_(value)
        network.set_submodule(name, new if type(layer) is nn.BatchNorm2d else nn.Sequential(new, layer.drop, layer.act))


def is_batch_norm(layer: nn.Module) -> bool:
    """Return whether a layer is batch norm, or timm's layer of batch norm and activation."""
    return type(layer) is nn.BatchNorm2d or (
        isinstance(layer, nn.BatchNorm2d) and type(layer).__name__ == "BatchNormAct2d"
    )


def is_norm(layer: nn.Module) -> bool:
    return "Norm" in type(layer).__name__ and any(True for _ in layer.parameters(recurse=False))


def is_activation(layer: nn.Module) -> bool:
    return ACTIVATION_LAYERS.fullmatch(type(layer).__name__) is not None


def keeps_function(layer: nn.Module) -> bool:
    """Return whether a layer has an activation that is a function, as in `self.act_fn = F.gelu`."""
    values = [getattr(value, "func", value) for value in vars(layer).values()]
    return any(re.fullmatch(FUNCTIONS, getattr(value, "__name__", "")) for value in values)


def calls_function(kind: type[nn.Module]) -> bool:
    """Return whether a method of a layer, its own or inherited, calls an activation that is a function."""
    methods: list[Any] = [
        it
        for name, it in inspect.getmembers(kind, inspect.isfunction)
        if name not in UNCALLED and not hasattr(nn.Module, name)
    ]
    return any(IN_CODE.search(inspect.getsource(method)) for method in (kind.forward, *methods))

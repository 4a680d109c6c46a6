"""Initial weights by name.

A choice changes a freshly built network in place. It draws from torch's global generator, which follows from the run's
seed. `images(n)` returns up to n normalized training images (N, C, H, W) float32, drawn at random.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.choice import Registry
from sweeper.errors import UserError, format_names
from sweeper.models.architecture import MODELS_WITH

SomeImages = Callable[[int], Tensor]
Init = Callable[[nn.Module, SomeImages], None]
LSUV_IMAGES = 128


def weight_layers(model: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    """Yield the convolutions and fully connected layers."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield module


def needs_convolutions(init: Init) -> Init:
    """Mark an init that changes convolutions only."""
    init.__dict__["needs_convolutions"] = True
    return init


def check_init(name: str, init: Any, model: nn.Module) -> None:
    """Check that an init changes a model, which may be on torch's meta device.

    Args:
        name: of the choice.
        init: the choice (functools.partial).

    Raises:
        UserError: it needs convolutions, and the model has none.
    """
    needs = getattr(init.func, "needs_convolutions", False)
    if needs and not any(isinstance(layer, nn.Conv2d) for layer in weight_layers(model)):
        raise UserError(
            f"init={name} needs a model with convolutions: model={format_names(MODELS_WITH['convolutions'])}"
        )


def zero_bias(layer: nn.Linear | nn.Conv2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def default(model: nn.Module, images: SomeImages) -> None:
    """Keep torch's initial weights; LeCun-normal weights for SELU, whose self-normalization needs them."""
    if any(isinstance(module, nn.SELU) for module in model.modules()):
        lecun_normal(model, images)


def lecun_normal(model: nn.Module, images: SomeImages) -> None:
    """Draw every weight from N(0, 1 / fan_in) and set every bias to 0 (LeCun et al. 1998)."""
    for layer in weight_layers(model):
        nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.weight[0].numel()))
        zero_bias(layer)


def kaiming(model: nn.Module, images: SomeImages) -> None:
    """Draw every weight from N(0, 2 / fan_in), which keeps the scale through ReLUs; biases 0 (He et al. 2015)."""
    for layer in weight_layers(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        zero_bias(layer)


def xavier(model: nn.Module, images: SomeImages) -> None:
    """Draw every weight uniformly with variance 2 / (fan_in + fan_out); biases 0 (Glorot & Bengio 2010)."""
    for layer in weight_layers(model):
        nn.init.xavier_uniform_(layer.weight)
        zero_bias(layer)


def orthogonal(model: nn.Module, images: SomeImages) -> None:
    """Draw orthogonal matrices, a convolution's of shape (filters, inputs); biases 0 (Saxe et al. 2014)."""
    for layer in weight_layers(model):
        nn.init.orthogonal_(layer.weight)
        zero_bias(layer)


@needs_convolutions
def dirac(model: nn.Module, images: SomeImages) -> None:
    """Let the first filters of each convolution copy its input channels, one each (Jordan 2024).

    The other filters and layers keep their weights.
    """
    with torch.no_grad():
        for layer in weight_layers(model):
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight[: layer.weight.shape[1]])


def lsuv(model: nn.Module, images: SomeImages) -> None:
    """Draw orthogonal weights, and scale each layer to outputs of variance 1 (LSUV, Mishkin & Matas 2016).

    The variance is computed over 128 training images, without dropout. One forward pass is enough: biases are 0, so
    outputs are proportional to the weights of their layer.
    """
    orthogonal(model, images)
    sample = images(LSUV_IMAGES)
    scaled: set[nn.Module] = set()

    def scale(layer: Any, _: Any, output: Tensor) -> Tensor | None:
        std = float(output.std())
        if layer in scaled or not std > 0:
            return None
        scaled.add(layer)
        layer.weight.div_(std)
        return output / std

    hooks = [layer.register_forward_hook(scale) for layer in weight_layers(model)]
    was_training = model.training
    with torch.no_grad():
        model.eval()(sample)
    model.train(was_training)
    for hook in hooks:
        hook.remove()


INITS: Registry = {
    "default": default,
    "lecun_normal": lecun_normal,
    "kaiming": kaiming,
    "xavier": xavier,
    "orthogonal": orthogonal,
    "dirac": dirac,
    "lsuv": lsuv,
}

"""Models by name. A function's keyword-only arguments are its own settings and the slots that it has.

A network may have more than a forward pass: `pretrained_state() -> dict[str, Tensor]`, weights that training starts
from, verified to fit; and `features(images) -> (N, D)` with `frozen_backbone = True`, where a trained last layer takes
either images or these features.

A network classifies images, or pixels where its function has the mark `for_segmentation`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from sweeper.choice import Registry, keyword_only
from sweeper.models.airbench import airbench
from sweeper.models.cnn import cnn, cnn_pool
from sweeper.models.fcn import fcn8s, fcn16s, fcn32s
from sweeper.models.linear import Shape, softmax
from sweeper.models.mlp import mlp
from sweeper.models.resnet import resnet18
from sweeper.models.unet import patch_softmax, unet
from sweeper.models.zoo import timm, torchvision

MODELS: Registry = {
    "softmax": softmax,
    "mlp": mlp,
    "cnn": cnn,
    "cnn_pool": cnn_pool,
    "resnet18": resnet18,
    "airbench": airbench,
    "torchvision": torchvision,
    "timm": timm,
    "patch_softmax": patch_softmax,
    "unet": unet,
    "fcn32s": fcn32s,
    "fcn16s": fcn16s,
    "fcn8s": fcn8s,
}


def build_model(
    model: Callable[..., nn.Module],
    input_shape: Shape,
    num_classes: int,
    *,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
    dropout: Callable[..., nn.Module],
) -> nn.Module:
    """Build a network with the slots that it has, its weights drawn from torch's global generator.

    Args:
        model: a function of MODELS with its own settings filled in (functools.partial).
        input_shape: channels, height, width of an image.
        activation, norm, dropout: functions of layers.py with their settings filled in.

    Raises:
        UserError: the model cannot be built for these images or settings.
    """
    self_normalizing = "activation" in keyword_only(model) and isinstance(activation(), nn.SELU)
    slots: dict[str, Any] = {
        "activation": activation,
        "norm": norm,
        "dropout": partial(dropout, nn.AlphaDropout if self_normalizing else nn.Dropout),
    }
    network: nn.Module = model(
        input_shape, num_classes, **{name: slots[name] for name in slots if name in keyword_only(model)}
    )
    return network

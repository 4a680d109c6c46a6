"""Changes of a network's architecture, one function each; they combine freely.

A step takes a freshly built network and the layers that its slots choose, and changes the network in place, before its
weights are initialized and trained weights loaded. Its keyword-only argument is its setting; the step is on where the
setting is given. New layers draw their weights from torch's global generator, after the network's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.errors import UserError, format_names


@dataclass(frozen=True)
class Layers:
    """Functions that return new layers of the chosen kinds: `activation()`, `norm(num_features, dims)`."""

    activation: Callable[[], nn.Module]
    norm: Callable[[int, int], nn.Module]


ArchitectureStep = Callable[[nn.Module, Layers], None]

PIXELWISE = ("unet", "fcn32s", "fcn16s", "fcn8s")
CONVOLUTIONAL = ("cnn", "cnn_pool", "resnet18", "airbench", "torchvision", "timm", *PIXELWISE)
# Properties of a network that steps and courses require, and the models that have them.
MODELS_WITH: Registry = {
    "residual blocks": ("resnet18",),
    "convolutions": ("cnn", "cnn_pool", "resnet18"),
    "convolutions of any kind": (*CONVOLUTIONAL, "patch_softmax"),
    "dropout": ("mlp", "cnn", "cnn_pool", *PIXELWISE),
    "several layers": ("mlp", *CONVOLUTIONAL),
    "a bias in the first layer": ("softmax", "mlp", "cnn", "cnn_pool", "airbench", "patch_softmax", "unet"),
    "images of any size": ("resnet18",),
}


def takes_steps(*names: str) -> Callable[[Any], Any]:
    """Mark a model's function with the steps that it takes; without it, the steps check the network themselves."""

    def mark(function: Any) -> Any:
        function.steps = names
        return function

    return mark


def check_steps(name: str, model: Any, steps: Mapping[str, ArchitectureStep]) -> None:
    """Check that a model takes the steps that are on.

    Args:
        name: of the model.
        model: the choice (functools.partial).

    Raises:
        UserError: it does not take one.
    """
    taken = getattr(model.func, "steps", steps)
    for step in steps:
        if step not in taken:
            raise UserError(f"architecture.{step} does not apply to model={name}, which takes {format_names(taken)}")
    if {"zero_gamma", "fixed_scale"} <= {*steps}:
        raise UserError(
            "architecture.fixed_scale would keep the scales at 0 that architecture.zero_gamma sets: residual branches "
            "would never train; set one of them to null"
        )


def modify(model: nn.Module, steps: Mapping[str, ArchitectureStep], layers: Layers) -> None:
    """Apply steps in their order.

    Raises:
        UserError: a step does not apply to this network.
    """
    if steps and getattr(model, "frozen_backbone", False):
        raise UserError(
            f"architecture.{next(iter(steps))} changes the backbone, which model.freeze_backbone=true freezes; "
            "choose architecture=none or model.freeze_backbone=false"
        )
    for step in steps.values():
        step(model, layers)


def deep_stem(model: nn.Module, layers: Layers, *, deep_stem: bool) -> None:
    """Replace the 7x7 convolution of the stem with three 3x3 of 32, 32 and 64 filters (ResNet-C, He et al. 2019)."""
    residual_blocks(model, "deep_stem")
    resnet: Any = model
    stem = resnet.conv1
    if stem.kernel_size != (7, 7):
        raise UserError(
            "architecture.deep_stem needs the 7x7 convolution of the imagenet stem: choose model.stem=imagenet"
        )
    parts: list[nn.Module] = []
    for fan_in, filters, stride in ((stem.in_channels, 32, 2), (32, 32, 1), (32, 64, 1)):
        convolution = nn.Conv2d(fan_in, filters, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
        parts += [convolution, layers.norm(filters, 2), layers.activation()]
    resnet.conv1 = nn.Sequential(*parts[:-2])  # the network already has the last norm and activation


def pooled_shortcuts(model: nn.Module, layers: Layers, *, pooled_shortcuts: bool) -> None:
    """Downsample shortcuts by 2x2 average pooling instead of a strided 1x1 convolution (ResNet-D, He et al. 2019)."""
    for block in strided_blocks(model, "pooled_shortcuts"):
        convolution, norm = block.downsample
        convolution.stride = (1, 1)
        block.downsample = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), convolution, norm)


def zero_gamma(model: nn.Module, layers: Layers, *, zero_gamma: bool) -> None:
    """Initialize the last norm of each residual branch with scale 0: blocks start as identities (Goyal et al. 2017).

    Raises:
        UserError: there is no such norm, or trained weights would overwrite its scale.
    """
    if getattr(model, "weights", None) is not None:
        raise UserError(
            "architecture.zero_gamma sets initial weights, which model.weights overwrites; choose one of them"
        )
    for block in residual_blocks(model, "zero_gamma"):
        if getattr(block.bn2, "weight", None) is None:
            raise UserError("architecture.zero_gamma needs a norm: choose norm=batch, ghost_batch, layer or group")
        nn.init.zeros_(block.bn2.weight)


class StandardizedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 in every forward pass (Qiao et al. 2019)."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        filters = weight.permute(0, 2, 3, 1)  # the order of memory in channels_last
        standardized = F.layer_norm(filters, filters.shape[1:], eps=1e-5).permute(0, 3, 1, 2)
        return cast(Tensor, super()._conv_forward(input, standardized, bias))


def weight_standardization(model: nn.Module, layers: Layers, *, weight_standardization: bool) -> None:
    """Standardize each filter of each convolution, before a norm (Qiao et al. 2019).

    Raises:
        UserError: no norm follows, which would undo the growth of the outputs by the square root of the filter's size.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    require(convolutions, "weight_standardization", "convolutions")
    if isinstance(layers.norm(convolutions[0].out_channels, 2), nn.Identity):
        raise UserError(
            "architecture.weight_standardization needs a norm after each convolution: choose norm=batch, ghost_batch, "
            "layer or group"
        )
    for convolution in convolutions:
        convolution.__class__ = StandardizedConv2d  # keeps weights, hooks and names, as torch's parametrizations do
        convolution.register_buffer("standardized", torch.ones(()))  # so that weights of plain networks do not fit


class BlurPool2d(nn.Module):
    """Halve images (N, C, H, W) after a low-pass filter, [1 2 1] / 4 in each direction (Zhang 2019); edges repeat."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", taps[:, None] * taps)

    def forward(self, images: Tensor) -> Tensor:
        channels, kernel = images.shape[1], self.get_buffer("kernel")
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, kernel.expand(channels, 1, 3, 3), stride=2, groups=channels)


def blur_pool(model: nn.Module, layers: Layers, *, blur_pool: bool) -> None:
    """Low-pass filter before each downsampling, so that small shifts change less (Zhang 2019).

    A strided convolution gets stride 1, and the filter follows its activation; max pooling gets stride 1, and the
    filter follows. As in Zhang's networks, the first convolution of the imagenet stem keeps its stride.
    """
    if isinstance(model, nn.Sequential):
        blur_sequential(model)
        return
    for block in strided_blocks(model, "blur_pool", "convolutions"):
        block.conv1.stride = (1, 1)
        block.conv2 = nn.Sequential(BlurPool2d(), block.conv2)
        if isinstance(block.downsample[0], nn.Conv2d):  # else pooled
            block.downsample[0].stride = (1, 1)
            block.downsample = nn.Sequential(BlurPool2d(), *block.downsample)
    resnet: Any = model
    if isinstance(resnet.maxpool, nn.MaxPool2d):
        resnet.maxpool.stride = 1
        resnet.maxpool = nn.Sequential(resnet.maxpool, BlurPool2d())


def blur_sequential(model: nn.Sequential) -> None:
    """Filter in a network of layers in sequence, where norm and activation follow each convolution."""
    found = []
    for index in reversed(range(len(model))):
        layer: Any = model[index]
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and layer.stride in (2, (2, 2)):
            layer.stride = (1, 1)
            model.insert(index + (3 if isinstance(layer, nn.Conv2d) else 1), BlurPool2d())
            found.append(layer)
    require(found, "blur_pool", "convolutions")


def squeeze_excitation(model: nn.Module, layers: Layers, *, squeeze_excitation: int) -> None:
    """Scale each channel by a gate that depends on the means of all channels (Hu et al. 2018).

    The gate, torchvision's, is at the end of each residual branch, or after each activation of a plain network. Its
    hidden layer has one unit for every `squeeze_excitation` channels, at least one.
    """
    from torchvision.ops import SqueezeExcitation

    def gate(channels: int) -> nn.Module:
        return cast(nn.Module, SqueezeExcitation(channels, max(1, channels // squeeze_excitation)))

    if isinstance(model, nn.Sequential):
        places = [index for index, layer in enumerate(model) if isinstance(layer, nn.Conv2d)]
        require(places, "squeeze_excitation", "convolutions")
        for index in reversed(places):
            channels: Any = model[index].out_channels
            model.insert(index + 3, gate(channels))
        return
    for block in residual_blocks(model, "squeeze_excitation", "convolutions"):
        attach(block.bn2, "squeeze_excitation", gate(block.conv1.out_channels))


def stochastic_depth(model: nn.Module, layers: Layers, *, stochastic_depth: float) -> None:
    """Drop residual branches at random in training, image by image (Huang et al. 2016; torchvision's layer).

    The probability rises linearly with the depth, up to `stochastic_depth` at the last of L blocks: l / L of it at the
    l-th. The weights keep their names, so that trained networks can be fine-tuned with it.
    """
    from torchvision.ops import StochasticDepth

    blocks = residual_blocks(model, "stochastic_depth")
    for number, block in enumerate(blocks, 1):
        attach(block.bn2, "stochastic_depth", StochasticDepth(stochastic_depth * number / len(blocks), "row"))


def fixed_scale(model: nn.Module, layers: Layers, *, fixed_scale: bool) -> None:
    """Keep the scale of every norm as it is at first, at 1, and train its bias alone (Jordan 2024).

    Raises:
        UserError: no norm has a scale.
    """
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm
    scales = [module.weight for module in model.modules() if isinstance(module, kinds) and module.weight is not None]
    if not scales:
        raise UserError(
            "architecture.fixed_scale needs norm=batch, ghost_batch, layer or group and a model that has norms: "
            f"model={format_names(MODELS_WITH['several layers'])}"
        )
    for scale in scales:
        scale.requires_grad_(False)


def logit_scale(model: nn.Module, layers: Layers, *, logit_scale: float) -> None:
    """Multiply the logits by a constant, so that the network is less certain at first (Jordan 2024)."""
    model.register_forward_hook(partial(scaled, logit_scale))


def scaled(factor: float, _: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output * factor


def residual_blocks(model: nn.Module, step: str, kind: str = "residual blocks") -> list[Any]:
    """Return the residual blocks of a network, from the input on.

    Raises:
        UserError: there are none; the sentence names the models that the step applies to.
    """
    blocks = [module for module in model.modules() if hasattr(module, "bn2") and hasattr(module, "downsample")]
    require(blocks, step, kind)
    return blocks


def strided_blocks(model: nn.Module, step: str, kind: str = "residual blocks") -> list[Any]:
    """Return the residual blocks that halve the image."""
    return [block for block in residual_blocks(model, step, kind) if block.conv1.stride == (2, 2)]


def require(found: list[Any], step: str, kind: str) -> None:
    """Raise a UserError that names the models that a step applies to, if nothing was found in this network."""
    if not found:
        raise UserError(f"architecture.{step} needs a network with {kind}: model={format_names(MODELS_WITH[kind])}")


def attach(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Pass the output of a module through another layer, without changing the names of weights."""
    module.add_module(name, layer)
    module.register_forward_hook(partial(pass_through, name))


def pass_through(name: str, module: nn.Module, _: Any, output: Tensor) -> Any:
    return module.get_submodule(name)(output)


# In the order in which they are applied.
STEPS: Registry = {
    "deep_stem": deep_stem,
    "pooled_shortcuts": pooled_shortcuts,
    "zero_gamma": zero_gamma,
    "weight_standardization": weight_standardization,
    "blur_pool": blur_pool,
    "squeeze_excitation": squeeze_excitation,
    "stochastic_depth": stochastic_depth,
    "fixed_scale": fixed_scale,
    "logit_scale": logit_scale,
}

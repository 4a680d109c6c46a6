"""The feature maps of a classifier of torchvision or timm, as the first part of a network of segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.models.linear import Shape
from sweeper.models.weights import State, fit_weights, read_weights
from sweeper.models.zoo import check_arch, not_fetched, replace_first_convolution, torchvision_state
from sweeper.models.zoo_network import on_meta

STRIDES = (8, 16, 32)  # of the feature maps, in pixels of the images
PROBE = 128  # pixels of a side, with which strides are measured
RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")  # torchvision's, in their order


class Encoder(nn.Module):
    """A classifier without its last layers.

    Attributes:
        arch: its name.
        channels: of the feature maps, in the order of STRIDES.
        whole: the classifier's tensors by name, on torch's meta device: what trained weights are compared with.
        fetch: returns the library's weights of the classifier.
    """

    def __init__(
        self, arch: str, network: nn.Module, channels: list[int], whole: State, fetch: Callable[[], State]
    ) -> None:
        super().__init__()
        self.arch, self.network, self.channels, self.whole, self.fetch = arch, network, channels, whole, fetch

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the feature maps (N, C, H / stride, W / stride) of images (N, C, H, W), for each of STRIDES."""
        maps: list[Tensor] = self.network(images)
        is_last = getattr(self.network, "output_fmt", None) == "NHWC"  # as in timm's Swin
        return [it.movedim(-1, 1) for it in maps] if is_last else maps

    def names(self) -> dict[str, str]:
        """Return the classifier's name of each tensor that is left, by its name here.

        A library may name them differently in an encoder, `_` being `.`, or put all of them into `model`.

        Raises:
            UserError: one has none, so that it would keep its first values.
        """
        theirs = {name.replace(".", "_"): name for name in self.whole}
        names = {}
        for name in self.state_dict():
            own = name.removeprefix("network.")
            known = [it for it in (own, own.removeprefix("model.")) if it.replace(".", "_") in theirs]
            if not known:
                raise UserError(
                    f"trained weights of model.arch={self.arch} have no tensor {own} of its feature maps; choose "
                    "model.weights=null or another model.arch"
                )
            names[name] = theirs[known[0].replace(".", "_")]
        return names

    def trained_state(self, weights: str) -> State:
        """Return the trained weights of a classifier, by the names here.

        Args:
            weights: "pretrained" takes the library's; else the path of a file.

        Raises:
            UserError: they cannot be loaded, are those of another network, or lack a tensor.
        """
        state = self.fetch() if weights == "pretrained" else read_weights(weights)
        names = self.names()
        last = {name: value for name, value in self.whole.items() if name not in names.values()}
        fitted = fit_weights(state, self.whole, last, f"model.weights={weights} does not fit {self.arch}")
        return {name: fitted[theirs] for name, theirs in names.items() if theirs in fitted}


class LayerEncoder(Encoder):
    """A network of torchvision whose layers are applied one after the other.

    Attributes:
        layers: names of its layers.
        ends: for each of STRIDES, how many layers lead to its feature map.
    """

    layers: Sequence[str]
    ends: Sequence[int]

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, found = images, []
        for number, name in enumerate(self.layers[: self.ends[-1]], start=1):
            maps = self.network.get_submodule(name)(maps)
            if number in self.ends:
                found.append(maps)
        return found


def without_others(network: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Remove the layers that are not named, and belong to no named one."""
    for name, _ in list(network.named_children()):
        if not any(layer == name or layer.startswith(f"{name}.") for layer in layers):
            delattr(network, name)
    return network


def torchvision_encoder(arch: str, input_shape: Shape) -> Encoder:
    """Build the encoder of a classifier of torchvision that is a sequence of layers.

    Raises:
        UserError: there is no such classifier, or it offers no feature maps.
    """
    from torchvision import models

    check_arch("torchvision", arch, models.list_models(module=models))

    def build(num_classes: int = 2) -> Any:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes)
        if input_shape[0] != 3:
            replace_first_convolution(network, input_shape[0])
        return network

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        probe = on_meta(build, 2)
        whole = probe.state_dict()
        layers = layers_of(probe)
        maps, strides, channels = torch.empty(1, input_shape[0], PROBE, PROBE), [], []
        for name in layers:
            maps = probe.get_submodule(name)(maps)
            strides.append(PROBE // maps.shape[-1] if maps.ndim == 4 else 0)
            channels.append(maps.shape[1])
    last = {stride: number for number, stride in enumerate(strides, start=1)}
    if any(stride not in last for stride in STRIDES):
        raise no_maps(arch)
    ends = [last[stride] for stride in STRIDES]
    layers, channels = layers[: ends[-1]], [channels[end - 1] for end in ends]
    fetch = partial(torchvision_state, arch)
    encoder = LayerEncoder(arch, without_others(build(), layers), channels, whole, fetch)
    encoder.layers, encoder.ends = layers, ends
    return encoder


def layers_of(network: Any) -> list[str]:
    """Return the names of the layers that a network applies one after the other, up to its head; none if unknown."""
    if isinstance(getattr(network, "features", None), nn.Sequential):
        return [f"features.{name}" for name, _ in network.features.named_children()]
    return list(RESNET) if all(hasattr(network, name) for name in RESNET) else []


def timm_encoder(arch: str, input_shape: Shape) -> Encoder:
    """Build the encoder of a classifier of timm by its option features_only.

    Raises:
        UserError: timm is not installed, has no such classifier, or offers no feature maps of it.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(
            "model.library=timm needs the package timm: pip install -e '.[zoo]' in the program's folder"
        ) from error
    check_arch("timm", arch.partition(".")[0], timm.list_models())

    def build(**options: Any) -> Any:
        return timm.create_model(arch, in_chans=input_shape[0], **options)

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            whole, probe = build().state_dict(), build(features_only=True)
        reductions = probe.feature_info.reduction()
        levels = probe.feature_info.out_indices  # of a DLA, they do not begin at 0
        indices = tuple(levels[reductions.index(stride)] for stride in STRIDES)
        network = build(features_only=True, out_indices=indices)
    except Exception as error:  # of many kinds
        raise no_maps(arch) from error

    def fetch() -> State:
        try:
            state: State = build(pretrained=True).state_dict()
        except Exception as error:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise not_fetched(arch, Path(HF_HUB_CACHE), error) from error
        return state

    return Encoder(arch, network, network.feature_info.channels(), whole, fetch)


def no_maps(arch: str) -> UserError:
    return UserError(
        f"model.arch={arch} offers no feature maps of strides {', '.join(map(str, STRIDES))}; choose such as vgg16 or "
        "resnet18, or of model.library=timm such as efficientnet_lite0"
    )

"""Image classifiers of torchvision and timm by name, their input and last layer adapted to the images.

Both libraries are imported on first use: their imports take longer than everything else that a small run needs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweeper.errors import UserError
from sweeper.models.architecture import takes_steps
from sweeper.models.linear import Shape
from sweeper.models.weights import CONVERTING, State, first_line
from sweeper.models.zoo_network import adapted


@takes_steps("fixed_scale", "logit_scale")
def torchvision(
    input_shape: Shape,
    num_classes: int,
    *,
    arch: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
) -> nn.Module:
    """Any image classifier of torchvision, such as resnet50 or vit_b_16.

    Args:
        arch: its name in torchvision.models.
        weights: None trains from scratch, "pretrained" takes torchvision's default weights, else the path of a file.
        freeze_backbone: train the last layer only, batch statistics fixed.
        activation, norm: replace the network's own where they are another choice than `own`.

    Raises:
        UserError: the name is unknown, or the settings do not fit the network or the images.
    """
    from torchvision import models

    check_arch("torchvision", arch, models.list_models(module=models))
    options: dict[str, Any] = {"image_size": input_shape[1]} if arch.startswith("vit_") else {}
    if arch in CONVERTING:  # their weights expect other means and deviations, which the network itself restores
        transform = weights == "pretrained" and input_shape[0] == 3
        options = {"aux_logits": False, "init_weights": False, "transform_input": transform}

    def build(num_classes: int) -> nn.Module:
        network: nn.Module = models.get_model(arch, weights=None, num_classes=num_classes, **options)
        if input_shape[0] != 3:
            replace_first_convolution(network, input_shape[0])
        return network

    fetch = partial(torchvision_state, arch)
    return adapted(build, fetch, input_shape, num_classes, arch, weights, freeze_backbone, activation, norm)


@takes_steps("fixed_scale", "logit_scale")
def timm(
    input_shape: Shape,
    num_classes: int,
    *,
    arch: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
) -> nn.Module:
    """Any image classifier of timm (Wightman 2019), such as convnext_tiny; see `torchvision` for the settings.

    Needs the extra `zoo`. Pretrained weights are adapted by timm to the channels and the size of the images.
    """
    try:
        import timm as library
    except ImportError as error:
        raise UserError("model=timm needs the package timm: pip install -e '.[zoo]' in the program's folder") from error

    name = arch.partition(".")[0]  # a tag such as resnet50.a1_in1k chooses pretrained weights
    check_arch("timm", name, library.list_models())
    options: dict[str, Any] = {"in_chans": input_shape[0]}
    if takes_size(library, name, input_shape[1:]):
        options["img_size"] = input_shape[1:]

    def build(num_classes: int | None, pretrained: bool = False) -> nn.Module:  # None: as many as the weights have
        network: nn.Module = library.create_model(arch, pretrained=pretrained, num_classes=num_classes, **options)
        return network

    def fetch() -> State:
        try:
            return build(None, pretrained=True).state_dict()
        except Exception as error:
            from huggingface_hub.constants import HF_HUB_CACHE

            raise not_fetched(arch, Path(HF_HUB_CACHE), error) from error

    return adapted(build, fetch, input_shape, num_classes, arch, weights, freeze_backbone, activation, norm)


def torchvision_state(arch: str) -> State:
    """Load torchvision's default weights from its cache folder, or download them.

    Raises:
        UserError: neither is possible.
    """
    from torchvision.models import get_model_weights

    try:
        weights: Any = get_model_weights(arch).DEFAULT
        state: State = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        return state
    except Exception as error:
        raise not_fetched(arch, Path(torch.hub.get_dir()) / "checkpoints", error) from error


def not_fetched(arch: str, cache: Path, error: Exception) -> UserError:
    return UserError(
        f"pretrained weights of model.arch={arch} could not be loaded ({first_line(error)}): they are looked for in "
        f"{cache.absolute()} before they are downloaded; or name a local file with model.weights=FILE"
    )


def check_arch(library: str, arch: str, known: Sequence[str]) -> None:
    """Check that a library has a network of this name.

    Raises:
        UserError: it has not; the sentence names some that begin so or contain it, or the nearest.
    """
    if arch not in known:
        begin, contain = ([name for name in known if arch in name[:end]][:5] for end in (len(arch), None))
        close = begin or contain or difflib.get_close_matches(arch, known, n=3)
        question = f": did you mean {' or '.join(close)}?" if close else ""
        raise UserError(f"model.arch={arch} is none of the {len(known)} networks of model={library}{question}")


def takes_size(library: Any, arch: str, size: tuple[int, ...]) -> bool:
    """Return whether a network of timm is built for images of one size."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            library.create_model(arch, img_size=size)
    except TypeError as error:
        return "img_size" not in str(error)
    except Exception:  # a size that it does not take: building it says so
        return True
    return True


def replace_first_convolution(network: nn.Module, channels: int) -> None:
    """Let a network see so many channels in place of three colors."""
    name, first = next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    geometry: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding", "dilation")}
    new = nn.Conv2d(channels, first.out_channels, **geometry, bias=first.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(name, new)

"""A network of a library, adapted to the images and to training its last layer alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import torch
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.models.layers import own as own_layers
from sweeper.models.linear import Shape
from sweeper.models.swaps import replace_activations, replace_norms
from sweeper.models.weights import State, first_line, fit_weights, read_weights

Build = Callable[[int], nn.Module]  # number of classes -> network


class ZooNetwork(nn.Module):
    """A library's network, whose last layer can be trained on features that were computed before.

    Attributes:
        head: name of the last layer within `network`; None where it is no single linear layer.
        pretrained_state: the weights that training starts from, by name; they were found to fit.
    """

    def __init__(self, network: nn.Module, head: str | None, frozen: bool, pretrained: Callable[[], State]) -> None:
        super().__init__()
        self.network, self.head, self.frozen_backbone = network, head, frozen
        self.pretrained_state = pretrained
        if frozen:
            network.requires_grad_(False)
            self.last_layer.requires_grad_(True)
            for layer in network.modules():
                if isinstance(layer, nn.modules.batchnorm._NormBase):
                    layer.track_running_stats = False  # in evaluation mode: use the statistics, and keep them
            self.train()

    @property
    def last_layer(self) -> nn.Module:
        return self.network.get_submodule(self.head or "")

    def train(self, mode: bool = True) -> ZooNetwork:
        """Set the mode; a frozen network stays in evaluation mode, but for its last layer."""
        super().train(mode)
        if self.frozen_backbone:
            self.network.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Compute the input of the last layer from images (N, C, H, W): (N, D)."""
        found: list[Tensor] = []
        handle = self.last_layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        try:
            self.network(images)
        finally:
            handle.remove()
        return found[0]

    def forward(self, images: Tensor) -> Tensor:
        takes_features = self.frozen_backbone and images.ndim == 2
        logits: Tensor = self.last_layer(images) if takes_features else self.network(images)
        return logits


def adapted(
    build: Build,
    fetch: Callable[[], State],
    input_shape: Shape,
    num_classes: int,
    arch: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
) -> nn.Module:
    """Build a network, its weights drawn from torch's global generator, and check that the settings fit it.

    A last layer that is trained on given weights starts as torch's, whatever the library's is.

    Args:
        build: returns the network for so many classes; on torch's meta device where that is the default.
        fetch: returns the weights that the library has for it.

    Raises:
        UserError: they do not.
    """
    own_activation, own_norm = (getattr(slot, "func", slot) is own_layers for slot in (activation, norm))
    if weights is not None and not own_norm:
        raise UserError(f"model.weights={weights} was trained with the network's own norm; choose norm=own")
    if freeze_backbone and weights is None:
        raise UserError("model.freeze_backbone=true needs trained weights: set model.weights=pretrained or a file")
    with explained(arch, input_shape):
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            own, others = (on_meta(build, number).state_dict() for number in (num_classes, num_classes + 1))
        in_advance = torch.get_default_device().type == "meta"
        network = on_meta(build, num_classes) if in_advance else build(num_classes)
        if not own_norm:
            replace_norms(network, norm, arch)
        if not own_activation:
            replace_activations(network, activation, arch)
        if in_advance:
            run_on_meta(network, input_shape)
    last = {name: value for name, value in own.items() if value.shape != others[name].shape}
    owners = {name.rpartition(".")[0] for name in last}
    head = next(iter(owners)) if len(owners) == 1 else None
    if freeze_backbone and (head is None or not isinstance(network.get_submodule(head), nn.Linear)):
        raise UserError(f"model.freeze_backbone=true needs a single linear last layer, which model.arch={arch} has not")
    if weights is not None and isinstance(last_layer := network.get_submodule(head or ""), nn.Linear):
        last_layer.reset_parameters()  # a library's may be so large that training begins with forgetting them
    pretrained = partial(trained_state, weights, fetch, own, last, f"model.weights={weights} does not fit {arch}")
    model = ZooNetwork(network, head, freeze_backbone, pretrained)
    with suppress(NotImplementedError):
        if in_advance and freeze_backbone and model.features(torch.empty(2, *input_shape)).ndim != 2:
            raise UserError(f"model.freeze_backbone=true needs a last layer of means, which model.arch={arch} has not")
    return model


@contextmanager
def explained(arch: str, input_shape: Shape) -> Iterator[None]:
    """Turn an error of a library into a sentence: its network does not take the images or the settings."""
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        size = "x".join(map(str, input_shape))
        raise UserError(
            f"model.arch={arch} cannot be built for images of {size}: {first_line(error)}; choose another name or "
            "data.image_size"
        ) from error


def on_meta(build: Build, num_classes: int) -> nn.Module:
    """Build a network on the meta device, which is the default device here."""
    try:
        return build(num_classes)
    except NotImplementedError:  # RegNet computes its widths with tensors, and the meta device has no numbers
        with torch.device("cpu"):
            return build(num_classes).to("meta")


def run_on_meta(network: nn.Module, input_shape: Shape) -> Tensor | None:
    """Pass two images without numbers through a network on the meta device; None if it computes with numbers."""
    try:
        logits: Tensor = network(torch.empty(2, *input_shape))
    except NotImplementedError:
        return None
    return logits


def trained_state(weights: str | None, fetch: Callable[[], State], own: State, last: State, described: str) -> State:
    """Return the weights that training starts from, by the names of ZooNetwork; none from scratch.

    Args:
        own, last: the network's state dict and its part that is trained anew, shapes alone.

    Raises:
        UserError: they cannot be loaded or do not fit.
    """
    if weights is None:
        return {}
    state = fetch() if weights == "pretrained" else read_weights(weights)
    return {f"network.{name}": value for name, value in fit_weights(state, own, last, described).items()}

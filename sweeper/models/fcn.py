"""Fully convolutional networks: a classifier's feature maps, classified and upsampled to the size of the image.

Long, Shelhamer & Darrell 2015, Fully Convolutional Networks for Semantic Segmentation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.models.architecture import takes_steps
from sweeper.models.encoder import STRIDES, Encoder, no_maps, timm_encoder, torchvision_encoder
from sweeper.models.layers import own as own_layers
from sweeper.models.linear import Shape
from sweeper.models.pixelwise import ZeroScores, for_segmentation, padded, upsampling
from sweeper.models.swaps import replace_activations, replace_norms
from sweeper.models.weights import State
from sweeper.models.zoo_network import explained, run_on_meta

Slot = Callable[..., nn.Module]
HEAD = 4  # the head has a fraction of the encoder's channels, as torchvision's FCN


class FCN(nn.Module):
    """Classes from the coarsest feature map, refined by those of finer maps, and upsampled.

    At the beginning, finer maps add nothing, and upsampling is bilinear.

    Args:
        encoder: the feature maps.
        head: from the coarsest to the logits.
        finest: stride of the finest map that is used.
        weights: trained weights of the encoder, see `fcn`.
        frozen: train the head and the upsampling alone, batch statistics fixed.
    """

    def __init__(
        self, encoder: Encoder, head: nn.Module, num_classes: int, finest: int, weights: str | None, frozen: bool
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.weights, self.frozen = encoder, head, weights, frozen
        maps = reversed(list(zip(STRIDES, encoder.channels, strict=True)))
        finer = [channels for stride, channels in maps if finest <= stride < STRIDES[-1]]
        self.scores = nn.ModuleList(ZeroScores(channels, num_classes) for channels in finer)
        self.twice = nn.ModuleList(upsampling(num_classes, 2) for _ in finer)
        self.last = upsampling(num_classes, finest)
        if frozen:
            encoder.requires_grad_(False)
            for layer in encoder.modules():
                if isinstance(layer, nn.modules.batchnorm._NormBase):
                    layer.track_running_stats = False  # in evaluation mode: use the statistics, and keep them
            self.train()

    def train(self, mode: bool = True) -> FCN:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        maps = self.encoder(padded(images, STRIDES[-1]))
        logits = self.head(maps.pop())
        for score, twice in zip(self.scores, self.twice, strict=True):
            logits = twice(logits) + score(maps.pop())
        whole: Tensor = self.last(logits)
        return whole[..., :height, :width]

    def pretrained_state(self) -> State:
        """Return the weights that training starts from, by name; they were found to fit."""
        state = {} if self.weights is None else self.encoder.trained_state(self.weights)
        return {f"encoder.{name}": value for name, value in state.items()}


def fcn(
    finest: int,
    input_shape: Shape,
    num_classes: int,
    arch: str,
    library: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Slot,
    norm: Slot,
    dropout: Slot,
) -> nn.Module:
    """Build an FCN on a classifier's feature maps.

    Args:
        finest: stride of the finest map that is used.
        arch: name of the classifier in `library`, torchvision or timm.
        weights: None trains from scratch, "pretrained" takes the library's weights, else the path of a file of the
            classifier's weights, such as another run's best.pt.
        freeze_backbone: train all but the encoder, batch statistics fixed.
        activation, norm: replace the encoder's own where they are another choice than `own`; the head has ReLU and
            batch norm in their place.
        dropout: before the head's last layer.

    Raises:
        UserError: the settings do not fit each other or the images, or the classifier offers no feature maps.
    """
    own_activation, own_norm = (getattr(slot, "func", slot) is own_layers for slot in (activation, norm))
    if weights is not None and not own_norm:
        raise UserError(f"model.weights={weights} was trained with the network's own norm; choose norm=own")
    if freeze_backbone and weights is None:
        raise UserError("model.freeze_backbone=true needs trained weights: set model.weights=pretrained or a file")
    encoder = (timm_encoder if library == "timm" else torchvision_encoder)(arch, input_shape)
    if not own_norm:
        replace_norms(encoder, norm, arch)
    if not own_activation:
        replace_activations(encoder.get_submodule("network"), activation, arch)
    channels = encoder.channels[-1]
    inner = max(num_classes, channels // HEAD)
    normalize = nn.BatchNorm2d(inner) if own_norm else norm(inner, 2)
    nonlinear = nn.ReLU() if own_activation else activation()
    features = nn.Conv2d(channels, inner, 3, padding=1)
    head = nn.Sequential(features, normalize, nonlinear, dropout(), nn.Conv2d(inner, num_classes, 1))
    model = FCN(encoder, head, num_classes, finest, weights, freeze_backbone)
    if torch.get_default_device().type == "meta":
        with explained(arch, input_shape):
            logits = run_on_meta(model, input_shape)
        if logits is not None and logits.shape[2:] != input_shape[1:]:
            raise no_maps(arch)
    return model


@for_segmentation
@takes_steps("fixed_scale", "logit_scale")
def fcn32s(
    input_shape: Shape,
    num_classes: int,
    *,
    arch: str,
    library: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Slot,
    norm: Slot,
    dropout: Slot,
) -> nn.Module:
    """FCN-32s: the classes of a classifier's last feature map, upsampled 32 times (Long et al. 2015)."""
    return fcn(32, input_shape, num_classes, arch, library, weights, freeze_backbone, activation, norm, dropout)


@for_segmentation
@takes_steps("fixed_scale", "logit_scale")
def fcn16s(
    input_shape: Shape,
    num_classes: int,
    *,
    arch: str,
    library: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Slot,
    norm: Slot,
    dropout: Slot,
) -> nn.Module:
    """FCN-16s: as FCN-32s, with the feature map of stride 16 added, upsampled 16 times."""
    return fcn(16, input_shape, num_classes, arch, library, weights, freeze_backbone, activation, norm, dropout)


@for_segmentation
@takes_steps("fixed_scale", "logit_scale")
def fcn8s(
    input_shape: Shape,
    num_classes: int,
    *,
    arch: str,
    library: str,
    weights: str | None,
    freeze_backbone: bool,
    activation: Slot,
    norm: Slot,
    dropout: Slot,
) -> nn.Module:
    """FCN-8s: as FCN-16s, with the feature map of stride 8 added, upsampled 8 times."""
    return fcn(8, input_shape, num_classes, arch, library, weights, freeze_backbone, activation, norm, dropout)

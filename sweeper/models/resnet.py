"""ResNet-18, from scratch or from trained weights.

torchvision is imported on first use: importing it takes longer than all other imports of a small run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.models.linear import Shape
from sweeper.models.weights import COUNTER, check_norm, fit_weights, read_content, state_in


def resnet18(
    input_shape: Shape,
    num_classes: int,
    *,
    weights: str | None,
    stem: str,
    freeze_backbone: bool,
    activation: Callable[[], nn.Module],
    norm: Callable[[int, int], nn.Module],
) -> nn.Module:
    """Build a ResNet-18 (He et al. 2016) as in torchvision, with a new last layer of `num_classes`.

    Args:
        weights: None trains from scratch; else see `pretrained_state`.
        stem: "imagenet" is the original 7x7 convolution of stride 2 with pooling, "cifar" a 3x3 of stride 1 without.
        freeze_backbone: train the last layer only, batch statistics fixed.

    Raises:
        UserError: the settings contradict each other.
    """
    from torchvision.models.resnet import BasicBlock
    from torchvision.ops import FrozenBatchNorm2d

    has_batch_norm = isinstance(norm(64, 2), nn.BatchNorm2d)
    if weights == "imagenet" and not has_batch_norm:
        raise UserError(
            "model.weights=imagenet was trained with batch normalization: choose norm=batch, "
            "or train from scratch with model.weights=null"
        )
    if freeze_backbone and weights is None:
        raise UserError("model.freeze_backbone=true needs trained weights: set model.weights=imagenet or a file")
    frozen_norm = freeze_backbone and has_batch_norm
    eps = getattr(norm(64, 2), "eps", None)
    norm_layer = partial(FrozenBatchNorm2d, eps=eps) if frozen_norm else lambda num_features: norm(num_features, 2)
    model: Any = network_class()(BasicBlock, [2, 2, 2, 2], norm_layer=norm_layer)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    elif input_shape[0] != 3:
        model.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU):
            model.get_submodule(name.rpartition(".")[0]).relu = activation()
    model.weights, model.norm_settings, model.frozen_backbone = weights, norm_settings(norm), freeze_backbone
    if freeze_backbone:
        model.requires_grad_(False)
        model.fc.requires_grad_(True)
    network: nn.Module = model
    return network


def network_class() -> Any:
    """Return a subclass of torchvision's ResNet whose forward takes images or features of the backbone."""
    from torchvision.models.resnet import ResNet

    class PretrainableResNet(ResNet):  # type: ignore[misc]
        def features(self, images: Tensor) -> Tensor:
            """Compute the input of the last layer from images (N, C, H, W): (N, 512)."""
            pooled = self.maxpool(self.relu(self.bn1(self.conv1(images))))
            return torch.flatten(self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(pooled))))), 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(images if images.ndim == 2 else self.features(images))  # type: ignore[no-any-return]

        def pretrained_state(self) -> dict[str, Tensor]:
            return {} if self.weights is None else load_pretrained(self, self.weights, self.norm_settings)

    return PretrainableResNet


def norm_settings(norm: Any) -> dict[str, Any]:
    """Return a norm's name and settings, as a run's best.pt records them; the function's name is the choice's."""
    function, settings = getattr(norm, "func", norm), getattr(norm, "keywords", {})
    return {"name": function.__name__, **settings}


def load_pretrained(model: nn.Module, weights: str, norm: dict[str, Any]) -> dict[str, Tensor]:
    """Load trained weights for everything but the classifier of a model, which may be on the meta device.

    Args:
        weights: "imagenet" takes torchvision's; else the path of a state dict, of a checkpoint that has it inside, or
            of a run's best.pt.
        norm: the model's norm, name and settings; a run's checkpoint must have been trained with the same, since layer
            and group norm have parameters of the same names and shapes.

    Raises:
        UserError: the weights do not exist, cannot be read or belong to another network.
    """
    content = imagenet_state() if weights == "imagenet" else read_content(weights, "imagenet")
    check_norm(weights, content, norm)
    own = model.state_dict()
    last = {name: value for name, value in own.items() if name.startswith("fc.")}
    state = state_in(weights, content)
    try:
        fitted = fit_weights(state, own, last, f"model.weights={weights} does not fit this model")
    except UserError as error:
        raise UserError(f"{error}; norm and model.stem must be those that the weights were trained with") from error
    return fitted | {name: value for name, value in state.items() if COUNTER in name and name in own}


def imagenet_state() -> dict[str, Tensor]:
    """Load torchvision's ImageNet weights from its cache folder, or download them."""
    from torchvision.models import ResNet18_Weights

    weights = ResNet18_Weights.IMAGENET1K_V1
    try:
        return state_in("imagenet", weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"ImageNet weights could not be loaded from {weights.url} ({error}): "
            f"put that file into {cache}, or name a local copy with model.weights=FILE"
        ) from error

"""Initial weights by name.

A choice changes a freshly built network in place. It draws from torch's global generator, which follows from the run's
seed. `images(n)` returns up to n normalized training images (N, C, H, W) float32, drawn at random.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.errors import UserError, format_names
from sweeper.models.architecture import MODELS_WITH
from sweeper.models.pixelwise import ZeroScores

SomeImages = Callable[[int], Tensor]
Init = Callable[[nn.Module, SomeImages], None]
LSUV_IMAGES = 128
WHITENING_IMAGES, WHITENING_PIXELS = 5000, 5000 * 32 * 32  # at most
WHITENING_CHUNK = 250  # images whose patches are in memory at once


def weight_layers(model: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    """Yield the convolutions and fully connected layers, but for those that begin at 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, ZeroScores):
            yield module


def needs_convolutions(init: Init) -> Init:
    """Mark an init that changes convolutions only."""
    init.__dict__["needs_convolutions"] = True
    return init


def check_init(name: str, init: Any, model: nn.Module, *, has_weights: bool = False) -> None:
    """Check that an init changes a model, which may be on torch's meta device.

    Args:
        name: of the choice.
        init: the choice (functools.partial).
        has_weights: whether trained weights replace the initial ones.

    Raises:
        UserError: it needs convolutions, and the model has none; whitening does not fit the first; or trained weights
            would overwrite it.
    """
    if has_weights and init.func is not default:
        raise UserError(
            f"init={name} sets initial weights, which model.weights overwrites; choose init=default or "
            "model.weights=null"
        )
    needs = getattr(init.func, "needs_convolutions", False)
    if needs and not any(isinstance(layer, nn.Conv2d) for layer in weight_layers(model)):
        raise UserError(
            f"init={name} needs a model with convolutions: "
            f"model={format_names(MODELS_WITH['convolutions of any kind'])}"
        )
    if init.func is whitening:
        freeze_whitened(model)


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

    In a grouped convolution, the first filters of each group do. The other filters and layers keep their weights.
    """
    with torch.no_grad():
        for layer in weight_layers(model):
            if isinstance(layer, nn.Conv2d):
                for filters in layer.weight.chunk(layer.groups):
                    nn.init.dirac_(filters[: filters.shape[1]])


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


def whitening(model: nn.Module, images: SomeImages, *, eps: float, others: str, head_std: float | None = None) -> None:
    """Let the first convolution whiten the patches of training images, and freeze it (Jordan 2024, airbench).

    Its filters are the eigenvectors e of the covariance of 5,000 images' patches (fewer of large images; the mean is
    not subtracted), each as e / sqrt(eigenvalue + eps) and as the negative of it, by falling eigenvalue. Its bias
    keeps its value and is trained.

    Args:
        others: "dirac" changes the other convolutions as the init of that name, "default" keeps them.
        head_std: standard deviation that the weights of the last linear layer are scaled to; None keeps them.

    Raises:
        UserError: see `freeze_whitened`.
    """
    if others == "dirac":
        dirac(model, images)
    first = freeze_whitened(model)
    side = images(1).shape[-2:].numel()
    covariance = patch_covariance(images(min(WHITENING_IMAGES, max(1, WHITENING_PIXELS // side))), first.kernel_size)
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)  # ascending; vectors are columns
    filters = (eigenvectors / (eigenvalues + eps).sqrt()).T.flip(0)
    with torch.no_grad():
        first.weight.copy_(torch.cat([filters, -filters]).view_as(first.weight))
        if head_std is not None:
            head = [layer for layer in weight_layers(model) if isinstance(layer, nn.Linear)][-1]
            head.weight.mul_(head_std / head.weight.std())


def freeze_whitened(model: nn.Module) -> nn.Conv2d:
    """Freeze the weights of the first convolution and return it; the model may be on torch's meta device.

    Raises:
        UserError: there is none, or it has not twice as many filters as a patch has numbers.
    """
    first = next((layer for layer in weight_layers(model) if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        raise UserError("init=whitening needs a model with convolutions: model=airbench")
    filters, needed = len(first.weight), 2 * first.weight[0].numel()
    if filters != needed:
        height, width = first.kernel_size
        raise UserError(
            f"init=whitening needs a first convolution of {needed} filters of {height}x{width}, not {filters}: "
            "model=airbench"
        )
    first.weight.requires_grad_(False)
    return first


def patch_covariance(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the mean outer product (D, D) float64 of all patches of images (N, C, H, W), D = C * size numbers each."""
    total, count = torch.zeros(()), 0
    for chunk in images.split(WHITENING_CHUNK):
        patches = F.unfold(chunk, size).transpose(0, 1).flatten(1)  # (D, patches)
        total = total + (patches @ patches.T).double()
        count += patches.shape[1]
    return total / count


INITS: Registry = {
    "default": default,
    "lecun_normal": lecun_normal,
    "kaiming": kaiming,
    "xavier": xavier,
    "orthogonal": orthogonal,
    "dirac": dirac,
    "lsuv": lsuv,
    "whitening": whitening,
}

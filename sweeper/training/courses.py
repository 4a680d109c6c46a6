"""Quantities that change in the course of training, one function each; courses combine.

A choice takes the network before its first step and returns a course, which is called with the network and the step
before every step. What a course sets is a pure function of the step and of the whole number of steps, as a learning
rate is, so there is nothing to save. Its keyword-only argument is its setting; the course is on where it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.data.batches import Step
from sweeper.errors import UserError, format_names
from sweeper.models.architecture import MODELS_WITH
from sweeper.training.parameter_groups import layer_numbers

Course = Callable[[nn.Module, Step], None]
SIZE_STEP = 4  # pixels by which progressive resizing grows images


def start_courses(courses: Mapping[str, Callable[[nn.Module], Course]], model: nn.Module) -> list[Course]:
    """Return the courses of a network.

    Raises:
        UserError: a course has no effect on the network, or two set the same quantity.
    """
    for pair in (("early_dropout", "late_dropout"), ("layer_freezing", "gradual_unfreezing")):
        if {*pair} <= {*courses}:
            raise UserError(f"courses.{pair[0]} and courses.{pair[1]} are mutually exclusive; set one of them to null")
    return [course(model) for course in courses.values()]


def early_dropout(model: nn.Module, *, early_dropout: float) -> Course:
    """Decrease dropout and stochastic depth linearly to 0 at the start of training (Liu et al. 2023).

    Step t of T has 1 - t / (early_dropout T) of their rates, and none after that fraction of the training.
    """
    return scaled_dropout(model, "early_dropout", lambda done: max(0.0, 1 - done / early_dropout))


def late_dropout(model: nn.Module, *, late_dropout: float) -> Course:
    """Disable dropout and stochastic depth at the start of training (Liu et al. 2023)."""
    return scaled_dropout(model, "late_dropout", lambda done: float(done >= late_dropout))


def scaled_dropout(model: nn.Module, course: str, factor: Callable[[float], float]) -> Course:
    """Return a course that multiplies every rate of dropout by a function of the fraction of training that is done.

    Raises:
        UserError: nothing is dropped in training, such as by layers of a frozen network, which stay in evaluation mode.
    """
    model.train()
    layers: list[Any] = [module for module in model.modules() if isinstance(getattr(module, "p", None), float)]
    layers = [layer for layer in layers if layer.p > 0 and layer.training]
    if not layers:
        raise UserError(
            f"courses.{course} needs dropout.rate above 0 (model={models_with('dropout')}) or "
            f"architecture.stochastic_depth (model={models_with('residual blocks')}), outside of what "
            "model.freeze_backbone freezes"
        )
    rates = [layer.p for layer in layers]

    def course_of_dropout(model: nn.Module, step: Step) -> None:
        for layer, rate in zip(layers, rates, strict=True):
            layer.p = rate * factor(step.index / step.total)

    return course_of_dropout


def layer_freezing(model: nn.Module, *, layer_freezing: float) -> Course:
    """Freeze layers one by one, starting at the first, after a fraction of training (as in MosaicML's Composer).

    Of L layers, floor(L (t / T - f) / (1 - f)) are frozen at step t of T, with f = `layer_freezing`. Frozen weights get
    no gradient, no update and no weight decay; batch statistics still follow the images.
    """

    def num_trained(done: float, num_layers: int) -> int:
        return num_layers - whole(num_layers * max(0.0, done - layer_freezing) / (1 - layer_freezing))

    return last_layers_trained(model, "layer_freezing", num_trained)


def gradual_unfreezing(model: nn.Module, *, gradual_unfreezing: float) -> Course:
    """Train only the last layer at first, and unfreeze the others one by one (Howard & Ruder 2018).

    Of L layers, 1 + floor((L - 1) t / (f T)) are trained at step t of T, with f = `gradual_unfreezing`; then all.
    """

    def num_trained(done: float, num_layers: int) -> int:
        return min(num_layers, 1 + whole((num_layers - 1) * done / gradual_unfreezing))

    return last_layers_trained(model, "gradual_unfreezing", num_trained)


def whole(number: float) -> int:
    """Round down, tolerating floating-point error just below a whole number."""
    return int(number + 1e-9)


def last_layers_trained(model: nn.Module, course: str, num_trained: Callable[[float, int], int]) -> Course:
    """Return a course that trains a number of last layers, a function of the fraction done and the number of layers.

    Raises:
        UserError: the network trains a single layer, or none.
    """
    layers = trained_layers(model)
    if len(layers) < 2:
        raise UserError(
            f"courses.{course} needs a network that trains several layers: "
            f"model={models_with('several layers')} without model.freeze_backbone"
        )

    def course_of_layers(model: nn.Module, step: Step) -> None:
        first = len(layers) - num_trained(step.index / step.total, len(layers))
        for number, layer in enumerate(layers):
            for parameter in layer:
                parameter.requires_grad_(number >= first)

    return course_of_layers


def first_bias_freezing(model: nn.Module, *, first_bias_freezing: float) -> Course:
    """Freeze the bias of the first layer after a fraction of the training (Jordan 2024, for whitened images).

    Raises:
        UserError: the first layer has no trained bias.
    """
    first: Any = next(layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    bias = getattr(first, "offset", first.bias)
    if bias is None or not bias.requires_grad:
        raise UserError(
            "courses.first_bias_freezing needs a network that trains a bias in its first layer: "
            f"model={models_with('a bias in the first layer')}"
        )

    def course_of_bias(model: nn.Module, step: Step) -> None:
        if step.index >= first_bias_freezing * step.total:
            bias.requires_grad_(False)

    return course_of_bias


def trained_layers(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the trained parameters by layer, from the input on: a weight with its bias and the norm that follows."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers: dict[int, list[nn.Parameter]] = {}
    for (_, parameter), number in zip(trained, layer_numbers(trained), strict=True):
        layers.setdefault(number, []).append(parameter)
    return list(layers.values())


def models_with(kind: str) -> str:
    return format_names(MODELS_WITH[kind])


class Resizing:
    """Scales the images (N, C, H, W) that a network gets in training to a fraction of their height and width.

    A copy of the network, such as averaged weights, gets full-size images.
    """

    scale = 1.0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Resizing":
        return Resizing()

    def __call__(self, model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (images,) = inputs
        size = [resized(side, self.scale) for side in images.shape[2:]]
        if not model.training or size == list(images.shape[2:]):
            return inputs
        return (F.interpolate(images, size, mode="bilinear", antialias=True),)


def resized(side: int, scale: float) -> int:
    """Return a side in pixels, a multiple of SIZE_STEP unless it is the whole side."""
    return min(side, max(1, round(scale * side / SIZE_STEP)) * SIZE_STEP)


def check_resizing(scale: float | None, input_shape: Sequence[int]) -> None:
    """Check that progressive resizing makes images (C, H, W) smaller.

    Raises:
        UserError: the smallest size is the whole one.
    """
    if scale is not None and all(resized(side, scale) == side for side in input_shape[1:]):
        raise UserError(
            f"courses.progressive_resizing={scale:g} leaves images of {input_shape[1]}x{input_shape[2]} pixels as they "
            f"are, since sizes are multiples of {SIZE_STEP}; choose a smaller fraction"
        )


def progressive_resizing(model: nn.Module, *, progressive_resizing: float) -> Course:
    """Train on small images first (as in MosaicML's Composer, after fast.ai).

    Images have `progressive_resizing` of their height and width in the first half of training, growing linearly in the
    next 30%; the last 20% uses full-size images.

    Raises:
        UserError: the network takes images of one size only.
    """
    takes_any_size = isinstance(getattr(model, "avgpool", None), nn.AdaptiveAvgPool2d)
    if not takes_any_size or getattr(model, "frozen_backbone", False):
        raise UserError(
            "courses.progressive_resizing needs a network that takes images of any size: "
            f"model={models_with('images of any size')} without model.freeze_backbone"
        )
    resizing = Resizing()
    model.register_forward_pre_hook(resizing)

    def course_of_size(model: nn.Module, step: Step) -> None:
        grown = min(1.0, max(0.0, (step.index / step.total - 0.5) / 0.3))
        resizing.scale = progressive_resizing + (1 - progressive_resizing) * grown

    return course_of_size


COURSES: Registry = {
    "early_dropout": early_dropout,
    "late_dropout": late_dropout,
    "layer_freezing": layer_freezing,
    "gradual_unfreezing": gradual_unfreezing,
    "progressive_resizing": progressive_resizing,
    "first_bias_freezing": first_bias_freezing,
}

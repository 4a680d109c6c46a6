"""Build the training components from a typed config and a dataset: model, optimizer, schedule, loaders."""

import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.choice import choose, choose_steps, keyword_only
from sweeper.config import Config
from sweeper.data.augmentation import STEPS, check_augmentation
from sweeper.data.batches import Identity, Normalize, TrainLoader, derived_seed, eval_batches, generator_for
from sweeper.data.cache import Cached, Dataset, Images
from sweeper.data.mixing import MIXINGS
from sweeper.data.validation import count_train_images, resolve_val_size, validation_split
from sweeper.data.views import VIEWS
from sweeper.errors import UserError, format_names
from sweeper.models import MODELS, build_model
from sweeper.models.architecture import STEPS as ARCHITECTURE_STEPS
from sweeper.models.architecture import Layers, check_steps, modify
from sweeper.models.init import INITS, check_init
from sweeper.models.layers import ACTIVATIONS, DROPOUTS, NORMS
from sweeper.training.averaging import AVERAGINGS
from sweeper.training.courses import COURSES, check_resizing, start_courses
from sweeper.training.device import choose_device
from sweeper.training.loop import Recipe
from sweeper.training.losses import LOSSES, check_class_weights, resolve_class_weights
from sweeper.training.momentum import follow
from sweeper.training.optimizers import OPTIMIZERS
from sweeper.training.parameter_groups import GROUPING, NamedParameters, refine_groups
from sweeper.training.schedules import SCHEDULERS, check_schedule
from sweeper.training.state import TrainState
from sweeper.training.task import TASKS, Task
from sweeper.training.task_checks import check_task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choices:
    """The functions that a config's names choose, their settings filled in.

    Attributes:
        augmentation, architecture, courses: the steps that are on, by name.
    """

    model: partial[Any]
    activation: partial[Any]
    norm: partial[Any]
    dropout: partial[Any]
    architecture: dict[str, partial[Any]]
    init: partial[Any]
    augmentation: dict[str, partial[Any]]
    mixing: partial[Any]
    loss: partial[Any]
    optimizer: partial[Any]
    scheduler: partial[Any]
    averaging: partial[Any]
    courses: dict[str, partial[Any]]
    views: partial[Any]
    task: partial[Any]


def choose_all(config: Config) -> Choices:
    """Look up the choice of every group.

    Raises:
        UserError: see sweeper.choice.choose.
    """
    return Choices(
        model=choose("model", config.model, MODELS),
        activation=choose("activation", config.activation, ACTIVATIONS),
        norm=choose("norm", config.norm, NORMS),
        dropout=choose("dropout", config.dropout, DROPOUTS),
        architecture=choose_steps("architecture", config.architecture, ARCHITECTURE_STEPS),
        init=choose("init", config.init, INITS),
        augmentation=choose_steps("augmentation", config.augmentation, STEPS),
        mixing=choose("mixing", config.mixing, MIXINGS),
        loss=choose("loss", config.loss, LOSSES),
        optimizer=choose("optimizer", config.optimizer, OPTIMIZERS, GROUPING),
        scheduler=choose("scheduler", config.scheduler, SCHEDULERS),
        averaging=choose("averaging", config.averaging, AVERAGINGS),
        courses=choose_steps("courses", config.courses, COURSES),
        views=choose("views", config.views, VIEWS),
        task=choose("task", config.task, TASKS),
    )


@dataclass
class TrainingComponents:
    """A run ready to start.

    Attributes:
        val_images, val_indices: the images that contain the validation images, and the validation images' indices
            there. These and the training images may be features already, see `extract_features`.
        normalize: for test images.
    """

    state: TrainState
    recipe: Recipe
    train_loader: TrainLoader
    val_images: Images
    val_indices: Tensor
    test_images: Images
    normalize: Normalize

    def val_loader(self) -> Iterator[tuple[Tensor, Tensor]]:
        return eval_batches(self.val_images, self.val_indices, self.train_loader.transform)

    def test_loader(self) -> Iterator[tuple[Tensor, Tensor]]:
        return eval_batches(self.test_images, torch.arange(len(self.test_images)), self.normalize)


def build(
    config: Config,
    choices: Choices,
    dataset: Dataset,
    device: torch.device,
    *,
    load_pretrained: bool = True,
    teacher: nn.Module | None = None,
) -> TrainingComponents:
    """Assemble a run.

    Args:
        load_pretrained: whether to read the weights that fine-tuning starts from.
        teacher: the network that a loss with the setting `teacher` learns from.

    Raises:
        UserError: the settings do not fit the images or each other.
    """
    task: Task = choices.task()
    train_indices, val_images, val_indices = validation_split(dataset, config.data, config.seed)
    normalize = Normalize(torch.tensor(config.data.mean), torch.tensor(config.data.std))

    def some_images(number: int) -> Tensor:  # of all classes: files are often sorted by class
        shuffled = torch.randperm(len(train_indices), generator=generator_for(config.seed, "init"))
        return normalize(dataset.train.images[train_indices[shuffled[:number]]])

    model = seeded_model(config, choices, dataset)
    choices.init(model, some_images)
    if load_pretrained:
        model.load_state_dict(pretrained_state(model), strict=False)
    is_conv = any(isinstance(module, nn.Conv2d) for module in model.modules())
    memory_format = torch.channels_last if is_conv else torch.contiguous_format
    model.to(device).to(memory_format=memory_format)
    normalize = Normalize(normalize.mean.to(device), normalize.std.to(device), memory_format)
    train_images = dataset.train.to(device)
    held_out = train_images if val_images is dataset.train else val_images.to(device)
    transform: Normalize | Identity = normalize
    autocast = getattr(torch, config.autocast) if config.autocast is not None else None
    sees_same_images = not choices.augmentation and config.mixing.name == "none"  # in every epoch
    if getattr(model, "frozen_backbone", False) and sees_same_images and teacher is None:
        in_training = held_out is train_images
        used = torch.cat([train_indices, val_indices]) if in_training else train_indices
        train_images = extract_features(train_images, model, normalize, autocast, used)
        held_out = train_images if in_training else extract_features(held_out, model, normalize, autocast)
        transform = Identity()
    steps = choices.augmentation
    loader = TrainLoader(
        train_images, train_indices, config.batch_size, config.seed, transform, steps, task.moves(steps)
    )
    total_steps = len(loader) * config.epochs
    optimizer = build_optimizer(config, choices, trained_parameters(model))
    lr_multiplier = choices.scheduler(len(loader), total_steps)
    criterion = choices.loss
    if (weights := criterion.keywords.get("class_weights")) is not None:
        labels = task.class_indices(dataset.train.labels[train_indices])
        weights = resolve_class_weights(weights, labels, len(dataset.classes)).to(device)
        criterion = partial(criterion, class_weights=weights)
    recipe = Recipe(
        criterion=task.criterion(criterion),
        lr=optimizer.defaults["lr"],
        lr_multiplier=lr_multiplier,
        mixing=choices.mixing,
        num_classes=len(dataset.classes),
        total_steps=total_steps,
        select=config.select or f"val_{task.score}",
        grad_clip=config.grad_clip,
        autocast=autocast,
        selective_backprop=config.selective_backprop,
        courses=start_courses(choices.courses, model),
        momentum=follow(optimizer, lr_multiplier),
        teacher=None if teacher is None else teacher.to(device).to(memory_format=memory_format).eval(),
        task=task,
    )
    if config.compile:  # per shape, and without the caches of earlier runs, which must not affect this run
        torch.compiler.reset()
        model.compile(dynamic=False)
    torch.manual_seed(
        derived_seed(config.seed, "training")
    )  # for dropout, independent of the draws of the initial weights
    state = TrainState(model, optimizer, choices.averaging(model, len(loader)))
    return TrainingComponents(state, recipe, loader, held_out, val_indices, dataset.test.to(device), normalize)


def build_optimizer(config: Config, choices: Choices, parameters: NamedParameters) -> Optimizer:
    """Return the chosen optimizer, its groups refined by the settings that every optimizer has.

    Raises:
        UserError: the optimizer does not fit the model, or a setting has no effect.
    """
    named = list(parameters)
    optimizer: Optimizer = choices.optimizer(named)
    refine_groups(optimizer, named, **{name: getattr(config.optimizer, name) for name in GROUPING})
    return optimizer


def trained_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def pretrained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the pretrained weights of a model; none if it starts from scratch.

    Raises:
        UserError: they cannot be loaded or do not fit.
    """
    bring = getattr(model, "pretrained_state", dict)
    state: dict[str, Tensor] = bring()
    return state


@torch.no_grad()
def extract_features(
    data: Images, model: nn.Module, normalize: Normalize, autocast: torch.dtype | None, used: Tensor | None = None
) -> Images:
    """Compute the features (N, D) of images with a frozen backbone, once, since they do not change.

    Args:
        used: indices of the images that are used; the features of others stay 0. None: all.
    """
    indices = torch.arange(len(data)) if used is None else used.sort().values
    log.info("precomputing frozen-backbone features for %s images", f"{len(indices):,}")
    backbone: Any = model.eval()
    batches = eval_batches(data, indices, normalize)
    with torch.autocast(data.images.device.type, autocast, enabled=autocast is not None):
        features = torch.cat([backbone.features(images).float() for images, _ in batches])
    if len(indices) < len(data):
        all_features = features.new_zeros(len(data), features.shape[1])
        all_features[indices.to(features.device)] = features
        features = all_features
    return Images(features, data.labels)


def seeded_model(config: Config, choices: Choices, dataset: Dataset | Cached) -> nn.Module:
    """Build the network with the weights that its layers draw."""
    torch.manual_seed(derived_seed(config.seed, "weights"))
    model = build_model(
        choices.model,
        dataset.input_shape,
        len(dataset.classes),
        activation=choices.activation,
        norm=choices.norm,
        dropout=choices.dropout,
    )
    modify(model, choices.architecture, Layers(choices.activation, choices.norm))
    return model


def check(config: Config, choices: Choices, cached: Cached) -> nn.Module:
    """Check for anything that would stop the run before its first step, without reading images or drawing weights.

    Returns:
        The model on torch's meta device: shapes without numbers.

    Raises:
        UserError: see `build`.
    """
    choose_device(config.device)
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
    if config.compile and shutil.which(shlex.split(compiler)[0]) is None:
        raise UserError(f"compile=true needs a C++ compiler, and {compiler} is not installed; choose compile=false")
    check_task(config, choices)
    check_augmentation(choices.augmentation, cached.input_shape)
    check_own_layers(config, choices)
    check_steps(config.model.name, choices.model, choices.architecture)
    missing = [slot for slot in ("activation", "norm") if slot not in keyword_only(choices.model)]
    refused: dict[str, Any] = {slot: partial(refuse_slot, slot, config.model.name) for slot in missing}
    with torch.device("meta"):
        model = seeded_model(config, replace(choices, **refused), cached)
    check_init(config.init.name, choices.init, model, has_weights=config.model.weights is not None)
    pretrained_state(model)
    start_courses(choices.courses, model)
    check_resizing(config.courses.progressive_resizing, cached.input_shape)
    if config.views.name != "none" and getattr(model, "frozen_backbone", False):
        raise UserError(
            f"views={config.views.name} needs a network that takes images, and model.freeze_backbone=true trains on "
            "features; choose views=none"
        )
    if config.views.shift is not None and config.views.shift >= min(cached.input_shape[1:]):
        raise UserError(
            f"views.shift={config.views.shift} is too large for images of {cached.input_shape[1]}x"
            f"{cached.input_shape[2]} pixels; choose a smaller shift"
        )
    shapes = [(name, nn.Parameter(torch.zeros(()).expand(weight.shape))) for name, weight in trained_parameters(model)]
    optimizer = build_optimizer(config, choices, shapes)
    steps_per_epoch = count_steps(config, cached)
    total_steps = steps_per_epoch * config.epochs
    multiplier = choices.scheduler(steps_per_epoch, total_steps)
    follow(optimizer, multiplier)
    check_schedule(config.scheduler.name, config.scheduler.warmup_epochs, multiplier, steps_per_epoch, config.epochs)
    if config.averaging.interval is not None and config.averaging.interval > total_steps:
        raise UserError(
            f"averaging.interval={config.averaging.interval} is longer than the training of {total_steps} steps"
        )
    if (weights := choices.loss.keywords.get("class_weights")) is not None:
        check_class_weights(weights, len(cached.classes))
    return model


def refuse_slot(slot: str, model: str, *_: Any, **__: Any) -> NoReturn:
    """Refuse an architecture step's layer of a slot that the model lacks: the run's ID has no choice of that slot.

    Raises:
        UserError: always.
    """
    named = format_names(name for name, function in MODELS.items() if slot in keyword_only(function))
    raise UserError(f"model={model} has no {slot}, and a step of architecture uses layers.{slot}; choose model={named}")


def check_own_layers(config: Config, choices: Choices) -> None:
    """Check that a network whose own activation or norm is asked for has one.

    Raises:
        UserError: it is built of the layers that the slots choose.
    """
    for slot in ("activation", "norm"):
        is_own = getattr(config, slot).name == "own"
        if is_own and slot in keyword_only(choices.model) and config.model.arch is None:
            raise UserError(f"{slot}=own is for model=timm and torchvision; choose another for {config.model.name}")


def count_steps(config: Config, cached: Cached) -> int:
    """Return the steps of an epoch."""
    number = count_train_images(resolve_val_size(config.data, cached), cached)
    nothing = Images(torch.empty(0), torch.empty(0))
    return len(TrainLoader(nothing, torch.arange(number), config.batch_size, 0, Identity()))

"""From a typed config and a dataset to what trains: model, optimizer, schedule, batches."""

import ctypes
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.choice import choose
from sweeper.config import Config
from sweeper.data.augmentation import AUGMENTATIONS, none
from sweeper.data.batches import AsTheyAre, Normalise, TrainBatches, derived_seed, eval_batches
from sweeper.data.cache import COMMON, Cached, Dataset, Images, check_data, validation_split
from sweeper.data.sources import DATASETS
from sweeper.errors import UserError
from sweeper.models import MODELS, build_model
from sweeper.models.layers import ACTIVATIONS, DROPOUTS, NORMS
from sweeper.models.resnet import fitting_weights
from sweeper.training.loop import Training
from sweeper.training.optimizers import OPTIMIZERS
from sweeper.training.schedules import SCHEDULERS

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass
class Built:
    """A run ready to start.

    Attributes:
        val: the images that hold the validation images, and the validation images' places there.
        normalise: for test images; training and validation images may be features already, see features_of.
    """

    training: Training
    train: TrainBatches
    val: tuple[Images, Tensor]
    test: Images
    normalise: Normalise

    def val_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return eval_batches(*self.val, self.train.normalise)

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return eval_batches(self.test, torch.arange(len(self.test)), self.normalise)


@dataclass
class Choices:
    """The functions that a config's names choose, their settings filled in."""

    data: partial[Any]
    model: partial[Any]
    optimizer: partial[Any]
    scheduler: partial[Any]
    activation: partial[Any]
    norm: partial[Any]
    dropout: partial[Any]
    augmentation: partial[Any]


def choose_all(config: Config) -> Choices:
    """Look every group's name up.

    Raises:
        UserError: see sweeper.choice.choose.
    """
    return Choices(
        data=choose("data", config.data, DATASETS, COMMON),
        model=choose("model", config.model, MODELS),
        optimizer=choose("optimizer", config.optimizer, OPTIMIZERS),
        scheduler=choose("scheduler", config.scheduler, SCHEDULERS),
        activation=choose("activation", config.activation, ACTIVATIONS),
        norm=choose("norm", config.norm, NORMS),
        dropout=choose("dropout", config.dropout, DROPOUTS),
        augmentation=choose("augmentation", config.augmentation, AUGMENTATIONS),
    )


def keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next step, up to a GB.

    Its defaults give a tensor of a few MB back to the system at once, and the next one costs a page fault every 4 kB:
    half the time of a small convolutional network. Elsewhere than on Linux this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 16 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def be_deterministic() -> None:
    """Have a GPU compute the same every time where it can: bit-exact resume is worth more than some speed.

    An operation that cannot is done all the same, and torch warns of it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # nothing here reads what it did not write


def choose_device(name: str) -> torch.device:
    """The device of a `device=` setting.

    Raises:
        UserError: cuda is asked for where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: torch sees no GPU here; choose device=cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def build(config: Config, choices: Choices, dataset: Dataset, *, start_weights: bool = True) -> Built:
    """Put a run together; with `start_weights` false, without reading the weights that fine-tuning starts from.

    Raises:
        UserError: the settings do not fit the images or each other.
    """
    keep_freed_memory()
    device = choose_device(config.device)
    if device.type == "cuda":
        be_deterministic()
    train_indices, val_images, val_indices = validation_split(dataset, config.data, config.seed)
    model = seeded_model(config, choices, dataset, start_weights)
    is_conv = any(isinstance(module, nn.Conv2d) for module in model.modules())
    memory_format = torch.channels_last if is_conv else torch.contiguous_format
    model.to(device).to(memory_format=memory_format)
    mean, std = torch.tensor(config.data.mean, device=device), torch.tensor(config.data.std, device=device)
    normalise = Normalise(mean, std, memory_format)
    resident = dataset.train.to(device)
    held_out = resident if val_images is dataset.train else val_images.to(device)
    ready: Normalise | AsTheyAre = normalise
    autocast = getattr(torch, config.autocast) if config.autocast is not None else None
    if config.model.freeze_backbone and choices.augmentation.func is none:
        in_training = held_out is resident
        resident = features_of(resident, model, normalise, autocast)
        held_out = resident if in_training else features_of(held_out, model, normalise, autocast)
        ready = AsTheyAre()
    val = (held_out, val_indices)
    train = TrainBatches(resident, train_indices, config.batch_size, config.seed, ready, choices.augmentation)
    factor = choices.scheduler(len(train), len(train) * config.epochs)
    optimizer = choices.optimizer([parameter for parameter in model.parameters() if parameter.requires_grad])
    lr = optimizer.param_groups[0]["lr"]
    training = Training(model, optimizer, factor, lr, config.label_smoothing, config.grad_clip, autocast)
    if config.compile:  # each shape by itself and nothing of earlier runs: what came before must decide nothing
        torch.compiler.reset()
        model.compile(dynamic=False)
    torch.manual_seed(derived_seed(config.seed, "training"))  # dropout, whatever the weights drew
    return Built(training, train, val, dataset.test.to(device), normalise)


@torch.no_grad()
def features_of(data: Images, model: nn.Module, normalise: Normalise, autocast: torch.dtype | None) -> Images:
    """What a frozen backbone makes of the images (N, 512), computed once since no epoch would change it."""
    log.info("computing what the frozen backbone makes of %s images, once", f"{len(data):,}")
    backbone: Any = model.eval()
    batches = eval_batches(data, torch.arange(len(data)), normalise)
    with torch.autocast(data.images.device.type, autocast, enabled=autocast is not None):
        return Images(torch.cat([backbone.features(images).float() for images, _ in batches]), data.labels)


def seeded_model(config: Config, choices: Choices, dataset: Dataset | Cached, start_weights: bool) -> nn.Module:
    torch.manual_seed(derived_seed(config.seed, "weights"))
    model = build_model(
        choices.model,
        dataset.input_shape,
        len(dataset.classes),
        activation=choices.activation,
        norm=choices.norm,
        dropout=choices.dropout,
    )
    if config.model.weights is not None and start_weights:
        model.load_state_dict(fitting_weights(model, config.model.weights, asdict(config.norm)), strict=False)
    return model


def check(config: Config, choices: Choices, cached: Cached) -> nn.Module:
    """Find what would stop the run before its first step, without reading images or drawing weights.

    Returns:
        The model on torch's meta device: its shapes without its numbers.

    Raises:
        UserError: see build.
    """
    choose_device(config.device)
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
    if config.compile and shutil.which(shlex.split(compiler)[0]) is None:
        raise UserError(f"compile=true needs a C++ compiler, and there is no {compiler} here; choose compile=false")
    check_data(config.data, cached.num_train, cached.input_shape[0])
    with torch.device("meta"):
        model = seeded_model(config, choices, cached, start_weights=False)
    if config.model.weights is not None:
        fitting_weights(model, config.model.weights, asdict(config.norm))
    choices.optimizer([nn.Parameter(torch.zeros(1))])
    choices.scheduler(1, 1)
    return model

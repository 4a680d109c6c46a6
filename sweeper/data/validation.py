"""Which images of a dataset a run trains on, and which it validates on: checked, reported, split by class."""

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.data.cache import Cached, Dataset, Images
from sweeper.data.image_scan import few
from sweeper.data.split import nested_subset, stratified_split
from sweeper.errors import UserError, warn_once
from sweeper.groups import DataConfig

log = logging.getLogger(__name__)


def resolve_val_size(config: DataConfig, cached: Cached) -> DataConfig:
    """Return the config with `val_size: null` as its number, a tenth of the training images.

    It stays null where the dataset has validation images of its own.
    """
    is_open = config.val_size is None and cached.num_val == 0
    return replace(config, val_size=cached.num_train // 10) if is_open else config


def count_train_images(config: DataConfig, cached: Cached) -> int:
    """Return the number of images that are trained on, with `val_size` resolved."""
    return config.train_size or cached.num_train - (config.val_size or 0)


def warn_about_split(given: int | None, config: DataConfig, cached: Cached, seed: int) -> None:
    """Report what follows from few images: no validation images of their own, or classes that are never trained on.

    Args:
        given: `val_size` before it was resolved.
        config: with its number.
        seed: of the run, on which it may depend which class has none.
    """
    if config.val_size == 0 and given is None:
        warn_once(
            log,
            f"data.root={config.root}: {cached.num_train} training images are too few to hold a tenth out: the test "
            "images are the validation images; data.val_size=N holds N out",
        )
    size = None if config.train_size is None else int(config.train_size)
    if untrained := untrained_classes(cached.folder, cached.fingerprint, seed, config.val_size or 0, size):
        names = [cached.classes[label] for label in untrained]
        cause = f"data.val_size={config.val_size}" if size is None else f"data.train_size={size}"
        warn_once(
            log,
            f"{cause} leaves no training image of {len(names)} of {len(cached.classes)} classes ({few(names)}): they "
            "have too few images",
        )


def strata(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the groups (N,) whose shares a split keeps: the classes; of masks, which have several each, one group."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)


@cache
def untrained_classes(
    folder: Path, fingerprint: str, seed: int, val_size: int, train_size: int | None = None
) -> list[int]:
    """Return the classes without a training image; none for masks, which have several each, and for a damaged cache."""
    try:
        labels = np.load(folder / "train_labels.npy")
        if labels.ndim > 1:
            return []
        train, _ = stratified_split(labels, val_size, seed)
        chosen = train if train_size is None else train[nested_subset(labels[train], train_size, seed)]
        return [int(label) for label in np.setdiff1d(labels, labels[chosen])]
    except Exception:  # as in read_arrays; load repairs it
        return []


def check_data(config: DataConfig, num_train: int, channels: int) -> None:
    """Check the settings that depend on the images.

    Raises:
        UserError: fewer training images would be left than two or `train_size`, or the statistics are not one number
            per channel.
    """
    for name, values in (("mean", config.mean), ("std", config.std)):
        if len(values or []) != channels:
            raise UserError(f"data.{name}={values} needs a number for each of the images' {channels} channels")
    if num_train < 2:
        raise UserError(f"training needs at least two images, but there are {num_train}")
    if int(config.val_size or 0) > num_train - 2:
        raise UserError(
            f"data.val_size={config.val_size} must be at most {num_train - 2}: there are {num_train} training images"
        )
    left = num_train - int(config.val_size or 0)
    if config.train_size is not None and config.train_size > left:
        out = f", {config.val_size} of them held out for validation" if config.val_size else ""
        raise UserError(
            f"data.train_size={config.train_size} must be at most {left}: there are {num_train} training images{out}"
        )


def validation_split(dataset: Dataset, config: DataConfig, seed: int) -> tuple[Tensor, Images, Tensor]:
    """Split a dataset into training and validation images.

    Returns:
        Indices of the training images (N,), of which there are `train_size`; the images that hold the validation
        images, and their indices there: all of the dataset's own, or of the training images a stratified share of
        `val_size`, or where that is 0 all test images.

    Raises:
        UserError: see check_data.
    """
    check_data(config, len(dataset.train), dataset.input_shape[0])
    val_size = int(config.val_size or 0)
    labels = strata(dataset.train.labels.numpy())
    train, val = stratified_split(labels, val_size, seed)
    if config.train_size is not None:
        train = train[nested_subset(labels[train], config.train_size, seed)]
    if val_size > 0:
        return torch.from_numpy(train), dataset.train, torch.from_numpy(val)
    held = dataset.val if dataset.val is not None and config.val_size is None else dataset.test
    return torch.from_numpy(train), held, torch.arange(len(held))

"""Datasets as uint8 tensors: decoded once into a cache of memory-mapped arrays, whose pages parallel runs share."""

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from sweeper.choice import choose
from sweeper.data.image_folders import CACHE_TAG, few
from sweeper.data.source import Source
from sweeper.data.sources import DATASETS
from sweeper.data.split import stratified_split
from sweeper.errors import UserError, warn_once
from sweeper.files import write_text
from sweeper.groups import DataConfig

log = logging.getLogger(__name__)

CACHE_VERSION = 1
COMMON = ("cache", "val_size", "mean", "std")  # settings of every dataset
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Decoded images; may be deleted at any time.\n"
TEST_FILES = "test_files.json"  # paths of the test images below the dataset's root, in order
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass
class Cached:
    """A decoded dataset on disk: enough to identify runs without reading the images.

    Attributes:
        fingerprint: SHA-256 of all pixels, labels and class names, so equal images have it wherever they lie.
    """

    source: Source
    folder: Path
    fingerprint: str
    classes: list[str]
    input_shape: tuple[int, int, int]  # channels, height, width of an image
    num_train: int  # validation images included
    num_test: int


@dataclass
class Images:
    """Images (N, C, H, W) uint8 with their labels: classes (N,) int64, or masks (N, H, W) uint8."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Images":
        return Images(self.images.to(device), self.labels.to(device))


@dataclass
class Dataset:
    """All images of a dataset, on the CPU; where the cache is used, mapped from its files.

    Attributes:
        train: images that are trained on or held out for validation.
        test: images that are looked at once, at the end of a run.
    """

    train: Images
    test: Images
    classes: list[str]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def prepare(config: DataConfig) -> Cached:
    """Find the dataset in the cache, or decode it into the cache; one process decodes while others wait.

    Raises:
        UserError: the images are missing or unreadable, or the cache cannot be written.
    """
    source = choose("data", config, DATASETS, COMMON)()
    if config.cache is None:
        raise UserError("data.cache=null: name a folder for the decoded images")
    name = hashlib.sha256(f"{CACHE_VERSION} {source.key}".encode()).hexdigest()[:16]
    folder = Path(str(config.cache)) / f"{config.name}-{name}"
    cached = read_index(source, folder) or decode(source, folder)
    keep_names(cached)
    return cached


def keep_names(cached: Cached) -> None:
    """Keep the names of the test images' files beside the images, for readers that find the cache alone."""
    names = cached.folder / TEST_FILES
    if cached.source.test_files and not names.exists():
        with suppress(OSError):  # a cache that may only be read
            write_text(names, json.dumps(list(cached.source.test_files)), sync=False)


def read_index(source: Source, folder: Path) -> Cached | None:
    """Read the index of a cache folder; None where the cache is missing or incomplete."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        (num_train, *shape), (num_test, *_) = index["shapes"]["train_images"], index["shapes"]["test_images"]
        return Cached(source, folder, index["fingerprint"], index["classes"], tuple(shape), num_train, num_test)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def decode(source: Source, folder: Path, *, broken: bool = False) -> Cached:
    """Decode the source to a temporary folder and rename it when complete. With `broken`, replace a damaged cache."""
    partial = folder.with_suffix(".partial")

    def allocate(name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        path = partial / f"{name}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        with path.open("r+b") as file:  # a full disk is an error here, not a bus error while writing
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / CACHE_TAG).write_text(TAG_TEXT, encoding="utf-8")
        with FileLock(folder.with_suffix(".lock")):
            if not broken and (cached := read_index(source, folder)):
                return cached  # another process was faster
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            log.info("decoding the images once into %s", folder)
            try:
                classes = source.decode(allocate)
                arrays = {name: np.load(partial / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
                shapes = {name: list(array.shape) for name, array in arrays.items()}
                index = {"fingerprint": fingerprint(arrays, classes), "classes": classes, "shapes": shapes}
                (partial / "index.json").write_text(json.dumps(index), encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"the images cannot be cached in data.cache={folder.parent}: {error}") from error
    cached = read_index(source, folder)
    if cached is None:
        raise UserError(f"the cache {folder} was removed during writing; retry")
    return cached


def fingerprint(arrays: dict[str, NDArray[Any]], classes: list[str]) -> str:
    digest = hashlib.sha256(json.dumps(classes).encode())
    for name in ARRAYS:
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()


def load(cached: Cached) -> Dataset:
    """Map the cached arrays into memory; a damaged cache is detected and decoded again.

    Raises:
        UserError: the cache is damaged, and its source now holds other images or none.
    """
    arrays = read_arrays(cached)
    if arrays is None:
        log.warning("the cache %s is damaged; decoding again", cached.folder)
        again = decode(cached.source, cached.folder, broken=True)
        arrays = read_arrays(again)
        if again.fingerprint != cached.fingerprint or arrays is None:
            raise UserError(f"the cache {cached.folder} was damaged and its source has changed; rerun the command")
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    train = Images(tensors["train_images"], tensors["train_labels"])
    return Dataset(train, Images(tensors["test_images"], tensors["test_labels"]), cached.classes)


def read_arrays(cached: Cached) -> dict[str, NDArray[Any]] | None:
    """Map the arrays copy-on-write (torch needs writable memory); None where their checksum does not match."""
    try:
        arrays = {name: np.load(cached.folder / f"{name}.npy", mmap_mode="c") for name in ARRAYS}
    except Exception:  # numpy parses the header as Python, so that damage there raises anything
        return None
    return arrays if fingerprint(arrays, cached.classes) == cached.fingerprint else None


def resolve_val_size(config: DataConfig, cached: Cached) -> DataConfig:
    """Return the config with `val_size: null` as its number, a tenth of the training images."""
    return replace(config, val_size=cached.num_train // 10) if config.val_size is None else config


def warn_about_split(given: int | None, config: DataConfig, cached: Cached) -> None:
    """Report what follows from few images: no validation images of their own, or classes that are never trained on.

    Args:
        given: `val_size` before it was resolved.
        config: with its number.
    """
    if config.val_size == 0:
        if given is None:
            warn_once(
                log,
                f"data.root={config.root}: {cached.num_train} training images are too few to hold a tenth out: the "
                "test images are the validation images; data.val_size=N holds N out",
            )
    elif untrained := untrained_classes(cached.folder, cached.fingerprint, config.val_size or 0):
        names = [cached.classes[label] for label in untrained]
        warn_once(
            log,
            f"data.val_size={config.val_size} leaves no training image of {len(names)} of {len(cached.classes)} "
            f"classes ({few(names)}): they have too few images",
        )


@cache
def untrained_classes(folder: Path, fingerprint: str, val_size: int) -> list[int]:
    """Return the classes whose training images are all held out, which no seed changes; none for a damaged cache."""
    try:
        labels = np.load(folder / "train_labels.npy")
        if labels.ndim > 1:  # masks: it depends on the seed
            return []
        train, _ = stratified_split(labels, val_size, seed=0)
        return [int(label) for label in np.setdiff1d(labels, labels[train])]
    except Exception:  # as in read_arrays; load repairs it
        return []


def check_data(config: DataConfig, num_train: int, channels: int) -> None:
    """Check the settings that depend on the images.

    Raises:
        UserError: fewer than two training images would be left, or the statistics are not one number per channel.
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


def strata(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the groups (N,) whose shares a split keeps: the classes; of masks, which have several each, one group."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)


def validation_split(dataset: Dataset, config: DataConfig, seed: int) -> tuple[Tensor, Images, Tensor]:
    """Split a dataset into training and validation images.

    Returns:
        Indices of the training images (N,); the images that hold the validation images, and their indices there: of
        the training images a stratified share of `val_size`, or where that is 0 all test images.

    Raises:
        UserError: see check_data.
    """
    check_data(config, len(dataset.train), dataset.input_shape[0])
    val_size = int(config.val_size or 0)
    if val_size == 0:
        return torch.arange(len(dataset.train)), dataset.test, torch.arange(len(dataset.test))
    train, val = stratified_split(strata(dataset.train.labels.numpy()), val_size, seed)
    return torch.from_numpy(train), dataset.train, torch.from_numpy(val)

"""Datasets as uint8 tensors: decoded once into a cache of memory-mapped arrays, whose pages parallel runs share."""

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from sweeper.data.image_scan import CACHE_TAG
from sweeper.data.source import Source
from sweeper.data.sources import locate
from sweeper.errors import UserError
from sweeper.files import write_text
from sweeper.groups import DataConfig

log = logging.getLogger(__name__)

TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# Decoded images; may be deleted at any time.\n"
TEST_FILES = "test_files.json"  # paths of the test images below the dataset's root, in order
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
VAL_ARRAYS = ("val_images", "val_labels")  # of a dataset with validation images of its own


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
    num_train: int  # validation images that are held out of them included
    num_test: int
    num_val: int = 0  # validation images of the dataset's own

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*ARRAYS, *VAL_ARRAYS) if self.num_val else ARRAYS


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
        val: validation images of the dataset's own; None: they are held out of the training images.
    """

    train: Images
    test: Images
    classes: list[str]
    val: Images | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def prepare(config: DataConfig) -> Cached:
    """Find the dataset in the cache, or decode it into the cache; one process decodes while others wait.

    Raises:
        UserError: the images are missing or unreadable, or the cache cannot be written.
    """
    source, folder = locate(config)
    cached = read_index(source, folder) or decode(source, folder)
    keep_names(cached)
    return cached


def find(config: DataConfig) -> Cached | None:
    """Find the dataset in the cache; None where it is not decoded yet.

    Raises:
        UserError: the images are missing.
    """
    cached = read_index(*locate(config))
    if cached is not None:
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
        shapes = index["shapes"]
        (num_train, *shape), (num_test, *_) = shapes["train_images"], shapes["test_images"]
        num_val, *_ = shapes.get("val_images", [0])
        return Cached(
            source, folder, index["fingerprint"], index["classes"], tuple(shape), num_train, num_test, num_val
        )
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
                has_val = (partial / "val_images.npy").exists()
                names = (*ARRAYS, *VAL_ARRAYS) if has_val else ARRAYS
                arrays = {name: np.load(partial / f"{name}.npy", mmap_mode="r") for name in names}
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
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
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
    splits = {name.partition("_")[0]: None for name in cached.arrays}
    train, test, *val = (Images(tensors[f"{split}_images"], tensors[f"{split}_labels"]) for split in splits)
    return Dataset(train, test, cached.classes, *val)


def read_arrays(cached: Cached) -> dict[str, NDArray[Any]] | None:
    """Map the arrays copy-on-write (torch needs writable memory); None where their checksum does not match."""
    try:
        arrays = {name: np.load(cached.folder / f"{name}.npy", mmap_mode="c") for name in cached.arrays}
    except Exception:  # numpy parses the header as Python, so that damage there raises anything
        return None
    return arrays if fingerprint(arrays, cached.classes) == cached.fingerprint else None

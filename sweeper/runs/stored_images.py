"""The images of a run, read from the cache of decoded images. No torch here: the report shows some of them."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.runs.directory import RunDirectory

Pixels = NDArray[np.uint8]
INDEX, NAMES = "index.json", "test_files.json"  # see sweeper.data.cache


@dataclass(frozen=True)
class StoredImages:
    """The test images of a dataset, or those to train on, on disk.

    Attributes:
        images: (N, C, H, W) uint8, mapped from the cache.
        labels: (N,) int64; masks (N, H, W) uint8.
        files: their paths below the dataset's root; empty where they have none, and of training images.
    """

    images: Pixels
    labels: NDArray[np.integer]
    files: list[str]


def find_test_images(record: RunDirectory, cache: str | None = None) -> StoredImages | None:
    """Find the test images of a run by its dataset's fingerprint; None where no cache has them.

    Args:
        record: its run.json is read.
        cache: the folder of decoded images; None for the recorded one.
    """
    folder = find_folder(record, cache)
    return None if folder is None else read_test_images(folder)


def find_train_images(record: RunDirectory) -> StoredImages | None:
    """Find the training images of a run, those that it holds out included; None where its cache has them not."""
    folder = find_folder(record)
    return None if folder is None else read_split(folder, "train")


def find_folder(record: RunDirectory, cache: str | None = None) -> Path | None:
    """Find the folder of a run's decoded images, see `find_test_images`."""
    run: Any = record.run() or {}
    try:
        fingerprint = run["dataset"]["fingerprint"]
        folders = list(subfolders(Path(cache or run["config"]["data"]["cache"])))
    except (OSError, ValueError, KeyError, TypeError):  # a record may hold anything
        return None
    same = (folder for folder in folders if read_json(folder / INDEX, "fingerprint") == fingerprint)
    return max(same, key=changed, default=None) if isinstance(fingerprint, str) else None  # the images' newest names


def changed(folder: Path) -> float:
    """Return when a folder of the cache was written; 0 where it is gone."""
    try:
        return (folder / INDEX).stat().st_mtime
    except OSError:
        return 0.0


def subfolders(cache: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(cache), key=lambda entry: entry.name):
        if entry.is_dir():
            yield Path(entry.path)


def read_test_images(folder: Path) -> StoredImages | None:
    """Read the test images of a folder of the cache; None where it is damaged."""
    stored = read_split(folder, "test")
    names = read_json(folder / NAMES)
    is_whole = stored is not None and isinstance(names, list) and len(names) == len(stored.labels)
    return replace(stored, files=[str(name) for name in names]) if stored and is_whole else stored


def read_split(folder: Path, split: str) -> StoredImages | None:
    """Read the images `train` or `test` of a folder of the cache, without names; None where it is damaged."""
    try:
        images = np.load(folder / f"{split}_images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / f"{split}_labels.npy", mmap_mode="r", allow_pickle=False)
    except Exception:  # numpy parses the header as Python, so that damage there raises anything
        return None
    shapes = (images.shape[:1], (*images.shape[:1], *images.shape[2:]))  # of classes and of masks
    if images.ndim != 4 or images.dtype != np.uint8 or labels.shape not in shapes:
        return None
    return StoredImages(images, labels, [])


def read_json(path: Path, key: str | None = None) -> Any:
    """Return a file's content, or what it has under a key; None where there is none."""
    try:
        content = json.loads(path.read_bytes())
        return content if key is None else content[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None

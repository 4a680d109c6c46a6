"""The test images of a run, read from the cache of decoded images. No torch here: the report shows some of them."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.runs.directory import RunDirectory

Pixels = NDArray[np.uint8]
INDEX, NAMES = "index.json", "test_files.json"  # see sweeper.data.cache


@dataclass(frozen=True)
class StoredImages:
    """The test images of a dataset, on disk.

    Attributes:
        images: (N, C, H, W) uint8, mapped from the cache.
        labels: (N,) int64; masks (N, H, W) uint8.
        files: their paths below the dataset's root; empty where they have none.
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
    run: Any = record.run() or {}
    try:
        fingerprint = run["dataset"]["fingerprint"]
        folders = list(subfolders(Path(cache or run["config"]["data"]["cache"])))
    except (OSError, ValueError, KeyError, TypeError):  # a record may hold anything
        return None
    for folder in folders:
        if isinstance(fingerprint, str) and read_json(folder / INDEX, "fingerprint") == fingerprint:
            return read_test_images(folder)
    return None


def subfolders(cache: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(cache), key=lambda entry: entry.name):
        if entry.is_dir():
            yield Path(entry.path)


def read_test_images(folder: Path) -> StoredImages | None:
    """Read the test images of a folder of the cache; None where it is damaged."""
    try:
        images = np.load(folder / "test_images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "test_labels.npy", allow_pickle=False)
    except Exception:  # numpy parses the header as Python, so that damage there raises anything
        return None
    shapes = (images.shape[:1], (*images.shape[:1], *images.shape[2:]))  # of classes and of masks
    if images.ndim != 4 or images.dtype != np.uint8 or labels.shape not in shapes:
        return None
    names = read_json(folder / NAMES)
    is_whole = isinstance(names, list) and len(names) == len(labels)
    return StoredImages(images, labels, [str(name) for name in names] if is_whole else [])


def read_json(path: Path, key: str | None = None) -> Any:
    """Return a file's content, or what it has under a key; None where there is none."""
    try:
        content = json.loads(path.read_bytes())
        return content if key is None else content[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None

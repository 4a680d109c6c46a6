"""samples.npz: some training images of a run, as its augmentation shows them to the network. No torch here."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeper.files import write_bytes
from sweeper.runs.predictions import read_arrays

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Samples:
    """Training images, and how the network sees each for the first times.

    Attributes:
        indices: (N,) int64, of the images among the dataset's training images.
        shown: (N, V, C, H, W) uint8, each image as it is shown V times, made smaller; V is 0 without augmentation.
        masks: (N, V, H, W) uint8, moved alike; (N, V, 0, 0) where the dataset has classes.
    """

    indices: NDArray[np.int64]
    shown: Pixels
    masks: Pixels


def write_samples(path: Path, samples: Samples) -> None:
    """Write samples, compressed, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, indices=samples.indices, shown=samples.shown, masks=samples.masks)
    write_bytes(path, buffer.getvalue())


def read_samples(path: Path) -> Samples | None:
    """Read samples; None where the file is missing or damaged."""
    found = read_arrays(path, "indices", "shown", "masks")
    if found is None:
        return None
    indices, shown, masks = found
    is_whole = indices.dtype == np.int64 and shown.dtype == masks.dtype == np.uint8
    is_whole = is_whole and indices.ndim == 1 and shown.ndim == 5 and masks.ndim == 4
    is_whole = is_whole and len(indices) == len(shown) and shown.shape[:2] == masks.shape[:2]
    return Samples(indices, shown, masks) if is_whole else None

"""predictions.npz: what a run's best epoch predicts for the test images, with their labels. No torch here.

Of classification the logits; of segmentation the class of each pixel.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.files import write_bytes


def write_predictions(path: Path, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """Write logits (N, K) float32 and labels (N,) int64, atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, logits=logits.astype(np.float32), labels=labels.astype(np.int64))
    write_bytes(path, buffer.getvalue())


def read_predictions(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """Read logits (N, K) and labels (N,); None where the file is missing or damaged."""
    found = read_arrays(path, "logits", "labels")
    if found is None:
        return None
    logits, labels = found
    is_whole = logits.dtype.str == "<f4" and labels.dtype.str == "<i8"
    return (logits, labels) if is_whole and logits.ndim == 2 and labels.shape == logits.shape[:1] else None


def write_masks(path: Path, predicted: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
    """Write the predicted and the true class of each pixel, (N, H, W) each, compressed, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, predicted=predicted.astype(np.uint8), masks=masks.astype(np.uint8))
    write_bytes(path, buffer.getvalue())


def read_masks(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Read predicted and true classes (N, H, W) of pixels; None where the file is missing, damaged or of logits."""
    found = read_arrays(path, "predicted", "masks")
    if found is None:
        return None
    predicted, masks = found
    is_whole = predicted.dtype == masks.dtype == np.uint8 and predicted.ndim == 3 and predicted.shape == masks.shape
    return (predicted, masks) if is_whole else None


def read_arrays(path: Path, *names: str) -> list[NDArray[Any]] | None:
    """Read arrays of a file by name; None where one is missing or the file is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None  # numpy stops reading before it compares checksums
        with np.load(path, allow_pickle=False) as content:
            arrays = [content[name] for name in names]
    except Exception:  # a damaged file can raise anything
        return None
    return arrays if is_whole else None

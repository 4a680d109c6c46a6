"""predictions.npz: the logits of a run's best epoch for the test images, with their labels. No torch here."""

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
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None  # numpy stops reading before it compares checksums
        with np.load(path, allow_pickle=False) as content:
            logits: NDArray[Any] = content["logits"]
            labels: NDArray[Any] = content["labels"]
    except Exception:  # a damaged file can raise anything
        return None
    is_whole &= logits.dtype.str == "<f4" and labels.dtype.str == "<i8"
    return (logits, labels) if is_whole and logits.ndim == 2 and labels.shape == logits.shape[:1] else None

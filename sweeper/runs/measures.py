"""Measures of logits beyond accuracy, for test images. No torch here: readers compute them from predictions.npz."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TOP_K = 5
NUM_BINS = 15  # of confidence, as in the paper below

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]


def top_k_acc(logits: Logits, labels: Labels, k: int = TOP_K) -> float:
    """Return the fraction of images whose class is among the k highest logits; 1 with at most k classes.

    Ties are broken by the lower index, as in argmax, so that k=1 gives the accuracy.

    Args:
        logits: (N, K).
        labels: (N,), the index of each image's class.
        k: number of classes that count as predicted.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)  # (N, 1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return float((rank < k).mean())


def probabilities(logits: Logits) -> NDArray[np.float64]:
    """Return the softmax of logits (N, K), in double precision."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def wrong_images(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Return the indices of wrongly predicted images, the most probable prediction first, equal ones by index.

    Args:
        logits: (N, K), finite.
        labels: (N,), the index of each image's class.
    """
    order = np.argsort(-probabilities(logits).max(axis=1), kind="stable")
    wrong: NDArray[np.int64] = order[(logits.argmax(axis=1) != labels)[order]]
    return wrong


def calibration_error(logits: Logits, labels: Labels, num_bins: int = NUM_BINS) -> float:
    """Return the expected calibration error (Guo et al., 2017, On Calibration of Modern Neural Networks), from 0 to 1.

    Images are put into bins of equal width by their confidence, the highest softmax probability; a bin includes its
    upper edge. The error is the mean over the bins of |accuracy - mean confidence|, weighted by their images; NaN
    where a logit is not finite.

    Args:
        logits: (N, K).
        labels: (N,), the index of each image's class.
        num_bins: number of bins.
    """
    if not np.isfinite(logits).all():
        return float("nan")
    confidence = probabilities(logits).max(axis=1)  # (N,)
    correct = logits.argmax(axis=1) == labels
    bins = np.ceil(confidence * num_bins).astype(np.int64) - 1
    gaps = np.bincount(bins, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(labels))


# By name in result.json, which also has the measures of sweeper.training.metrics.
LOGIT_MEASURES: dict[str, Callable[[Logits, Labels], float]] = {
    "test_top5_acc": top_k_acc,
    "test_ece": calibration_error,
}


def measure(logits: Logits, labels: Labels) -> dict[str, float]:
    """Return the measures of logits (N, K) and labels (N,) by name, for result.json."""
    return {name: function(logits, labels) for name, function in LOGIT_MEASURES.items()}

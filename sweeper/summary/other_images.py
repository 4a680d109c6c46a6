"""Intervals for other test images: the variance that the choice of the test images adds.

The test images are a sample. A difference in accuracy that is the same for all seeds may still be due to the choice of
images: an interval over seeds alone is for these images.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import read_predictions

WIDENED = 1.1  # times the interval for these images: from this width on, the other interval is reported


class Pair(NamedTuple):
    """The runs of one seed that are compared, by their run IDs; several on a side count as their mean."""

    value: Sequence[str]
    baseline: Sequence[str]
    seed: Any


class ImageVariance(NamedTuple):
    """The part of a difference in accuracy that is due to the choice of the test images.

    Attributes:
        var_image: variance between images of the difference in correctness that all seeds share; 0 where the images
            differ no more than chance within seeds explains.
        num_images: N.
        standard_error: of the mean difference, over other seeds and other images; without the images, it is that of the
            seeds' means.
    """

    var_image: float
    num_images: int
    standard_error: float


def image_variance(differences: NDArray[np.floating]) -> ImageVariance:
    """Estimate the variance between images in the crossed random model D = mean + image + seed + error.

    The estimate is that of the analysis of variance, (MS_image - MS_error) / S (Searle, Casella and McCulloch, 1992,
    Variance Components), and the squared standard error is s^2 / S + var_image / N, with s the standard deviation of
    the seeds' means.

    Args:
        differences: (N, S), for each image and seed the difference in correctness, value - baseline, a mean over the
            pairs of the seed; at least two images and two seeds.
    """
    images, seeds = differences.shape
    by_image, by_seed = differences.mean(axis=1), differences.mean(axis=0)
    residuals = differences - by_image[:, None] - by_seed + differences.mean()
    ms_error = float((residuals**2).sum()) / ((images - 1) * (seeds - 1))
    var_image = max(0.0, float(by_image.var(ddof=1)) - ms_error / seeds)
    error = math.sqrt(float(by_seed.var(ddof=1)) / seeds + var_image / images)
    return ImageVariance(var_image, images, error)


def widen(interval: tuple[float, float], variance: ImageVariance, level: float) -> tuple[float, float]:
    """Return an interval for other images, from the one for these images.

    Its half-width is the root of the sum of squares of the seeds' half-width and of the images', each at its own
    quantile of Student's t (Zou and Donner, 2008, Construction of confidence limits about effect measures: a general
    approach). So it is never narrower, and equal where the images add nothing.

    Args:
        interval: of the mean difference over the seeds.
        variance: of the same pairs.
        level: 1 - the coverage of the interval, such as 0.05.
    """
    low, high = interval
    quantile = float(stdtrit(variance.num_images - 1, 1 - level / 2))
    half = math.hypot((high - low) / 2, quantile * math.sqrt(variance.var_image / variance.num_images))
    return (low + high) / 2 - half, (low + high) / 2 + half


def for_other_images(
    interval: tuple[float, float], variance: ImageVariance, level: float
) -> tuple[float, float] | None:
    """Return the interval for other images, see `widen`; None where it is less than WIDENED times as wide."""
    low, high = widen(interval, variance, level)
    return (low, high) if high - low > WIDENED * (interval[1] - interval[0]) else None


MAX_RUNS = 2000  # reading 10,000 predictions takes half a minute


def correctness_of(frame: pd.DataFrame, runs: Path) -> "Correctness | None":
    """Return what reads the predictions of the frame's runs in the folder runs/; None where they are too many."""
    return Correctness(runs) if len(frame) <= MAX_RUNS else None


class Correctness:
    """Which test images runs got right, read from their predictions.npz, each once."""

    def __init__(self, runs: Path) -> None:
        """Read from the folder runs/."""
        self.runs = runs
        self.read: dict[str, tuple[NDArray[np.bool_], int] | None] = {}
        self.test_sets: dict[bytes, int] = {}  # distinct label arrays, numbered

    def of(self, run_id: str) -> tuple[NDArray[np.bool_], int] | None:
        """Return a run's correctness (N,) and the number of its test set; None where its file is missing or damaged."""
        if run_id not in self.read:
            predictions = read_predictions(RunDirectory(self.runs / run_id).predictions)
            self.read[run_id] = None
            if predictions is not None:
                logits, labels = predictions
                test_set = self.test_sets.setdefault(labels.tobytes(), len(self.test_sets))
                self.read[run_id] = (logits.argmax(axis=1) == labels, test_set)
        return self.read[run_id]

    def differences(self, pairs: Sequence[Pair]) -> NDArray[np.float64] | None:
        """Return the differences in correctness (N, S), a mean over the pairs of each seed.

        None where a run's predictions are missing or damaged, or where runs have different test images.
        """
        runs = {run_id: self.of(run_id) for pair in pairs for run_id in (*pair.value, *pair.baseline)}
        correct = {run_id: run[0] for run_id, run in runs.items() if run is not None}
        if len(correct) < len(runs) or len({run[1] for run in runs.values() if run is not None}) != 1:
            return None
        by_seed: dict[Any, list[NDArray[np.float64]]] = {}
        for pair in pairs:
            value, baseline = (
                np.mean([correct[name] for name in side], axis=0) for side in (pair.value, pair.baseline)
            )
            by_seed.setdefault(pair.seed, []).append(value - baseline)
        return np.stack([np.mean(found, axis=0) for found in by_seed.values()], axis=1)

    def variance(self, pairs: Sequence[Pair]) -> ImageVariance | None:
        """Return the variance between images of the pairs' difference in accuracy.

        None with fewer than two seeds or images, and where there are no `differences`.
        """
        differences = self.differences(pairs)
        return None if differences is None or min(differences.shape) < 2 else image_variance(differences)

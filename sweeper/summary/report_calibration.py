"""The report's reliability diagram: does a network that is 80% confident have 80% right?"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.measures import NUM_BINS, Labels, Logits, calibration_error, probabilities
from sweeper.summary.report_scale import Scale
from sweeper.summary.wrong_images import predictions_of

FEW = 10  # images of a bin whose accuracy says little
WIDTH, HEIGHT = 360, 330
X, Y = Scale(0, 1, 44, 340), Scale(0, 1, 290, 20)  # of the plot


@dataclass(frozen=True)
class Reliability:
    """Images by their confidence, the highest probability, in bins of equal width (Guo et al., 2017).

    Attributes:
        images: (B,) how many images each bin has.
        confidence, accuracy: (B,) their means; 0 in an empty bin.
    """

    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error of the images."""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())


def reliability(logits: Logits, labels: Labels, num_bins: int = NUM_BINS) -> Reliability:
    """Return the reliability of logits (N, K) for labels (N,); the bins are those of `calibration_error`."""
    confidence = probabilities(logits).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    bins = np.ceil(confidence * num_bins).astype(np.int64) - 1
    images = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, weights=values, minlength=num_bins) for values in (confidence, correct)]
    means = [total / np.maximum(images, 1) for total in sums]
    return Reliability(images, means[0], means[1])


def calibration(runs: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """Return the diagram of the runs' test images together, and the mean of their errors; None without predictions."""
    found = []
    for record in runs:
        try:
            found.append(predictions_of(record))
        except UserError:
            continue
    found = [(logits, labels) for logits, labels in found if logits.shape[1] == found[0][0].shape[1]]
    if not found:
        return None
    errors = [calibration_error(logits, labels) for logits, labels in found]
    logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    together = reliability(logits, labels)
    largest, edge = int(together.images.max()), (X.end - X.start) / len(together.images)
    gap = float((together.images * (together.accuracy - together.confidence)).sum() / together.images.sum())
    bins = []
    for index, images in enumerate(together.images.tolist()):
        if images:
            confidence, accuracy = float(together.confidence[index]), float(together.accuracy[index])
            bins.append(
                {
                    "left": f"{X.start + index * edge + 1:.1f}",
                    "width": f"{edge - 2:.1f}",
                    "x": X.at(confidence),
                    "y": Y.at(accuracy),
                    "radius": f"{2.5 + 5 * (images / largest) ** 0.5:.1f}",
                    "top": f"{Y.start - 60 * images / largest:.1f}",
                    "bar": f"{60 * images / largest:.1f}",
                    "few": images < FEW,
                    "text": f"{images:,} images: confidence {100 * confidence:.1f}%, {100 * accuracy:.1f}% correct",
                }
            )
    marks = (0, 0.2, 0.4, 0.6, 0.8, 1)
    return {
        "error": f"{fmean(errors):.3f}",
        "runs": len(found),
        "least": FEW,
        "tendency": "too confident" if gap < 0 else "not confident enough",
        "width": WIDTH,
        "height": HEIGHT,
        "plot": {"left": X.start, "right": X.end, "top": Y.end, "bottom": Y.start},
        "bins": bins,
        "x_ticks": [(X.at(mark), f"{100 * mark:.0f}%") for mark in marks],
        "y_ticks": [(Y.at(mark), f"{100 * mark:.0f}%") for mark in marks],
    }

"""Metrics by name, each with its direction; all but the loss are computed from one confusion matrix.

The confusion matrix is over what the task classifies: images, or labelled pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sweeper.choice import Registry


@dataclass(frozen=True)
class Evaluation:
    """What a network predicts for N images of K classes.

    Attributes:
        loss: mean cross-entropy.
        logits: (N, K) float32, on the CPU.
        confusion: images by true class (rows) and predicted class (columns): (K, K) int64.
    """

    loss: float
    logits: Tensor
    confusion: Tensor


@dataclass(frozen=True)
class Metric:
    """A score of an evaluation, and the direction in which it is better."""

    compute: Callable[[Evaluation], float]
    higher_is_better: bool = True


def loss(evaluation: Evaluation) -> float:
    return evaluation.loss


def acc(evaluation: Evaluation) -> float:
    """Fraction of images, or of labelled pixels, that are classified correctly."""
    confusion = evaluation.confusion
    return int(confusion.diagonal().sum()) / int(confusion.sum())


def pixel_acc(evaluation: Evaluation) -> float:
    """Fraction of the pixels that count that are classified correctly; 0 where none counts."""
    return acc(evaluation) if evaluation.confusion.any() else 0.0


def balanced_acc(evaluation: Evaluation) -> float:
    """Mean recall over the classes that have images."""
    confusion = evaluation.confusion
    actual = confusion.sum(1)
    return float((confusion.diagonal()[actual > 0].double() / actual[actual > 0]).mean())


def macro_f1(evaluation: Evaluation) -> float:
    """Mean F1 score over the classes that have images or predictions."""
    confusion = evaluation.confusion
    total = confusion.sum(0) + confusion.sum(1)
    return float((2 * confusion.diagonal()[total > 0].double() / total[total > 0]).mean())


def miou(evaluation: Any) -> float:
    """Mean over the classes of the intersection over union: of the pixels that are it or predicted as it, the fraction
    that is both (Long et al. 2015). Classes without such pixels are left out, as is the class that does not count.
    """
    confusion, ignored = evaluation.confusion, evaluation.ignore_index
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    counted = (either > 0) & (torch.arange(len(both)) != ignored)
    return float((both[counted].double() / either[counted]).mean()) if counted.any() else 0.0


# A task names those that it records, see sweeper.training.task.
METRICS: Registry = {
    "acc": Metric(acc),
    "loss": Metric(loss, higher_is_better=False),
    "balanced_acc": Metric(balanced_acc),
    "macro_f1": Metric(macro_f1),
    "miou": Metric(miou),
    "pixel_acc": Metric(pixel_acc),
}


def confusion_matrix(targets: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Count images by true class (rows) and predicted class (columns): (K, K) int64, on the CPU."""
    pairs = targets.cpu() * num_classes + predicted.cpu()
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def best_epoch(history: Sequence[dict[str, Any]], select: str, higher_is_better: bool) -> dict[str, Any] | None:
    """Return the row of the best epoch by the metric `select`, the earliest in a tie; None without epochs."""
    sign = 1 if higher_is_better else -1
    return max(history, key=lambda row: sign * row[select], default=None)

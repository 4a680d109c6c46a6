"""What a run learns to predict: the task is one value, which the loop, the build and the records ask.

A task says what the targets of a dataset are, how a training loss is applied to them, how changes of images move them,
and by which metrics of sweeper.training.metrics a network is judged. A choice returns a Task; its keyword-only
arguments are its settings. docs/segmentation.md describes how a task is added.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.training.metrics import Evaluation, confusion_matrix
from sweeper.training.segmentation import (
    evaluate_pixels,
    labelled_classes,
    move_masks,
    of_labelled_pixels,
    share_of_pixels,
)

Outputs = Iterable[tuple[Tensor, Tensor]]  # logits and targets of each batch


@dataclass(frozen=True)
class Task:
    """A kind of targets, and what depends on it.

    Attributes:
        targets: what a dataset has for each image: `classes`, an index (N,) int64, or `masks`, the class of each pixel
            (N, H, W) uint8.
        metrics: names in METRICS; each epoch records them as val_NAME, the end of a run as test_NAME. The first of them
            ranks runs and selects the best epoch unless `select` chooses another; it is higher for better networks.
        train_metric: what is recorded of training as train_NAME, from `num_correct`.
        class_indices: targets -> class indices (M,) int64 of all that counts, for class weights.
        criterion: a loss of logits (M, K) and class indices (M,) -> the loss of this task's logits and targets.
        num_correct: logits and targets of a batch -> scalar, a count or a sum of fractions, one for each image.
        evaluate: logits and targets of all batches, number of classes K -> what the metrics are computed from, with a
            confusion matrix (K, K) int64 of what is classified, by true class (rows) and predicted class.
        moves: augmentation steps by name -> for those that move pixels, a function of targets and draws that moves the
            targets with them.
    """

    targets: str
    metrics: tuple[str, ...]
    train_metric: str
    class_indices: Callable[[Tensor], Tensor]
    criterion: Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
    num_correct: Callable[[Tensor, Tensor], Tensor]
    evaluate: Callable[[Outputs, int], Any]
    moves: Callable[[Mapping[str, partial[Any]]], Mapping[str, Callable[[Tensor, Tensor], Tensor]]]

    @property
    def score(self) -> str:
        """The metric that ranks runs."""
        return self.metrics[0]


def classification() -> Task:
    """A class for each image."""
    return Task(
        targets="classes",
        metrics=("acc", "loss", "balanced_acc", "macro_f1"),
        train_metric="acc",
        class_indices=as_they_are,
        criterion=as_they_are,
        num_correct=count_correct,
        evaluate=evaluate_images,
        moves=no_moves,
    )


def segmentation(*, ignore_index: int) -> Task:
    """A class for each pixel; pixels whose mask has `ignore_index`, or 255, do not count (Long et al. 2015)."""
    return Task(
        targets="masks",
        metrics=("miou", "loss", "pixel_acc"),
        train_metric="pixel_acc",
        class_indices=partial(labelled_classes, ignore_index=ignore_index),
        criterion=partial(of_labelled_pixels, ignore_index=ignore_index),
        num_correct=partial(share_of_pixels, ignore_index=ignore_index),
        evaluate=partial(evaluate_pixels, ignore_index=ignore_index),
        moves=move_masks,
    )


def as_they_are(value: Any) -> Any:
    return value


def no_moves(steps: Mapping[str, partial[Any]]) -> dict[str, Any]:
    """The class of an image stays where its pixels move."""
    return {}


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Count the images whose largest logit is their class's."""
    return (logits.argmax(1) == targets).sum()


def evaluate_images(outputs: Outputs, num_classes: int) -> Evaluation:
    """Evaluate the logits (B, K) and classes (B,) of all batches."""
    loss_sum, all_logits, all_targets = 0.0, [], []
    for logits, targets in outputs:
        loss_sum += float(F.cross_entropy(logits, targets, reduction="sum"))
        all_logits.append(
            logits.cpu().clone()
        )  # a copy, since keeping the outputs themselves would fragment the memory of the layers
        all_targets.append(targets.cpu().clone())
    logits, targets = torch.cat(all_logits), torch.cat(all_targets)
    return Evaluation(loss_sum / len(targets), logits, confusion_matrix(targets, logits.argmax(1), num_classes))


TASKS: Registry = {"classification": classification, "segmentation": segmentation}

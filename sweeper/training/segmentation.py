"""Segmentation: logits (B, K, H, W), masks (B, H, W) uint8 of class indices; each labelled pixel is classified.

A pixel is labelled unless its mask has UNLABELED (255) or the task's `ignore_index`. The losses of classification apply
to the labelled pixels of a batch as to images, so that each of them is a loss of segmentation.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.data.draws import changes_pixels
from sweeper.data.mask_moves import LABEL_FREE, MOVES
from sweeper.data.source import UNLABELED
from sweeper.errors import UserError
from sweeper.training.metrics import confusion_matrix


@dataclass(frozen=True)
class PixelEvaluation:
    """What a network predicts for the pixels of N images, of K classes.

    Attributes:
        loss: mean cross-entropy of the labelled pixels.
        predicted: the class of each pixel, labelled or not: (N, H, W) uint8, on the CPU.
        confusion: labelled pixels by true class (rows) and predicted class (columns): (K, K) int64.
        ignore_index: the class that does not count; a number of no class where all count.
    """

    loss: float
    predicted: Tensor
    confusion: Tensor
    ignore_index: int


def is_labelled(masks: Tensor, ignore_index: int) -> Tensor:
    """Return where a mask counts: (B, H, W) bool."""
    return (masks != UNLABELED) & (masks != ignore_index)


def labelled_classes(masks: Tensor, *, ignore_index: int) -> Tensor:
    """Return the classes of the labelled pixels: (M,) int64."""
    return masks[is_labelled(masks, ignore_index)].long()


def labelled_logits(logits: Tensor, masks: Tensor, ignore_index: int) -> Tensor:
    """Return the logits (M, K) of the labelled pixels, in the order of `labelled_classes`."""
    return logits.permute(0, 2, 3, 1)[is_labelled(masks, ignore_index)]


def of_labelled_pixels(criterion: Callable[..., Tensor], *, ignore_index: int) -> Callable[..., Tensor]:
    """Return the loss of classification over the labelled pixels of a batch; 0 where it has none.

    Args:
        criterion: takes logits (M, K) and class indices (M,), maybe teacher=logits (M, K).
    """

    def loss(logits: Tensor, masks: Tensor, **others: Tensor) -> Tensor:
        classes = labelled_classes(masks, ignore_index=ignore_index)
        if len(classes) == 0:
            return logits.sum() * 0
        chosen = {name: labelled_logits(value, masks, ignore_index) for name, value in others.items()}
        return criterion(labelled_logits(logits, masks, ignore_index), classes, **chosen)

    return loss


def share_of_pixels(logits: Tensor, masks: Tensor, *, ignore_index: int) -> Tensor:
    """Return the sum over images of the fraction of labelled pixels that are classified correctly: float64.

    An image that has lost its labelled pixels counts 0.
    """
    labelled = is_labelled(masks, ignore_index)
    correct = (logits.argmax(1) == masks) & labelled
    return (correct.sum((1, 2)).double() / labelled.sum((1, 2)).clamp(min=1)).sum()


def evaluate_pixels(
    outputs: Iterable[tuple[Tensor, Tensor]], num_classes: int, *, ignore_index: int
) -> PixelEvaluation:
    """Evaluate the logits (B, K, H, W) and masks (B, H, W) of all batches; only the predicted classes are kept."""
    loss_sum, predicted = 0.0, []
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for logits, masks in outputs:
        classes = labelled_classes(masks, ignore_index=ignore_index)
        chosen = labelled_logits(logits, masks, ignore_index)
        loss_sum += float(F.cross_entropy(chosen, classes, reduction="sum"))
        confusion += confusion_matrix(classes, chosen.argmax(1), num_classes)
        predicted.append(logits.argmax(1).to(torch.uint8).cpu())
    return PixelEvaluation(loss_sum / max(1, int(confusion.sum())), torch.cat(predicted), confusion, ignore_index)


def move_masks(steps: Mapping[str, partial[Any]]) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return for each step that moves pixels the function that moves masks with them, its settings filled in.

    Raises:
        UserError: it is not known how a step moves pixels.
    """
    moves: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for name, step in steps.items():
        if name in MOVES:
            moves[name] = partial(MOVES[name], **step.keywords)
        elif changes_pixels(step) and name not in LABEL_FREE:
            key, value = next(iter(step.keywords.items()))
            raise UserError(
                f"augmentation.{key}={value} does not say how it moves masks, which task=segmentation needs; "
                f"choose augmentation.{key}=null"
            )
    return moves

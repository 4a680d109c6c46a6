"""Training losses by name.

A choice takes logits (B, K) and targets, class indices (B,) int64 or probabilities (B, K), and returns the mean loss of
the batch, a scalar. Class weights (K,) multiply the term of each class in the loss of an image; the mean is over
images, not over weights, so that indices and their one-hot probabilities have the same loss.

A choice with the setting `class_weights` gets the weights of `resolve_class_weights`; one with the setting `teacher`,
the logits (B, K) of the teacher for the same images.
"""

import logging

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry
from sweeper.errors import UserError, warn_once

log = logging.getLogger(__name__)


def resolve_class_weights(setting: str | list[float], labels: Tensor, num_classes: int) -> Tensor:
    """Return a weight per class: (K,) float32. Log a warning where they are equal, as with classes of equal size.

    Args:
        setting: a list of weights; or "balanced", N / (classes with images * images of the class), as in scikit-learn.
        labels: (N,), of the training images. A class without images has weight 0 if "balanced".

    Raises:
        UserError: the list has another length, or no weight is above 0.
    """
    if isinstance(setting, str):
        counts = labels.bincount(minlength=num_classes)
        weights = len(labels) / (int((counts > 0).sum()) * counts.float())
        weights[counts == 0] = 0
    else:
        check_class_weights(setting, num_classes)
        weights = torch.tensor(setting, dtype=torch.float32)
    if bool((weights == weights[0]).all()):
        warn_once(log, f"loss.class_weights={setting}: the {num_classes} classes have the same weight")
    return weights


def check_class_weights(setting: str | list[float], num_classes: int) -> None:
    """Check a setting of class weights where the images are not loaded.

    Raises:
        UserError: see `resolve_class_weights`.
    """
    numbers = [weight for weight in setting if isinstance(weight, int | float)] if isinstance(setting, list) else []
    if setting != "balanced" and (numbers != setting or len(numbers) != num_classes or not any(numbers)):
        raise UserError(
            f"loss.class_weights={setting} must be balanced, or one weight for each of the {num_classes} classes, "
            "at least one above 0"
        )


def as_probabilities(targets: Tensor, logits: Tensor) -> Tensor:
    """Return targets as probabilities (B, K) of the logits' type."""
    return F.one_hot(targets, logits.shape[1]).to(logits.dtype) if targets.ndim == 1 else targets


def smoothed(targets: Tensor, share: float) -> Tensor:
    """Spread a fraction of each target (B, K) over all classes (Szegedy et al. 2016)."""
    return targets * (1 - share) + share / targets.shape[1] if share else targets


def cross_entropy(
    logits: Tensor, targets: Tensor, *, label_smoothing: float, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy; label smoothing spreads a fraction of the target over all classes (Szegedy et al. 2016)."""
    if class_weights is not None:  # torch's mean over indices is over their weights
        targets = as_probabilities(targets, logits)
    return F.cross_entropy(logits, targets, class_weights, label_smoothing=label_smoothing)


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    label_smoothing: float,
    target_threshold: float | None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each class against all others, summed over the classes (Wightman et al. 2021).

    The sum has gradients of the magnitude of cross-entropy's, so learning rates carry over. With `target_threshold`,
    mixed targets become hard ones: 1 above the threshold, else 0.
    """
    targets = as_probabilities(targets, logits)
    if target_threshold is not None:
        targets = (targets > target_threshold).to(logits.dtype)
    targets = smoothed(targets, label_smoothing)
    return F.binary_cross_entropy_with_logits(logits, targets, class_weights, reduction="sum") / len(logits)


def focal(logits: Tensor, targets: Tensor, *, gamma: float, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of each class, weighted by (1 - p)^gamma: easy images count less (Lin et al. 2017)."""
    log_p = logits.log_softmax(1)
    others = (1 - log_p.exp()).clamp(min=torch.finfo(log_p.dtype).tiny)  # at 0, gamma below 1 has no derivative
    losses = -as_probabilities(targets, logits) * others**gamma * log_p  # (B, K)
    return (losses if class_weights is None else losses * class_weights).sum(1).mean()


def distillation(
    logits: Tensor,
    targets: Tensor,
    *,
    teacher: Tensor | None,
    temperature: float,
    alpha: float,
    label_smoothing: float,
    class_weights: Tensor | None = None,
) -> Tensor:
    """alpha T^2 KL(teacher || student) at temperature T, and (1 - alpha) cross-entropy (Hinton et al. 2015).

    Args:
        teacher: the teacher's logits (B, K). T^2 preserves the magnitude of the gradients.
    """
    assert teacher is not None
    log_p, log_q = ((values / temperature).log_softmax(1) for values in (logits, teacher))
    divergence = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    hard = cross_entropy(logits, targets, label_smoothing=label_smoothing, class_weights=class_weights)
    return alpha * temperature**2 * divergence + (1 - alpha) * hard


LOSSES: Registry = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "focal": focal,
    "distillation": distillation,
}

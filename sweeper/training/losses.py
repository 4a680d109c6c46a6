"""Training losses by name.

A choice takes logits (B, K) and targets, class indices (B,) int64 or probabilities (B, K), and returns the mean loss of
the batch, a scalar. The run's `label_smoothing` is filled in where a loss has an argument of that name.
"""

from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import Registry


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
    """Cross-entropy; label smoothing spreads a share of the target over all classes (Szegedy et al. 2016)."""
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


LOSSES: Registry = {"cross_entropy": cross_entropy}

"""my_loss: a training loss.

Train with it:

    python train.py extend=my_loss.py loss=my_loss data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`loss.epsilon=2` changes it, and `-m loss.epsilon=0,1,2` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

from torch import Tensor
from torch.nn import functional as F

from sweeper.training.losses import as_probabilities


def my_loss(logits: Tensor, targets: Tensor, *, epsilon: float = 1.0) -> Tensor:
    """Return the mean loss of logits (B, K): cross-entropy plus epsilon (1 - p) of the targets (PolyLoss).

    Targets are classes (B,), or probabilities (B, K) where images are mixed; a loss takes both.
    """
    probabilities = as_probabilities(targets, logits)
    return F.cross_entropy(logits, targets) + epsilon * (1 - (probabilities * logits.softmax(1)).sum(1)).mean()


LOSSES = {"my_loss": my_loss}  # choices by name; one file may have several, of several groups

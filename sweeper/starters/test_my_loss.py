"""Tests of my_loss: python -m pytest test_my_loss.py."""

import torch
from torch.nn import functional as F

from my_loss import my_loss


def test_classes_and_their_probabilities_have_the_same_loss() -> None:
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    probabilities = F.one_hot(targets).float()
    torch.testing.assert_close(my_loss(logits, targets), my_loss(logits, probabilities))


def test_the_additional_term_is_the_probability_of_other_classes() -> None:
    logits, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([1])
    plain, more = (float(my_loss(logits, targets, epsilon=epsilon)) for epsilon in (0.0, 2.0))
    assert abs(plain - float(F.cross_entropy(logits, targets))) < 1e-6 and abs(more - plain - 1.0) < 1e-6

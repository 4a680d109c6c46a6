"""Losses: torch's cross-entropy with indices and with probabilities, gradients included."""

import pytest
import torch
from torch import Tensor, nn

from sweeper.training.losses import LOSSES


def computed(loss: nn.Module, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, targets)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy_is_torchs(label_smoothing: float, probabilities: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 5, generator=generator)
    targets = torch.rand(8, 5, generator=generator).softmax(1) if probabilities else torch.arange(8) % 5
    leaf = logits.clone().requires_grad_()
    loss = LOSSES["cross_entropy"](leaf, targets, label_smoothing=label_smoothing)
    (gradient,) = torch.autograd.grad(loss, leaf)
    expected = computed(nn.CrossEntropyLoss(label_smoothing=label_smoothing), logits, targets)
    assert torch.equal(loss.detach(), expected[0]) and torch.equal(gradient, expected[1])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_cross_entropy_against_the_formula(label_smoothing: float) -> None:
    """-sum q log p with q = (1 - s) one_hot + s / K."""
    logits, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 3, 0])
    total = 0.0
    for row, target in zip(logits.double(), targets.tolist(), strict=True):
        log_p = row - row.exp().sum().log()
        for k in range(4):
            total -= float(((1 - label_smoothing) * (k == target) + label_smoothing / 4) * log_p[k])
    loss = LOSSES["cross_entropy"](logits, targets, label_smoothing=label_smoothing)
    assert float(loss) == pytest.approx(total / 6, rel=1e-6)


def test_indices_equal_their_one_hot_probabilities() -> None:
    logits, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)), torch.arange(6) % 4
    one_hot = nn.functional.one_hot(targets, 4).float()
    losses = [LOSSES["cross_entropy"](logits, form, label_smoothing=0.1) for form in (targets, one_hot)]
    torch.testing.assert_close(*losses)

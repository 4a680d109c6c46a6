"""Losses: torch's cross-entropy, gradients included; each loss by its formula, with indices and with probabilities."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from sweeper.errors import UserError
from sweeper.training.losses import LOSSES, check_class_weights, resolve_class_weights


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


def data(num_classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, indices and probabilities."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(6, num_classes, generator=generator)
    return logits, torch.arange(6) % num_classes, torch.rand(6, num_classes, generator=generator).softmax(1)


WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0])
SETTINGS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"label_smoothing": 0.1},
    "binary_cross_entropy": {"label_smoothing": 0.1, "target_threshold": None},
    "focal": {"gamma": 2.0},
    "distillation": {"temperature": 2.5, "alpha": 0.6, "label_smoothing": 0.1, "teacher": data()[0].roll(1, 0)},
}


def slow(name: str, logits: Tensor, targets: Tensor, weights: Tensor, settings: dict[str, Any]) -> float:
    """Compute a loss number by number; targets are probabilities."""
    num_classes, total = logits.shape[1], 0.0
    smoothing = settings.get("label_smoothing", 0.0)
    for row, target, teacher in zip(logits.tolist(), targets.tolist(), settings.get("teacher", logits), strict=True):
        exponentials = [math.exp(value) for value in row]
        for k in range(num_classes):
            t, p = target[k], exponentials[k] / sum(exponentials)
            if name == "binary_cross_entropy":
                threshold = settings["target_threshold"]
                t = t if threshold is None else float(t > threshold)
            q = (1 - smoothing) * t + smoothing / num_classes
            weight, share = float(weights[k]), 1 - settings.get("alpha", 0.0)
            if name == "binary_cross_entropy":
                sigmoid = 1 / (1 + math.exp(-row[k]))
                total -= weight * (q * math.log(sigmoid) + (1 - q) * math.log(1 - sigmoid))
            else:
                total -= share * weight * q * (1 - p) ** settings.get("gamma", 0.0) * math.log(p)
            if name == "distillation":
                temperature = settings["temperature"]
                soft, hard = ([math.exp(v / temperature) for v in values] for values in (teacher.tolist(), row))
                r, s = soft[k] / sum(soft), hard[k] / sum(hard)
                total += settings["alpha"] * temperature**2 * r * math.log(r / s)
    return total / len(logits)


def test_every_loss_is_among_the_cases() -> None:
    assert SETTINGS.keys() == LOSSES.keys()


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_against_the_formula_and_indices_against_probabilities(name: str, weights: Tensor | None) -> None:
    logits, indices, probabilities = data()
    for targets in (indices, probabilities):
        loss = LOSSES[name](logits, targets, class_weights=weights, **SETTINGS[name])
        full = nn.functional.one_hot(targets, 5).float() if targets is indices else targets
        ones = torch.ones(5) if weights is None else weights
        assert float(loss) == pytest.approx(slow(name, logits, full, ones, SETTINGS[name]), rel=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5])
def test_thresholded_targets_are_hard(threshold: float) -> None:
    logits, _, probabilities = data()
    probabilities[0] = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0])  # the thresholds themselves
    settings = {"label_smoothing": 0.0, "target_threshold": threshold}
    loss = LOSSES["binary_cross_entropy"](logits, probabilities, **settings)
    hard = (probabilities > threshold).float()
    assert not hard.all() and not (probabilities >= threshold).equal(probabilities > threshold)
    expected = 5 * nn.BCEWithLogitsLoss()(logits, hard)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.9, 1.0, 2.0])
def test_focal_has_a_gradient_where_an_image_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 1.0, 2.0]], requires_grad=True)
    LOSSES["focal"](logits, torch.tensor([0, 1]), gamma=gamma).backward()
    gradient: Any = logits.grad
    assert bool(gradient.isfinite().all()) and not gradient[0].any() and gradient[1].all()


def test_focal_without_focus_and_distillation_without_a_teacher_are_cross_entropy() -> None:
    logits, indices, _ = data()
    expected = nn.CrossEntropyLoss()(logits, indices)
    torch.testing.assert_close(LOSSES["focal"](logits, indices, gamma=0.0), expected)
    settings = SETTINGS["distillation"] | {"alpha": 0.0, "label_smoothing": 0.0}
    torch.testing.assert_close(LOSSES["distillation"](logits, indices, **settings), expected)


def test_a_student_that_equals_its_teacher_has_only_the_loss_of_the_targets() -> None:
    logits, indices, _ = data()
    settings = {"temperature": 3.0, "alpha": 0.7, "label_smoothing": 0.0, "teacher": logits}
    loss = LOSSES["distillation"](logits, indices, **settings)
    torch.testing.assert_close(loss, 0.3 * nn.CrossEntropyLoss()(logits, indices))


def test_balanced_weights_are_scikit_learns() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    assert resolve_class_weights("balanced", labels, 3).tolist() == pytest.approx(expected.tolist())
    with_empty = resolve_class_weights("balanced", labels + 1, 5)
    assert with_empty.tolist() == [0, *resolve_class_weights("balanced", labels, 3).tolist(), 0]  # no images, weight 0
    assert resolve_class_weights([1, 0.0, 2], labels, 3).tolist() == [1, 0, 2]


@pytest.mark.parametrize("setting", ["balanced", [2.0, 2.0], [1.0, 2.0]])
def test_equal_weights_are_warned_of(
    setting: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.errors.WARNED", set())
    resolve_class_weights(setting, torch.tensor([0, 1, 1, 0]), 2)
    sentence = f"loss.class_weights={setting}: the 2 classes have the same weight"
    assert caplog.messages == ([] if setting == [1.0, 2.0] else [sentence])


@pytest.mark.parametrize("setting", [[1, 2], [1, 2, 3, 4], [0, 0, 0], ["balanced"] * 3, 2, 0.5])
def test_class_weights_of_another_length_are_refused(setting: Any) -> None:
    with pytest.raises(UserError, match=r"^loss\.class_weights=.* one weight for each of the 3 classes"):
        check_class_weights(setting, 3)

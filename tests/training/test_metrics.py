"""Metrics against scikit-learn, the confusion matrix against counting, and the selection of the best epoch."""

from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from torch import Tensor

from sweeper.config import Config, settings
from sweeper.summary.run_row import HIGHEST_IS_BEST
from sweeper.training.metrics import METRICS, Evaluation, best_epoch, confusion_matrix


def evaluation(targets: Tensor, predicted: Tensor, num_classes: int, loss: float = 0.5) -> Evaluation:
    logits = torch.nn.functional.one_hot(predicted, num_classes).float()
    return Evaluation(loss, logits, confusion_matrix(targets, predicted, num_classes))


@pytest.mark.parametrize(
    ("num_classes", "actual", "guessed"),
    [
        (3, [0, 1, 2], [0, 1, 2]),
        (3, [0, 1], [0, 1]),  # class 2 has neither images nor predictions
        (4, [0, 1], [0, 1, 3]),  # class 3 has predictions and no images
        (4, [0, 1, 3], [0, 1]),  # class 3 has images and no predictions
        (2, [1], [0]),
        (10, list(range(10)), list(range(10))),
    ],
)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_metrics_against_scikit_learn(num_classes: int, actual: list[int], guessed: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.tensor(actual)[torch.randint(len(actual), (50,), generator=generator)]
    predicted = torch.tensor(guessed)[torch.randint(len(guessed), (50,), generator=generator)]
    measured = evaluation(targets, predicted, num_classes)
    pair = (targets.numpy(), predicted.numpy())
    assert METRICS["acc"].compute(measured) == accuracy_score(*pair)
    assert METRICS["balanced_acc"].compute(measured) == pytest.approx(balanced_accuracy_score(*pair), abs=1e-12)
    assert METRICS["macro_f1"].compute(measured) == pytest.approx(f1_score(*pair, average="macro"), abs=1e-12)
    assert METRICS["loss"].compute(measured) == 0.5


def test_metrics_of_unbalanced_classes() -> None:
    """90 images of class 0 and 10 of class 1, all predicted as class 0."""
    measured = evaluation(torch.tensor([0] * 90 + [1] * 10), torch.zeros(100, dtype=torch.int64), 2)
    assert {name: METRICS[name].compute(measured) for name in ("acc", "balanced_acc", "macro_f1")} == pytest.approx(
        {"acc": 0.9, "balanced_acc": 0.5, "macro_f1": (2 * 90 / 190 + 0) / 2}
    )


@pytest.mark.parametrize(
    "targets, predicted, expected",
    [
        ([0, 0, 1, 2], [0, 1, 1, 0], [[1, 1, 0], [0, 1, 0], [1, 0, 0]]),
        ([1, 1, 1], [2, 2, 0], [[0, 0, 0], [1, 0, 2], [0, 0, 0]]),
        ([], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_confusion_matrix(targets: list[int], predicted: list[int], expected: list[list[int]]) -> None:
    confusion = confusion_matrix(torch.tensor(targets).long(), torch.tensor(predicted).long(), 3)
    assert confusion.tolist() == expected


@pytest.mark.parametrize("num_classes", [1, 2, 7, 100])
def test_confusion_matrix_against_counting(num_classes: int) -> None:
    targets, predicted = torch.randint(num_classes, (2, 300), generator=torch.Generator().manual_seed(0))
    expected = [[0] * num_classes for _ in range(num_classes)]
    for target, guess in zip(targets.tolist(), predicted.tolist(), strict=True):
        expected[target][guess] += 1
    confusion = confusion_matrix(targets, predicted, num_classes)
    assert (confusion.tolist(), confusion.dtype) == (expected, torch.int64)


@pytest.mark.parametrize(
    "values, higher_is_better, epoch",
    [
        ([0.1, 0.3, 0.2], True, 2),
        ([0.1, 0.3, 0.2], False, 1),
        ([0.3, 0.3, 0.3], True, 1),  # the earliest of equals
        ([0.3, 0.3, 0.3], False, 1),
        ([0.5, 0.2, 0.2], False, 2),
        ([0.0], True, 1),
        ([-1.0, -0.5], True, 2),
    ],
)
def test_best_epoch(values: list[float], higher_is_better: bool, epoch: int) -> None:
    history = [{"epoch": number, "val_x": value, "val_acc": 0.0} for number, value in enumerate(values, start=1)]
    best: Any = best_epoch(history, "val_x", higher_is_better)
    assert best is history[epoch - 1]


def test_best_epoch_without_epochs() -> None:
    assert best_epoch([], "val_acc", higher_is_better=True) is None


def test_directions() -> None:
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["loss"]


def test_every_metric_can_be_selected() -> None:
    check = {key: item.metadata["check"] for key, item, _ in settings(Config())}["select"]
    assert all(check.holds(f"val_{name}") for name in METRICS)


def test_summaries_and_settings_know_every_metric_and_its_direction() -> None:
    assert {f"val_{name}": metric.higher_is_better for name, metric in METRICS.items()} == HIGHEST_IS_BEST
    check = next(item.metadata["check"] for key, item, _ in settings(Config()) if key == "select")
    assert all(check.holds(name) for name in HIGHEST_IS_BEST)

"""Measures of logits against scikit-learn and against counting image by image."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import log_loss, top_k_accuracy_score

from sweeper.runs.measures import calibration_error, measure, top_k_acc
from sweeper.training.loop import evaluate


def predictions(num_classes: int, seed: int, scale: float = 2.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return logits of 200 images, the true class' somewhat higher, and labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, 200)
    logits = generator.normal(0, scale, (200, num_classes))
    logits[np.arange(200), labels] += scale
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_top_k_accuracy_against_scikit_learn(k: int, seed: int) -> None:
    logits, labels = predictions(10, seed)
    assert top_k_acc(logits, labels, k) == top_k_accuracy_score(labels, logits, k=k, labels=range(10))


def test_top_k_accuracy_counts_equal_logits_as_argmax_does() -> None:
    logits, labels = predictions(10, 0)
    coarse = np.round(logits)
    order = np.argsort(-coarse, axis=1, kind="stable")
    for k in (1, 3, 5):
        assert top_k_acc(coarse, labels, k) == np.mean(
            [label in row[:k] for label, row in zip(labels, order, strict=True)]
        )
    assert top_k_acc(coarse, labels, 1) == (coarse.argmax(1) == labels).mean()


def test_top_5_of_five_classes_is_1() -> None:
    assert top_k_acc(*predictions(5, 0)) == 1.0
    assert top_k_acc(*predictions(3, 0)) == 1.0
    assert top_k_acc(*predictions(6, 0)) < 1.0


def counted_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], num_bins: int) -> float:
    """Return the sum over bins of n/N |accuracy - confidence|, as its definition reads."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    total = 0.0
    for index in range(num_bins):
        inside = [
            (float(row.max()), int(row.argmax() == label))
            for row, label in zip(probabilities, labels, strict=True)
            if index / num_bins < row.max() <= (index + 1) / num_bins
        ]
        if inside:
            confidence, acc = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(acc - confidence)
    return total


@pytest.mark.parametrize("num_bins", [1, 15])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.5, 2.0, 200.0])
def test_calibration_error_against_its_definition(num_bins: int, seed: int, scale: float) -> None:
    logits, labels = predictions(10, seed, scale)
    expected = counted_calibration_error(logits, labels, num_bins)
    assert calibration_error(logits, labels, num_bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_in_closed_form() -> None:
    """Four images at a confidence of 3/4, of which two are right: off by 1/4; four sure and right: off by 0."""
    unsure, sure = [math.log(3), 0.0], [1000.0, 0.0]
    logits = np.array([unsure] * 4 + [sure] * 4, np.float32)
    labels = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx(0.125, abs=1e-7)
    assert calibration_error(logits[:4], labels[:4]) == pytest.approx(0.25, abs=1e-7)
    assert calibration_error(np.zeros((4, 2)), np.array([0, 1, 0, 1])) == 0.0


def test_a_bin_has_its_upper_edge() -> None:
    """Confidence 1/3 is the edge between the fifth bin of 15 and the sixth, which has confidence 0.36."""
    other = [math.log(0.36 / 0.32), 0.0, 0.0]
    logits = np.array([[0.0, 0.0, 0.0]] * 5 + [other] * 5)
    labels = np.array([0] * 5 + [1] * 5)  # the first five are right, the others wrong
    assert calibration_error(logits, labels) == pytest.approx(((1 - 1 / 3) + 0.36) / 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_have_no_calibration_error(value: float) -> None:
    logits, labels = predictions(6, 0)
    logits[3, 2] = value
    assert math.isnan(calibration_error(logits, labels))
    assert measure(logits, labels).keys() == {"test_top5_acc", "test_ece"}


def test_the_loss_is_the_negative_log_likelihood() -> None:
    logits, labels = predictions(4, 0)
    batches = list(zip(torch.from_numpy(logits).split(60), torch.from_numpy(labels).split(60), strict=True))
    found = evaluate(torch.nn.Identity(), batches, 4)
    assert found.loss == pytest.approx(log_loss(labels, softmax(logits.astype(np.float64), axis=1)), abs=1e-6)

"""Intervals for other test images, against an analysis of variance written out, and against bounds known exactly."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from paired import of_axis
from records import finish
from scipy import stats

from sweeper.runs.predictions import write_predictions
from sweeper.summary.effects import effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.other_images import (
    Correctness,
    ImageVariance,
    Pair,
    correctness_of,
    for_other_images,
    image_variance,
    widen,
)
from sweeper.summary.report import render
from sweeper.summary.table import read_runs


def two_way_anova(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean squares of images and of the interaction, cell by cell as textbooks define them."""
    images, seeds = differences.shape
    grand = sum(differences[cell] for cell in product(range(images), range(seeds))) / (images * seeds)
    rows = [sum(differences[image]) / seeds for image in range(images)]
    columns = [sum(differences[:, seed]) / images for seed in range(seeds)]
    ms_image = seeds * sum((row - grand) ** 2 for row in rows) / (images - 1)
    error = sum(
        (differences[image, seed] - rows[image] - columns[seed] + grand) ** 2
        for image, seed in product(range(images), range(seeds))
    )
    return ms_image, error / ((images - 1) * (seeds - 1))


@pytest.mark.parametrize("shared", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_variance_between_images_against_an_analysis_of_variance(seeds: int, shared: float) -> None:
    generator = np.random.default_rng(seeds)
    differences = generator.normal(0, 1, (40, seeds)) + shared * generator.normal(0, 1, (40, 1))
    ms_image, ms_error = two_way_anova(differences)
    found = image_variance(differences)
    assert found.var_image == pytest.approx(max(0, (ms_image - ms_error) / seeds), abs=1e-12)
    assert found.num_images == 40
    means = differences.mean(axis=0)
    expected = means.var(ddof=1) / seeds + found.var_image / 40
    assert found.standard_error == pytest.approx(math.sqrt(expected), abs=1e-12)


def test_the_same_images_for_all_seeds() -> None:
    """10 of 100 images are gained with every seed: the seeds say 0.1 exactly, the images are binomial."""
    differences = np.repeat(np.arange(100) < 10, 3).reshape(100, 3).astype(float)
    found = image_variance(differences)
    assert found.var_image == pytest.approx(0.1 * 0.9 * 100 / 99)
    assert found.standard_error == pytest.approx(math.sqrt(0.09 / 99))
    half = stats.t.ppf(0.975, 99) * math.sqrt(0.09 / 99)
    assert widen((0.1, 0.1), found, 0.05) == pytest.approx((0.1 - half, 0.1 + half))


def test_other_images_for_each_seed() -> None:
    """Each seed gains a third of the images, all of them once: no image is better than another."""
    differences = (np.arange(99)[:, None] % 3 == np.arange(3)).astype(float)
    assert image_variance(differences) == pytest.approx((0.0, 99, 0.0))
    assert widen((0.2, 0.4), image_variance(differences), 0.05) == pytest.approx((0.2, 0.4))


def test_half_widths_add_as_squares_at_their_own_quantiles() -> None:
    variance = ImageVariance(0.04, 400, 0.0)  # a standard error of 0.01
    for level in (0.05, 0.01):
        half = math.hypot(0.03, stats.t.ppf(1 - level / 2, 399) * 0.01)
        assert widen((-0.02, 0.04), variance, level) == pytest.approx((0.01 - half, 0.01 + half))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Make 100 images of two classes; a value's run gets some right that its baseline gets wrong."""
    labels = np.arange(100) % 2
    right = np.eye(2, dtype=np.float32)[labels]
    for seed, gained in ((0, 12), (1, 10), (2, 11)):
        for name, wrong in (("relu", 50), ("selu", 50 - gained)):
            logits = np.where(np.arange(100)[:, None] < wrong, right[:, ::-1], right)
            (tmp_path / f"{name}-{seed}").mkdir()
            write_predictions(tmp_path / f"{name}-{seed}" / "predictions.npz", logits, labels)
    return tmp_path


PAIRS = [Pair([f"selu-{seed}"], [f"relu-{seed}"], seed) for seed in range(3)]


def test_differences_are_read_from_predictions(runs: Path) -> None:
    found = Correctness(runs).differences(PAIRS)
    assert found is not None and found.shape == (100, 3)
    assert found.mean(axis=0).tolist() == [0.12, 0.10, 0.11]
    assert found[:, 0].tolist() == [0] * 38 + [1] * 12 + [0] * 50
    both = Correctness(runs).differences([*PAIRS, Pair(["relu-0"], ["relu-0"], 0)])  # a second pair of seed 0
    assert both is not None
    assert both.mean(axis=0).tolist() == [0.06, 0.10, 0.11]
    average = Correctness(runs).differences([Pair(["selu-0", "relu-0"], ["relu-0"], 0)])
    assert average is not None
    assert average.mean(axis=0).tolist() == [0.06]


def test_the_interval_is_given_where_it_is_wider_by_a_tenth(runs: Path) -> None:
    correctness = Correctness(runs)
    differences, variance = correctness.differences(PAIRS), correctness.variance(PAIRS)
    assert differences is not None and variance is not None
    assert variance == image_variance(differences)
    images = float(stats.t.ppf(0.975, 99)) * math.sqrt(variance.var_image / 100)
    narrow, wide = (images / math.sqrt(ratio**2 - 1) for ratio in (1.11, 1.09))  # these seeds' half-widths
    found = for_other_images((0.1 - narrow, 0.1 + narrow), variance, 0.05)
    assert found == pytest.approx((0.1 - 1.11 * narrow, 0.1 + 1.11 * narrow))
    assert for_other_images((0.1 - wide, 0.1 + wide), variance, 0.05) is None
    assert correctness.variance(PAIRS[:1]) is None  # one seed
    assert correctness.variance([]) is None


def test_without_all_predictions_of_the_same_images_there_is_none(runs: Path) -> None:
    file = runs / "selu-1" / "predictions.npz"
    whole = file.read_bytes()
    file.write_bytes(b"damaged")
    assert Correctness(runs).variance(PAIRS) is None
    file.unlink()
    assert Correctness(runs).variance(PAIRS) is None
    write_predictions(file, np.zeros((100, 2), np.float32), np.zeros(100, np.int64))  # in another order
    assert Correctness(runs).variance(PAIRS) is None
    file.write_bytes(whole)
    assert Correctness(runs).variance(PAIRS) is not None


def test_predictions_are_read_once(runs: Path) -> None:
    correctness = Correctness(runs)
    first = correctness.differences(PAIRS)
    for file in runs.glob("*/predictions.npz"):
        file.unlink()
    again = correctness.differences(PAIRS)
    assert first is not None and again is not None and (first == again).all()


def test_effects_give_the_interval_for_other_images(tmp_path: Path) -> None:
    """SELU gets the same 10 of 100 images more with every seed, give or take one: seeds agree, images decide."""
    labels = np.arange(100) % 2
    right = np.eye(2, dtype=np.float32)[labels]
    for model in ("mlp", "cnn"):
        for seed, gained in ((0, 9), (1, 10), (2, 11)):
            for name, wrong in (("relu", 50), ("selu", 50 - gained)):
                changes = {"activation": {"name": name}, "seed": seed, "model": {"name": model}}
                record = finish(tmp_path, f"{model}-{name}-{seed}", [0.5], 1 - wrong / 100, **changes)
                write_predictions(
                    record.predictions, np.where(np.arange(100)[:, None] < wrong, right[:, ::-1], right), labels
                )
    frame, _ = read_runs(tmp_path)
    correctness = Correctness(tmp_path / "runs")
    result = effects(frame, correctness=correctness)
    one = of_axis(result, "activation")
    pairs = [
        Pair([f"{model}-selu-{seed}"], [f"{model}-relu-{seed}"], seed) for seed in range(3) for model in ("mlp", "cnn")
    ]
    variance = correctness.variance(pairs)
    assert variance is not None and one.family is not None
    assert one.images == pytest.approx(variance)
    assert one.other_images == pytest.approx(widen(one.family, variance, one.level))
    assert one.other_images is not None
    line = f"test_acc for other test images: activation=selu [{', '.join(map('{:+.4f}'.format, one.other_images))}]"
    assert line in caption(result)
    (row,) = [
        row
        for row in to_frame(result).to_dict("records")
        if row["axis"] == "activation" and row["measure"] == "test_acc" and row["pairs"] == 6
    ]
    assert (row["low_images"], row["high_images"]) == one.other_images
    without = effects(frame)
    assert of_axis(without, "activation").other_images is None
    assert not any("other test images:" in line for line in caption(without))
    assert line.replace("'", "&#39;") in render(tmp_path)
    assert isinstance(correctness_of(frame, tmp_path / "runs"), Correctness)
    assert correctness_of(pd.concat([frame] * 200), tmp_path / "runs") is None  # 2,400 runs

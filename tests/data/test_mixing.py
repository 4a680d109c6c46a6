"""Mixing by name: shapes, draws and memory format of every choice; mixup and CutMix against slow references."""

import math

import pytest
import torch
from choices import presets
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import choose
from sweeper.data.batches import Step
from sweeper.data.mixing import MIXINGS, cutmix, mixup, mixup_cutmix, numbers_of
from sweeper.groups import MixingConfig

NUM_CLASSES = 5


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, 6, 6, generator=generator), torch.arange(8) % NUM_CLASSES


def probabilities(targets: Tensor) -> Tensor:
    return targets if targets.ndim == 2 else F.one_hot(targets, NUM_CLASSES).float()


@pytest.mark.parametrize("preset", presets("mixing"))
def test_mixed_batches(preset: str) -> None:
    mixing = choose("mixing", MixingConfig(**presets("mixing")[preset]), MIXINGS)
    images, targets = batch()
    state = torch.get_rng_state()
    mixed, mixed_targets = mixing(images, targets, NUM_CLASSES, Step(7, 100, 3))
    assert (mixed.shape, mixed.dtype) == (images.shape, torch.float32)
    torch.testing.assert_close(probabilities(mixed_targets).sum(1), torch.ones(8))
    assert probabilities(mixed_targets).shape == (8, NUM_CLASSES) and bool((probabilities(mixed_targets) >= 0).all())
    assert torch.equal(torch.get_rng_state(), state)
    again, again_targets = mixing(*batch(), NUM_CLASSES, Step(7, 100, 3))
    assert torch.equal(mixed, again) and torch.equal(mixed_targets, again_targets)
    assert torch.equal(images, batch()[0]) and torch.equal(targets, batch()[1])


@pytest.mark.parametrize("preset", presets("mixing"))
def test_mixing_keeps_the_memory_format(preset: str) -> None:
    mixing = choose("mixing", MixingConfig(**presets("mixing")[preset]), MIXINGS)
    images = batch()[0].to(memory_format=torch.channels_last)
    mixed, _ = mixing(images, batch()[1], NUM_CLASSES, Step(7, 100, 3))
    assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_none_returns_the_batch_itself() -> None:
    images, targets = batch()
    mixed, mixed_targets = MIXINGS["none"](images, targets, NUM_CLASSES, Step(0, 1, 0))
    assert mixed is images and mixed_targets is targets


def slow_targets(targets: Tensor, share: float) -> Tensor:
    result = torch.zeros(len(targets), NUM_CLASSES)
    for n in range(len(targets)):
        result[n, targets[n]] += 1 - share
        result[n, targets[n - 1]] += share
    return result


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("index", [0, 7])
def test_mixup_against_slow_reference(alpha: float, index: int) -> None:
    """The weight, drawn once per batch, is that of the image before; images and targets have the same."""
    images, targets = batch()
    step = Step(index, 100, 3)
    mixed, mixed_targets = mixup(images, targets, NUM_CLASSES, step, mixup_alpha=alpha, until=1.0)
    share = numbers_of(step, "mixup").beta(alpha, alpha)
    expected = torch.stack([(1 - share) * images[n] + share * images[n - 1] for n in range(8)])
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(mixed_targets, slow_targets(targets, share))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
@pytest.mark.parametrize("index", range(12))
@pytest.mark.parametrize("shape", [(8, 3, 6, 6), (8, 1, 5, 9), (8, 2, 1, 1)])
def test_cutmix_against_slow_reference(shape: tuple[int, int, int, int], index: int, alpha: float) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    targets, step = batch()[1], Step(index, 100, 3)
    mixed, mixed_targets = cutmix(images, targets, NUM_CLASSES, step, cutmix_alpha=alpha, until=1.0)
    numbers = numbers_of(step, "cutmix")
    share = numbers.beta(alpha, alpha)
    middle_row, middle_column = int(shape[2] * numbers.random()), int(shape[3] * numbers.random())
    half_height, half_width = (int(side * math.sqrt(share)) // 2 for side in shape[2:])
    expected, covered = images.clone(), 0
    for row in range(shape[2]):
        for column in range(shape[3]):
            in_rows = middle_row - half_height <= row < middle_row + half_height
            if in_rows and middle_column - half_width <= column < middle_column + half_width:
                covered += 1
                for n in range(8):
                    expected[n, :, row, column] = images[n - 1, :, row, column]
    assert torch.equal(mixed, expected)
    torch.testing.assert_close(mixed_targets, slow_targets(targets, covered / (shape[2] * shape[3])))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_the_weights_of_mixup_have_a_beta_distribution(alpha: float) -> None:
    images, targets = torch.zeros(2, 1, 1, 1), torch.tensor([0, 1])
    steps = [Step(index, 400, 5) for index in range(400)]
    shares = [float(mixup(images, targets, 2, step, mixup_alpha=alpha, until=1.0)[1][0, 1]) for step in steps]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert len(set(shares)) > 380  # drawn anew in every step


def test_the_parts_of_cutmix_have_the_drawn_share_of_the_area_and_any_center() -> None:
    """Beta(1, 1) is uniform: half of the parts that are not cut off cover less than half of the image."""
    images, targets = torch.zeros(2, 1, 64, 64), torch.tensor([0, 1])
    images[1] = 1
    covered = torch.stack(
        [cutmix(images, targets, 2, Step(index, 300, 5), cutmix_alpha=1.0, until=1.0)[0][0, 0] for index in range(300)]
    )
    shares = covered.mean((1, 2))
    assert 0.2 < float(shares.mean()) < 0.4  # 1/2 without the border
    assert float(covered.mean(0).std()) < 0.1
    sides = covered.amax(2).sum(1), covered.amax(1).sum(1)
    inside = (covered[:, [0, -1]].amax((1, 2)) == 0) & (covered[:, :, [0, -1]].amax((1, 2)) == 0)
    assert torch.equal(sides[0][inside], sides[1][inside])


@pytest.mark.parametrize("name", [name for name in MIXINGS if name != "none"])
@pytest.mark.parametrize(("until", "total", "last"), [(0.5, 100, 49), (1.0, 100, 99), (0.333, 10, 3), (0.001, 10, 0)])
def test_mixing_ends_after_a_fraction_of_training(name: str, until: float, total: int, last: int) -> None:
    values = presets("mixing")[name] | {"until": until}
    mixing = choose("mixing", MixingConfig(**values), MIXINGS)
    images, targets = batch()
    assert mixing(images, targets, NUM_CLASSES, Step(last, total, 3))[1].shape == (8, NUM_CLASSES)
    for index in range(last + 1, total):
        mixed, mixed_targets = mixing(images, targets, NUM_CLASSES, Step(index, total, 3))
        assert mixed is images and mixed_targets is targets


def test_mixup_and_cutmix_take_turns() -> None:
    images, targets = batch()
    for index in range(6):
        step = Step(index, 6, 1)
        mixed = mixup_cutmix(images, targets, NUM_CLASSES, step, mixup_alpha=0.4, cutmix_alpha=2.0, until=1.0)
        if index % 2 == 0:
            expected = mixup(images, targets, NUM_CLASSES, step, mixup_alpha=0.4, until=1.0)
        else:
            expected = cutmix(images, targets, NUM_CLASSES, step, cutmix_alpha=2.0, until=1.0)
        assert all(map(torch.equal, mixed, expected))

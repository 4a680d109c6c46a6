"""Mixing by name: every choice keeps the shapes that the loop relies on and draws from its own generator only."""

import pytest
import torch
from choices import presets
from torch import Tensor
from torch.nn import functional as F

from sweeper.choice import choose
from sweeper.config import MixingConfig
from sweeper.data.batches import Step
from sweeper.data.mixing import MIXINGS

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


def test_none_returns_the_batch_itself() -> None:
    images, targets = batch()
    mixed, mixed_targets = MIXINGS["none"](images, targets, NUM_CLASSES, Step(0, 1, 0))
    assert mixed is images and mixed_targets is targets

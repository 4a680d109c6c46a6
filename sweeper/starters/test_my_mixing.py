"""Tests of my_mixing: python -m pytest test_my_mixing.py."""

import torch

from my_mixing import my_mixing
from sweeper.data.batches import Step


def test_images_are_the_mean_of_neighbors_or_unchanged() -> None:
    images, targets, step = torch.randn(4, 3, 2, 2), torch.arange(4), Step(0, 10, 0)
    mixed, kept = my_mixing(images, targets, 4, step, probability=1.0)
    torch.testing.assert_close(mixed[2], (images[2] + images[1]) / 2)
    assert torch.equal(kept, targets)
    assert torch.equal(my_mixing(images, targets, 4, step, probability=0.0)[0], images)

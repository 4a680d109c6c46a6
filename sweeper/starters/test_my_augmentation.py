"""Tests of my_augmentation: python -m pytest test_my_augmentation.py."""

import torch

from my_augmentation import my_augmentation


def test_images_whose_draw_is_small_become_gray() -> None:
    images = torch.tensor([[10, 20, 60], [10, 20, 60]], dtype=torch.uint8).view(2, 3, 1, 1)
    changed = my_augmentation(images, torch.tensor([[0.1], [0.9]]), images[0, :, 0, 0], my_augmentation=0.5)
    assert changed.flatten().tolist() == [30, 30, 30, 10, 20, 60]

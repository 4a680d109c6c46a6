"""Tests of my_views: python -m pytest test_my_views.py."""

import torch

from my_views import my_views


def test_the_views_are_the_image_and_two_opposite_shifts() -> None:
    images = torch.arange(4.0).view(1, 1, 1, 4)
    plain, left, right = (view.flatten().tolist() for view in my_views(images, pixels=1))
    assert (plain, left, right) == ([0, 1, 2, 3], [1, 2, 3, 0], [3, 0, 1, 2])

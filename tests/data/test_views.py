"""Views of test images by name."""

import pytest
import torch
from choices import presets

from sweeper.choice import choose
from sweeper.data.views import VIEWS
from sweeper.groups import ViewsConfig


@pytest.mark.parametrize("preset", presets("views"))
def test_views_are_normalized_images_of_the_same_shape(preset: str) -> None:
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    views = list(choose("views", ViewsConfig(**presets("views")[preset]), VIEWS)(images))
    assert views and all(view.shape == images.shape and view.dtype == torch.float32 for view in views)
    assert torch.equal(images, before)


def test_none_is_the_image_itself() -> None:
    images = torch.zeros(2, 3, 4, 4)
    (view,) = VIEWS["none"](images)
    assert view is images


def test_mirror_shift_are_six_views() -> None:
    """The image, and it moved down and right and up and left, each with its mirror image; the border is reflected."""
    images = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    views = list(VIEWS["mirror_shift"](images, shift=1))
    rows, columns = [0, 1, 2, 3, 4], [0, 1, 2, 3]
    up_left = images[..., [1, 2, 3, 4, 3], :][..., [1, 2, 3, 2]]
    down_right = images[..., [1, 0, 1, 2, 3], :][..., [1, 0, 1, 2]]
    expected = [images[..., rows, :][..., columns], up_left, down_right]
    assert all(torch.equal(views[2 * n], expected[n]) for n in range(3))
    assert all(torch.equal(views[2 * n + 1], expected[n][..., [3, 2, 1, 0]]) for n in range(3))


def test_mirror() -> None:
    images = torch.randn(2, 3, 4, 4)
    same, mirrored = VIEWS["mirror"](images)
    assert same is images
    assert torch.equal(mirrored, images[..., [3, 2, 1, 0]])

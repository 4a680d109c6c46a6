"""Views of test images by name."""

import pytest
import torch
from choices import presets

from sweeper.choice import choose
from sweeper.config import ViewsConfig
from sweeper.data.views import VIEWS


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

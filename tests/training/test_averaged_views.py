"""Logits averaged over views."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from sweeper.data.views import mirror, mirror_shift
from sweeper.training.views import AveragedViews


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 5))


def test_views_without_weights_have_the_same() -> None:
    def three(images: Tensor) -> Iterator[Tensor]:
        yield from (images, 2 * images, images.flip(-1))

    model, images = network(), torch.randn(4, 3, 6, 6)
    expected = (model(images) + model(2 * images) + model(images.flip(-1))) / 3
    torch.testing.assert_close(AveragedViews(model, three)(images), expected)


def test_the_image_weighs_as_much_as_both_shifts() -> None:
    """Half of the mean over the image and its mirror image, half of the mean of the same over two shifts (airbench)."""
    model, images = network(), torch.randn(4, 3, 6, 6)

    def both(images: Tensor) -> Tensor:
        return torch.stack([model(view) for view in mirror(images)]).mean(0)

    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    shifted = (both(padded[..., 2:, 2:]) + both(padded[..., :6, :6])) / 2
    found = AveragedViews(model, partial(mirror_shift, shift=1))(images)
    torch.testing.assert_close(found, both(images) / 2 + shifted / 2)


def test_the_mean_is_not_rounded_by_mixed_precision() -> None:
    model, images = network(), torch.randn(64, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        each = torch.stack([model(view).float() for view in mirror(images)])
        found = AveragedViews(model, mirror)(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, each.mean(0), rtol=1e-6, atol=1e-6)

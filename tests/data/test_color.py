"""Color jitter against torchvision, image by image, with the factors of its draws."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from sweeper.data.color import brightness, contrast, saturation
from sweeper.data.operations import PART

STEPS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "brightness": (brightness, functional.adjust_brightness),
    "contrast": (contrast, functional.adjust_contrast),
    "saturation": (saturation, functional.adjust_saturation),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("largest", [0.4, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_against_torchvision(name: str, largest: float, channels: int) -> None:
    """At most one level off, as the operations are."""
    step, reference = STEPS[name]
    num = PART + 7  # more than one part
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num, channels, 9, 11), dtype=torch.uint8, generator=generator)
    draws = torch.rand(num, 1, generator=generator)
    draws[0], draws[1] = 0.0, 1 - 2**-24
    result = step(images, draws, torch.zeros(channels, dtype=torch.uint8), **{name: largest})
    factors = [1 - largest + 2 * largest * draw for draw in draws[:, 0].tolist()]
    expected = torch.stack([reference(image, factor) for image, factor in zip(images, factors, strict=True)])
    difference = (result.int() - expected.int()).abs()
    assert int(difference.max()) <= 1
    assert float((difference > 0).float().mean()) < 0.01

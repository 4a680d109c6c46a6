"""Operations on batches against torchvision.transforms.v2.functional, image by image, on the same parameters."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional

from sweeper.data.policies import OPERATIONS

Shape = tuple[int, int, int, int]


def sheared(image: Tensor, x: float, y: float) -> Tensor:
    degrees = [math.degrees(math.atan(share)) for share in (x, y)]
    result: Tensor = functional.affine(image, 0.0, [0, 0], 1.0, degrees, center=[0, 0])
    return result


def translated(image: Tensor, x: float, y: float) -> Tensor:
    result: Tensor = functional.affine(image, 0.0, [int(x), int(y)], 1.0, [0.0, 0.0])
    return result


# The operation for one image and a number, the strengths, and how many levels of 255 a pixel may differ by. Only
# blending differs: torchvision's rounds once where ours rounds twice.
CASES: dict[str, tuple[Callable[[Tensor, float], Tensor], list[float], int]] = {
    "identity": (lambda image, s: image, [0, 1], 0),
    "shear_x": (lambda image, s: sheared(image, s, 0), [-0.99, -0.5, -0.1, 0, 0.033, 0.5, 0.7], 0),
    "shear_y": (lambda image, s: sheared(image, 0, s), [-0.99, -0.5, -0.1, 0, 0.033, 0.5, 0.7], 0),
    "translate_x": (lambda image, s: translated(image, s, 0), [-32, -3.7, -0.9, 0, 0.9, 1, 2.5, 32], 0),
    "translate_y": (lambda image, s: translated(image, 0, s), [-32, -3.7, -0.9, 0, 0.9, 1, 2.5, 32], 0),
    "rotate": (functional.rotate, [-135, -90, -45, -1, 0, 2, 4.5, 30, 90, 100], 0),
    "brightness": (lambda image, s: functional.adjust_brightness(image, 1 + s), [-1, -0.99, -0.3, 0, 0.03, 0.99], 0),
    "color": (lambda image, s: functional.adjust_saturation(image, 1 + s), [-1, -0.99, -0.3, 0, 0.03, 0.99], 1),
    "contrast": (lambda image, s: functional.adjust_contrast(image, 1 + s), [-1, -0.99, -0.3, 0, 0.03, 0.99], 1),
    "sharpness": (lambda image, s: functional.adjust_sharpness(image, 1 + s), [-1, -0.99, -0.3, 0, 0.03, 0.99], 1),
    "posterize": (lambda image, s: functional.posterize(image, 8 - round(s)), [0, 0.4, 0.6, 1, 2, 4, 6, 7, 8], 0),
    "solarize": (lambda image, s: functional.solarize(image, 255 - s), [0, 8.5, 17, 100, 127.5, 254, 255], 0),
    "autocontrast": (lambda image, s: functional.autocontrast(image), [0, 1], 0),
    "equalize": (lambda image, s: functional.equalize(image), [0, 1], 0),
}


BY_NAME = {(operation.maps or operation.apply).__name__: operation for operation in OPERATIONS}


def changed(name: str, images: Tensor, strengths: Tensor) -> Tensor:
    """Apply an operation."""
    return BY_NAME[name].apply(images, BY_NAME[name].parameters(strengths, images.shape))


def pictures(shape: Shape) -> Tensor:
    """Return noise, smooth images, dark ones with few colors, and one of a single color: (4 N, C, H, W) uint8."""
    generator = torch.Generator().manual_seed(sum(shape))
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    coarse = torch.randint(0, 256, (*shape[:2], 3, 3), generator=generator).float()
    smooth = F.interpolate(coarse, shape[2:], mode="bilinear").to(torch.uint8)
    return torch.cat([noise, smooth, noise // 64, torch.full_like(noise, 77)])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "shape", [(3, 3, 16, 16), (3, 1, 9, 14), (1, 3, 40, 32), (1, 3, 3, 5), (1, 1, 2, 5), (2, 1, 1, 1)]
)
def test_an_operation_is_that_of_torchvision(name: str, shape: Shape) -> None:
    reference, values, tolerance = CASES[name]
    images = pictures(shape)
    strengths = torch.tensor([values[(n + n // 3) % len(values)] for n in range(len(images))], dtype=torch.float32)
    for turn in range(len(values)):  # every image with every strength
        turned = strengths.roll(turn)
        result = changed(name, images, turned)
        pairs = zip(images, turned.tolist(), strict=True)
        expected = torch.stack([reference(image, strength) for image, strength in pairs])
        difference = (result.int() - expected.int()).abs()
        assert (result.dtype, result.shape) == (torch.uint8, images.shape)
        assert int(difference.max()) <= tolerance
        assert int((difference > 0).sum()) <= max(1, 0.02 * difference.numel())


def test_every_operation_is_compared() -> None:
    assert list(BY_NAME) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_operation_keeps_its_images(name: str) -> None:
    images = pictures((3, 3, 8, 8))
    before = images.clone()
    result = changed(name, images, torch.full((12,), CASES[name][1][1]))
    assert torch.equal(changed(name, images[3:4], torch.full((1,), CASES[name][1][1])), result[3:4])  # one by itself
    assert torch.equal(images, before)

"""TrivialAugment and RandAugment against torchvision's, image by image, with the same draws."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandAugment, TrivialAugmentWide

from sweeper.data.draws import num_draws
from sweeper.data.policies import LEVELS, OPERATIONS, randaugment, trivial_augment

LAST = 1 - 2**-24  # the largest number that torch.rand can draw
MEAN = torch.zeros(3, dtype=torch.uint8)


def pictures(num: int, channels: int = 3, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(num)
    return torch.randint(0, 256, (num, channels, side, side + 4), dtype=torch.uint8, generator=generator)


def reference(policy: Any, image: Tensor, number: int, level: int, negative: bool) -> Tensor:
    """Apply one operation of a policy of torchvision, chosen by number."""
    name, (magnitudes, signed) = list(policy._AUGMENTATION_SPACE.items())[number]
    strengths = magnitudes(31, *image.shape[1:])
    strength = 0.0 if strengths is None else float(strengths[level])
    if name == "Solarize":  # torchvision's float32 misses thresholds and shifts that are whole numbers
        strength = round(255 * strength, 3) / 255
    if name.startswith("Translate"):
        strength = round(strength, 3)
    strength = -strength if signed and negative else strength
    result: Tensor = policy._apply_image_or_video_transform(image, name, strength, InterpolationMode.NEAREST, {})
    return result


@pytest.mark.parametrize("space", ["wide", "standard"])
def test_trivial_augment_against_torchvision(space: str) -> None:
    """Every operation with every strength of either sign: one level off in few pixels, as the operations are.

    A shear by 28 of 30 levels hits the middle between two pixels, where the last bit of the strength decides.
    """
    policy = TrivialAugmentWide() if space == "wide" else RandAugment()
    choices = [(number, level, sign) for number in range(14) for level in range(31) for sign in (0.0, 0.5)]
    draws = torch.tensor([[(number + 0.5) / 14, (level + 0.5) / 31, sign] for number, level, sign in choices])
    images = pictures(len(choices))
    result = trivial_augment(images, draws, MEAN, trivial_augment=space)
    expected = [
        reference(policy, image, number, level, sign < 0.5)
        for image, (number, level, sign) in zip(images, choices, strict=True)
    ]
    difference = (result.int() - torch.stack(expected).int()).abs()
    assert float((difference > 0).float().mean()) < 1e-2
    assert float((difference > 1).float().mean()) < 1e-4


@pytest.mark.parametrize("space", ["wide", "standard"])
def test_the_largest_strengths_are_torchvisions(space: str) -> None:
    policy: Any = TrivialAugmentWide() if space == "wide" else RandAugment()
    for operation, (name, (magnitudes, signed)) in zip(OPERATIONS, policy._AUGMENTATION_SPACE.items(), strict=True):
        if (values := magnitudes(31, 331, 662)) is not None:
            last = float(values[-1])
            largest = {"Posterize": 8 - last, "Solarize": 255 * (1 - last)}.get(name, last)
            assert operation.largest(space, torch.Size((1, 3, 331, 662))) == pytest.approx(largest)
            assert operation.signed == signed


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("ops", [1, 2, 3])
def test_randaugment_against_torchvision(ops: int, magnitude: int) -> None:
    step = partial(randaugment, randaugment_ops=ops, randaugment_magnitude=magnitude)
    images = pictures(60)
    draws = torch.rand(60, num_draws(step), generator=torch.Generator().manual_seed(ops))
    policy = RandAugment()
    for n, result in enumerate(step(images, draws, MEAN)):
        expected = images[n]
        for which, sign in draws[n].view(ops, 2).tolist():
            expected = reference(policy, expected, int(which * 14), magnitude, sign < 0.5)
        # an operation after another may make more of a difference of one level
        assert float(((result.int() - expected.int()).abs() > 1).float().mean()) < 0.02, n


def test_the_spaces_are_those_of_torchvision() -> None:
    assert len(OPERATIONS) == len(RandAugment._AUGMENTATION_SPACE) == len(TrivialAugmentWide._AUGMENTATION_SPACE)
    for policy, space in ((RandAugment, "standard"), (TrivialAugmentWide, "wide")):
        for operation, (name, (_, signed)) in zip(OPERATIONS, policy._AUGMENTATION_SPACE.items(), strict=True):
            assert (operation.maps or operation.apply).__name__.replace("_", "") == name.lower()
            assert operation.signed == signed or operation.largest(space, torch.Size((1, 3, 8, 8))) == 0


@pytest.mark.parametrize("draw", [0.0, LAST])
def test_extreme_draws_choose_the_first_and_the_last_operation(draw: float) -> None:
    images = pictures(4)
    result = trivial_augment(images, torch.full((4, 3), draw), MEAN, trivial_augment="wide")
    expected = images if draw == 0 else OPERATIONS[-1].apply(images, torch.zeros(4))
    assert torch.equal(result, expected)


def test_operations_and_levels_are_uniform() -> None:
    draws = torch.rand(28_000, 3, generator=torch.Generator().manual_seed(0))
    counts = (draws[:, 0] * len(OPERATIONS)).long().bincount()
    assert len(counts) == 14 and int(counts.min()) > 1_800 and int(counts.max()) < 2_200
    assert (draws[:, 1] * LEVELS).long().unique().tolist() == list(range(31))


@pytest.mark.parametrize("num", [1, 2, 30])
def test_an_image_is_changed_alike_alone_and_among_others(num: int) -> None:
    images = pictures(30)
    draws = torch.rand(30, 3, generator=torch.Generator().manual_seed(1))
    together = trivial_augment(images, draws, MEAN, trivial_augment="wide")
    assert torch.equal(trivial_augment(images[:num], draws[:num], MEAN, trivial_augment="wide"), together[:num])


def test_gray_images_are_changed_too() -> None:
    images = pictures(200, channels=1)
    draws = torch.rand(200, 3, generator=torch.Generator().manual_seed(2))
    result = trivial_augment(images, draws, MEAN[:1], trivial_augment="wide")
    changed = (result != images).flatten(1).any(1)
    color = (draws[:, 0] * 14).long() == 7
    assert not bool(changed[color].any()) and float(changed[~color].float().mean()) > 0.7

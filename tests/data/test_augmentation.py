"""Augmentation steps: each against a slow reference, its draws, and how steps combine."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from sweeper.choice import choose_steps, keyword_only
from sweeper.config import settings
from sweeper.data.augmentation import STEPS, check_augmentation, crop, cutout, erasing, flip, resized_crop
from sweeper.data.batches import Normalize, TrainLoader
from sweeper.data.cache import Images
from sweeper.data.draws import changes_pixels, num_draws
from sweeper.errors import UserError
from sweeper.groups import AugmentationConfig

LAST = 1 - 2**-24  # the largest number that torch.rand can draw
SHAPES = [(9, 3, 6, 6), (7, 1, 5, 8), (5, 3, 1, 1)]
EXTREMES = [0.0, 0.999999, LAST]
NO_MEAN = torch.zeros(1, dtype=torch.uint8)
Shape = tuple[int, int, int, int]


def random_batch(shape: Shape, num_draws: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, their draws, the first two rows of which are extremes, and a mean pixel."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    draws = torch.rand(shape[0], num_draws, generator=generator)
    draws[0], draws[1] = 0.0, LAST
    return images, draws, torch.tensor([11, 22, 33], dtype=torch.uint8)[: shape[1]]


def slow_flip(images: Tensor, draws: Tensor) -> Tensor:
    result = images.clone()
    for n, image in enumerate(images):
        if float(draws[n, 0]) < 0.5:
            for column in range(image.shape[2]):
                result[n, :, :, column] = image[:, :, image.shape[2] - 1 - column]
    return result


def slow_crop(images: Tensor, draws: Tensor, padding: int) -> Tensor:
    result = torch.zeros_like(images)
    height, width = images.shape[2:]
    for n, image in enumerate(images):
        down, right = (int(draw * (2 * padding + 1)) - padding for draw in draws[n])
        for row in range(height):
            for column in range(width):
                if 0 <= row + down < height and 0 <= column + right < width:
                    result[n, :, row, column] = image[:, row + down, column + right]
    return result


def slow_cutout(images: Tensor, draws: Tensor, mean: Tensor, size: int) -> Tensor:
    result = images.clone()
    height, width = images.shape[2:]
    for n in range(len(images)):
        top, left = int(draws[n, 0] * height) - size // 2, int(draws[n, 1] * width) - size // 2
        for row in range(max(top, 0), min(top + size, height)):
            for column in range(max(left, 0), min(left + size, width)):
                result[n, :, row, column] = mean
    return result


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_against_slow_reference(shape: Shape) -> None:
    images, draws, mean = random_batch(shape, 1)
    assert torch.equal(flip(images, draws, mean, flip="random"), slow_flip(images, draws))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [1, 2, 4, 9])
def test_crop_against_slow_reference(shape: Shape, padding: int) -> None:
    images, draws, mean = random_batch(shape, 2)
    assert torch.equal(crop(images, draws, mean, crop_padding=padding), slow_crop(images, draws, padding))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cutout_against_slow_reference(shape: Shape, size: int) -> None:
    images, draws, mean = random_batch(shape, 2)
    assert torch.equal(cutout(images, draws, mean, cutout=size), slow_cutout(images, draws, mean, size))


@pytest.mark.parametrize("shape", [(9, 3, 6, 6), (7, 1, 5, 8)])
@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_reflected_border_is_that_of_numpy(shape: Shape, padding: int) -> None:
    images, draws, mean = random_batch(shape, 2)
    cropped = crop(images, draws, mean, crop_padding=padding, crop_border="reflect")
    for n, image in enumerate(images):
        padded = np.pad(image.numpy(), ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
        top, left = (int(draw * (2 * padding + 1)) for draw in draws[n])
        assert np.array_equal(cropped[n], padded[:, top : top + shape[2], left : left + shape[3]])


@pytest.mark.parametrize("shape", [(40, 3, 16, 16), (40, 1, 9, 14), (40, 1, 3, 4)])
@pytest.mark.parametrize("smallest", [0.08, 0.5, 1.0])
def test_resized_crop_against_torchvision(shape: Shape, smallest: float) -> None:
    """At most one level off: torchvision resizes uint8 in whole numbers."""
    images, draws, mean = random_batch(shape, 4)
    resized = resized_crop(images, draws, mean, resized_crop=smallest)
    height, width = shape[2:]
    for image, (u_area, u_aspect, u_top, u_left), result in zip(images, draws.double().tolist(), resized, strict=True):
        area = (smallest + (1 - smallest) * u_area) * height * width
        aspect = math.exp((2 * u_aspect - 1) * math.log(4 / 3))  # width : height
        rows = min(max(round(math.sqrt(area / aspect)), 1), height)
        columns = min(max(round(math.sqrt(area * aspect)), 1), width)
        top, left = int(u_top * (height - rows + 1)), int(u_left * (width - columns + 1))
        expected = functional.resized_crop(image, top, left, rows, columns, [height, width])
        assert int((result.int() - expected.int()).abs().max()) <= 1


def slow_erasing(images: Tensor, draws: Tensor, rate: float) -> Tensor:
    """Return the mask (N, H, W) of the pixels that are covered."""
    num, _, height, width = images.shape
    covered = torch.zeros(num, height, width, dtype=torch.bool)
    for n, (chosen, u_area, u_aspect, u_top, u_left, _) in enumerate(draws.double().tolist()):
        area = (0.02 + 0.31 * u_area) * height * width
        aspect = math.exp((2 * u_aspect - 1) * math.log(10 / 3))
        rows = min(max(round(math.sqrt(area / aspect)), 1), height)
        columns = min(max(round(math.sqrt(area * aspect)), 1), width)
        top, left = int(u_top * (height - rows + 1)), int(u_left * (width - columns + 1))
        covered[n, top : top + rows, left : left + columns] = chosen < rate
    return covered


@pytest.mark.parametrize("shape", [(60, 3, 16, 16), (60, 1, 5, 8), (7, 3, 1, 1)])
@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_erasing_against_slow_reference(shape: Shape, rate: float) -> None:
    images, draws, mean = random_batch(shape, 6)
    draws[0, 0] = 0.25
    covered = slow_erasing(images, draws, rate)[:, None]
    expected = torch.where(covered, mean[:, None, None], images)
    assert torch.equal(erasing(images, draws, mean, erasing=rate), expected)
    noisy = erasing(images, draws, mean, erasing=rate, erasing_fill="noise")
    assert torch.equal(noisy.masked_fill(covered, 0), images.masked_fill(covered, 0))


def test_noise_is_uniform_differs_between_images_and_follows_from_the_draw() -> None:
    images, draws, mean = random_batch((200, 3, 16, 16), 6)
    draws[:, 0], draws[-1] = 0.0, draws[-2]
    noisy = erasing(torch.zeros_like(images), draws, mean, erasing=1.0, erasing_fill="noise")
    covered = slow_erasing(images, draws, 1.0)[:, None].expand_as(noisy)
    values = noisy[covered].double()
    assert values.mean() == pytest.approx(127.5, abs=2)
    assert values.std() == pytest.approx(math.sqrt((256**2 - 1) / 12), abs=2)
    assert torch.equal(noisy[-1], noisy[-2])
    pair = torch.cat([draws[:1], draws[:1]])
    pair[1, 5] = 0.7  # the same rectangle
    first, second = erasing(images[:2] * 0, pair, mean, erasing=1.0, erasing_fill="noise")
    assert float((first != second)[covered[0]].float().mean()) > 0.9


@pytest.mark.parametrize(("draw", "flipped"), [(0.0, True), (0.4999999, True), (0.5, False), (LAST, False)])
def test_flip_threshold(draw: float, flipped: bool) -> None:
    image = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    expected = [3, 2, 1] if flipped else [1, 2, 3]
    assert flip(image, torch.full((1, 1), draw), NO_MEAN, flip="random").flatten().tolist() == expected


def test_half_of_the_images_are_flipped() -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    draws = torch.rand(10_000, 1, generator=torch.Generator().manual_seed(0))
    assert 4_800 < int(flip(images, draws, NO_MEAN, flip="random")[:, 0, 0, 0].sum()) < 5_200


@pytest.mark.parametrize("padding", [1, 2, 3, 4])
@pytest.mark.parametrize("draw", EXTREMES)
def test_an_extreme_draw_shifts_by_the_whole_padding(draw: float, padding: int) -> None:
    images = torch.arange(1, 37, dtype=torch.uint8).reshape(1, 1, 6, 6)
    expected = torch.zeros_like(images)
    if draw == 0:
        expected[..., padding:, padding:] = images[..., :-padding, :-padding]
    else:
        expected[..., :-padding, :-padding] = images[..., padding:, padding:]
    assert torch.equal(crop(images, torch.full((1, 2), draw), NO_MEAN, crop_padding=padding), expected)


def test_crops_are_uniform_over_all_shifts() -> None:
    images = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(9_000, 1, 3, 3)
    draws = torch.rand(9_000, 2, generator=torch.Generator().manual_seed(0))
    counts = crop(images, draws, NO_MEAN, crop_padding=1)[:, 0, 1, 1].long().bincount()
    assert counts[0] == 0
    assert all(900 < count < 1_100 for count in counts[1:].tolist())


@pytest.mark.parametrize(
    ("size", "first", "last"),
    [
        (1, [0], [5]),
        (2, [0], [4, 5]),
        (3, [0, 1], [4, 5]),
        (4, [0, 1], [3, 4, 5]),
        (30, list(range(6)), list(range(6))),
    ],
)
@pytest.mark.parametrize("draw", EXTREMES)
def test_a_square_is_clipped_at_the_border(size: int, first: list[int], last: list[int], draw: float) -> None:
    images = torch.zeros((1, 1, 6, 6), dtype=torch.uint8)
    covered = cutout(images, torch.full((1, 2), draw), torch.tensor([1], dtype=torch.uint8), cutout=size)
    indices = first if draw == 0 else last
    assert covered[0, 0].nonzero().tolist() == [[row, column] for row in indices for column in indices]


def test_the_center_of_the_square_is_uniform_over_the_image() -> None:
    images = torch.zeros((12_000, 1, 3, 4), dtype=torch.uint8)
    draws = torch.rand(12_000, 2, generator=torch.Generator().manual_seed(0))
    counts = cutout(images, draws, torch.tensor([1], dtype=torch.uint8), cutout=1).long().sum(0).flatten()
    assert all(900 < count < 1_100 for count in counts.tolist())


# A value for every setting of a step: fractions are a half, other numbers 2.
NAMES = {"flip": "random", "crop_border": "black", "trivial_augment": "wide", "erasing_fill": "noise"}
VALUES: dict[str, Any] = {
    key: NAMES.get(key, 0.5 if "float" in str(item.type) else 2) for key, item, _ in settings(AugmentationConfig())
}
ALL_ON = AugmentationConfig(**VALUES)
ON_PIXELS = [name for name, step in choose_steps("augmentation", ALL_ON, STEPS).items() if changes_pixels(step)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ON_PIXELS)
def test_a_step_keeps_shape_dtype_and_its_inputs(name: str, shape: Shape) -> None:
    step = choose_steps("augmentation", ALL_ON, STEPS)[name]
    inputs = random_batch(shape, num_draws(step))
    before = [tensor.clone() for tensor in inputs]
    result = step(*inputs)
    assert (result.shape, result.dtype) == (shape, torch.uint8)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, before, strict=True))


def test_every_setting_belongs_to_one_step() -> None:
    used = [name for step in STEPS.values() for name in keyword_only(step)]
    assert sorted(used) == sorted(key for key, _, _ in settings(AugmentationConfig()))


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({}, {}),
        ({"flip": "none"}, {}),
        ({"flip": "random"}, {"flip": {"flip": "random"}}),
        ({"cutout": 8, "crop_padding": 4}, {"crop": {"crop_padding": 4}, "cutout": {"cutout": 8}}),
        ({"flip": "none", "cutout": 8}, {"cutout": {"cutout": 8}}),
        ({"crop_padding": 4, "crop_border": "black"}, {"crop": {"crop_padding": 4}}),  # the default
        ({"crop_padding": 4, "crop_border": "reflect"}, {"crop": {"crop_padding": 4, "crop_border": "reflect"}}),
        (
            {"cutout": 8, "crop_padding": 4, "flip": "random"},
            {"flip": {"flip": "random"}, "crop": {"crop_padding": 4}, "cutout": {"cutout": 8}},
        ),
    ],
)
def test_steps_are_on_where_their_settings_are_given(values: dict[str, object], steps: dict[str, object]) -> None:
    chosen = choose_steps("augmentation", AugmentationConfig(**values), STEPS)  # type: ignore[arg-type]
    assert {name: step.keywords for name, step in chosen.items()} == steps
    assert list(chosen) == list(steps)  # the order in which they are applied, whatever the order of the settings
    assert all(step.func is STEPS[name] for name, step in chosen.items())


def test_a_step_with_only_some_of_its_settings_is_an_error() -> None:
    def two_settings(images: Tensor, draws: Tensor, mean: Tensor, *, crop_padding: int, cutout: int) -> Tensor:
        return images

    with pytest.raises(UserError, match=r"augmentation\.cutout=null: the step two requires a value"):
        choose_steps("augmentation", AugmentationConfig(crop_padding=2), {"two": two_settings})


@pytest.mark.parametrize("border", ["black", "reflect"])
def test_a_setting_with_a_default_is_refused_where_its_step_is_off(border: str) -> None:
    with pytest.raises(UserError, match=r"augmentation\.crop_padding=null: the step crop requires a value"):
        choose_steps("augmentation", AugmentationConfig(crop_border=border), STEPS)


@pytest.mark.parametrize(
    ("values", "shape", "sentence"),
    [
        ({"crop_padding": 2, "resized_crop": 0.5}, (3, 8, 8), "crop_padding=2 excludes augmentation.resized_crop=0.5"),
        (
            {"trivial_augment": "wide", "randaugment_ops": 1, "randaugment_magnitude": 9},
            (3, 8, 8),
            "trivial_augment=wide excludes augmentation.randaugment_ops=1",
        ),
        ({"saturation": 0.5}, (1, 8, 8), "saturation=0.5 has no effect on gray images"),
        ({"crop_padding": 6, "crop_border": "reflect"}, (3, 8, 6), "must be below 6, the images' smaller side"),
        ({"repeats": 2}, (3, 8, 8), "repeats=2 repeats images that no step changes"),
        (
            {"repeats": 3, "flip": "alternating"},
            (3, 8, 8),
            "augmentation.repeats=3 repeats images that augmentation.flip=alternating flips alike",
        ),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], shape: tuple[int, int, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_augmentation(choose_steps("augmentation", AugmentationConfig(**values), STEPS), shape)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ({}, (1, 1, 1)),
        ({"saturation": 0.5}, (3, 8, 8)),
        ({"brightness": 0.5, "trivial_augment": "wide"}, (1, 8, 8)),
        ({"crop_padding": 5, "crop_border": "reflect"}, (3, 8, 6)),
        ({"crop_padding": 9, "crop_border": "black"}, (3, 8, 6)),
        ({"repeats": 2, "flip": "random"}, (3, 8, 8)),
        ({"repeats": 2, "flip": "alternating", "cutout": 2}, (3, 8, 8)),
    ],
)
def test_other_combinations_are_not_refused(values: dict[str, Any], shape: tuple[int, int, int]) -> None:
    check_augmentation(choose_steps("augmentation", AugmentationConfig(**values), STEPS), shape)


def loader(names: list[str]) -> TrainLoader:
    """Return 40 images in batches of 8, augmented by these steps in this order; labels number the images."""
    data = Images(random_batch((40, 3, 6, 6), 1)[0], torch.arange(40))
    steps = choose_steps("augmentation", ALL_ON, STEPS)
    normalize = Normalize(torch.zeros(3), torch.ones(3))  # its mean pixel is black
    return TrainLoader(data, torch.arange(40), 8, 5, normalize, {name: steps[name] for name in names})


def augmented(names: list[str], epoch: int = 3) -> tuple[Tensor, Tensor]:
    """Return the pixels of an epoch (N, C, H, W) uint8 and the numbers of the images."""
    images, targets = zip(*loader(names).epoch(epoch), strict=True)
    return (torch.cat(images) * 255).round().to(torch.uint8), torch.cat(targets)


@pytest.mark.parametrize("name", ON_PIXELS)
def test_the_draws_of_a_step_depend_on_no_other_step(name: str) -> None:
    all_steps, alone = loader(ON_PIXELS), loader([name])
    for epoch in (1, 2):
        draws = all_steps.draws(name, all_steps.augmentation[name], epoch)
        assert torch.equal(draws, alone.draws(name, alone.augmentation[name], epoch))
    drawn = [all_steps.draws(name, all_steps.augmentation[name], epoch) for epoch in (1, 2)]
    assert not torch.equal(*drawn)
    others = [all_steps.draws(other, all_steps.augmentation[name], 1) for other in ON_PIXELS if other != name]
    assert not any(torch.equal(drawn[0], other) for other in others)


def test_another_step_leaves_the_order_of_the_images_alone() -> None:
    assert torch.equal(augmented([])[1], augmented(ON_PIXELS)[1])


@pytest.mark.parametrize("names", [["flip"], ["crop"], ["cutout"], ["flip", "cutout"], ["flip", "crop", "cutout"]])
def test_an_epoch_applies_the_slow_steps_in_order(names: list[str]) -> None:
    """The same draws through the slow steps, flip before crop before cutout."""
    images, numbers = augmented(names)
    expected, batches = loader(names).data.images[numbers], loader(names)
    black = torch.zeros(3, dtype=torch.uint8)
    slow: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "flip": slow_flip,
        "crop": partial(slow_crop, padding=2),
        "cutout": partial(slow_cutout, mean=black, size=2),
    }
    for name in names:
        expected = slow[name](expected, batches.draws(name, batches.augmentation[name], 3))
    assert torch.equal(images, expected)


def test_the_order_of_application_matters() -> None:
    """Cutout before crop would move the square: the test above tells the orders apart."""
    assert not torch.equal(augmented(["crop", "cutout"])[0], augmented(["cutout", "crop"])[0])

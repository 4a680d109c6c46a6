from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sweeper.choice import choose
from sweeper.config import AugmentationConfig
from sweeper.data.augmentation import AUGMENTATIONS, crop, cut_square, cutout, flip, flip_crop, none
from sweeper.errors import UserError

LAST = 1 - 2**-24  # the largest number that torch.rand can draw
SHAPES = [(9, 3, 6, 6), (7, 1, 5, 8), (5, 3, 1, 1)]
EXTREMES = [0.0, 0.999999, LAST]


def random_batch(shape: tuple[int, int, int, int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images, their draws, the first two rows of which are extremes, and a mean pixel."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    draws = torch.rand(shape[0], 5, generator=generator)
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


def slow_cut_square(images: Tensor, draws: Tensor, mean: Tensor, size: int) -> Tensor:
    result = images.clone()
    height, width = images.shape[2:]
    for n in range(len(images)):
        top, left = int(draws[n, 0] * height) - size // 2, int(draws[n, 1] * width) - size // 2
        for row in range(max(top, 0), min(top + size, height)):
            for column in range(max(left, 0), min(left + size, width)):
                result[n, :, row, column] = mean
    return result


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_is_the_slow_flip(shape: tuple[int, int, int, int]) -> None:
    images, draws, mean = random_batch(shape)
    assert torch.equal(flip(images, draws, mean), slow_flip(images, draws))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [1, 2, 4, 9])
def test_crop_is_the_slow_crop(shape: tuple[int, int, int, int], padding: int) -> None:
    images, draws, _ = random_batch(shape)
    assert torch.equal(crop(images, draws[:, 1:3], padding), slow_crop(images, draws[:, 1:3], padding))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cut_square_is_the_slow_one(shape: tuple[int, int, int, int], size: int) -> None:
    images, draws, mean = random_batch(shape)
    expected = slow_cut_square(images, draws[:, 3:5], mean, size)
    assert torch.equal(cut_square(images, draws[:, 3:5], mean, size), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_crop_and_cutout_compose_the_slow_ones(shape: tuple[int, int, int, int]) -> None:
    images, draws, mean = random_batch(shape)
    cropped = slow_crop(slow_flip(images, draws), draws[:, 1:3], 2)
    assert torch.equal(flip_crop(images, draws, mean, padding=2), cropped)
    covered = slow_cut_square(cropped, draws[:, 3:5], mean, 3)
    assert torch.equal(cutout(images, draws, mean, padding=2, size=3), covered)


@pytest.mark.parametrize(("draw", "flipped"), [(0.0, True), (0.4999999, True), (0.5, False), (LAST, False)])
def test_the_first_draw_decides_the_flip(draw: float, flipped: bool) -> None:
    image = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    draws = torch.full((1, 5), 1 - draw)
    draws[0, 0] = draw
    expected = [3, 2, 1] if flipped else [1, 2, 3]
    assert flip(image, draws, torch.zeros(1)).flatten().tolist() == expected


def test_half_of_the_images_are_flipped() -> None:
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(10_000, 1, 1, 2)
    draws = torch.rand(10_000, 5, generator=torch.Generator().manual_seed(0))
    assert 4_800 < int(flip(images, draws, torch.zeros(1))[:, 0, 0, 0].sum()) < 5_200


@pytest.mark.parametrize("padding", [1, 2, 3, 4])
@pytest.mark.parametrize("draw", EXTREMES)
def test_an_extreme_draw_shifts_by_the_whole_padding(draw: float, padding: int) -> None:
    images = torch.arange(1, 37, dtype=torch.uint8).reshape(1, 1, 6, 6)
    expected = torch.zeros_like(images)
    if draw == 0:
        expected[..., padding:, padding:] = images[..., :-padding, :-padding]
    else:
        expected[..., :-padding, :-padding] = images[..., padding:, padding:]
    assert torch.equal(crop(images, torch.full((1, 2), draw), padding), expected)


def test_crops_are_uniform_over_all_places() -> None:
    images = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(9_000, 1, 3, 3)
    draws = torch.rand(9_000, 2, generator=torch.Generator().manual_seed(0))
    counts = crop(images, draws, 1)[:, 0, 1, 1].long().bincount()
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
def test_a_square_at_the_edge_is_cut_off(size: int, first: list[int], last: list[int], draw: float) -> None:
    images = torch.zeros((1, 1, 6, 6), dtype=torch.uint8)
    covered = cut_square(images, torch.full((1, 2), draw), torch.tensor([1], dtype=torch.uint8), size)
    places = first if draw == 0 else last
    assert covered[0, 0].nonzero().tolist() == [[row, column] for row in places for column in places]


def test_the_centre_of_the_square_is_uniform_over_the_image() -> None:
    images = torch.zeros((12_000, 1, 3, 4), dtype=torch.uint8)
    draws = torch.rand(12_000, 2, generator=torch.Generator().manual_seed(0))
    counts = cut_square(images, draws, torch.tensor([1], dtype=torch.uint8), 1).long().sum(0).flatten()
    assert all(900 < count < 1_100 for count in counts.tolist())


CHOICES: list[tuple[str, dict[str, int]]] = [
    ("none", {}),
    ("flip", {}),
    ("flip_crop", {"padding": 4}),
    ("cutout", {"padding": 4, "size": 3}),
]


@pytest.mark.parametrize(("name", "settings"), CHOICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_choice_keeps_shape_and_dtype_and_its_inputs(
    name: str, settings: dict[str, int], shape: tuple[int, int, int, int]
) -> None:
    inputs = random_batch(shape)
    before = [tensor.clone() for tensor in inputs]
    result = AUGMENTATIONS[name](*inputs, **settings)
    assert (result.shape, result.dtype) == (shape, torch.uint8)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, before, strict=True))


@pytest.mark.parametrize(("name", "settings"), CHOICES)
def test_a_choice_is_its_function_with_its_settings(name: str, settings: dict[str, int]) -> None:
    chosen = choose("augmentation", AugmentationConfig(name, **settings), AUGMENTATIONS)
    inputs = random_batch((9, 3, 6, 6))
    functions: dict[str, Callable[..., Tensor]] = {"none": none, "flip": flip, "flip_crop": flip_crop, "cutout": cutout}
    assert chosen.func is functions[name]
    assert torch.equal(chosen(*inputs), functions[name](*inputs, **settings))


def test_none_changes_nothing() -> None:
    images, draws, mean = random_batch((9, 3, 6, 6))
    assert torch.equal(none(images, draws, mean), images)


def test_there_are_four_choices_and_a_setting_of_another_is_refused() -> None:
    assert sorted(AUGMENTATIONS) == ["cutout", "flip", "flip_crop", "none"]
    with pytest.raises(UserError, match=r"augmentation\.size=8 is not used by augmentation=flip_crop"):
        choose("augmentation", AugmentationConfig("flip_crop", padding=4, size=8), AUGMENTATIONS)

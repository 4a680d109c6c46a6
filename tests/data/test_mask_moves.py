"""Masks move with their images: every step of augmentation has a move, or leaves pixels where they are."""

from functools import partial

import pytest
import torch
from torch import Tensor

from sweeper.data import augmentation
from sweeper.data.batches import Normalize, TrainLoader
from sweeper.data.cache import Images
from sweeper.data.draws import changes_pixels, num_draws
from sweeper.data.mask_moves import LABEL_FREE, MOVES
from sweeper.data.policies import OPERATIONS
from sweeper.data.source import UNLABELED
from sweeper.training.segmentation import move_masks

# Settings with which each step is on; those that change colors as well are tested where they do not.
SETTINGS: dict[str, dict[str, object]] = {
    "flip": {"flip": "random"},
    "crop": {"crop_padding": 3},
    "resized_crop": {"resized_crop": 0.3},
    "trivial_augment": {"trivial_augment": "wide"},
    "randaugment": {"randaugment_ops": 2, "randaugment_magnitude": 9},
    "brightness": {"brightness": 0.5},
    "contrast": {"contrast": 0.5},
    "saturation": {"saturation": 0.5},
    "cutout": {"cutout": 4},
    "erasing": {"erasing": 1.0},
}
IMAGE_STEPS = [name for name, step in augmentation.STEPS.items() if changes_pixels(partial(step))]
MEAN = torch.zeros(3, dtype=torch.uint8)


def checkered(num: int) -> Tensor:
    """Return masks (N, 12, 12) of squares of four pixels, of the classes 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    squares = torch.randint(1, 3, (num, 6, 6), dtype=torch.uint8, generator=generator)
    return squares.repeat_interleave(2, 1).repeat_interleave(2, 2)


def drawn(name: str, num: int) -> tuple[partial[Tensor], Tensor]:
    step = partial(augmentation.STEPS[name], **SETTINGS[name])
    return step, torch.rand(num, num_draws(step), generator=torch.Generator().manual_seed(1))


def test_every_step_has_a_move_or_is_free_of_labels() -> None:
    assert sorted([*MOVES, *LABEL_FREE]) == sorted(IMAGE_STEPS) == sorted(SETTINGS)


@pytest.mark.parametrize("name", MOVES)
def test_a_move_takes_the_class_of_each_pixel_along(name: str) -> None:
    """An image whose color is its class, far from black, shows where each pixel came from."""
    masks = checkered(400)
    images = (100 * masks)[:, None].expand(-1, 3, -1, -1).contiguous()  # 100 and 200
    step, draws = drawn(name, len(masks))
    if name in ("trivial_augment", "randaugment"):  # only draws of operations that move pixels: others change colors
        moving = torch.tensor([operation.maps is not None for operation in OPERATIONS])
        columns = [0] if name == "trivial_augment" else [0, 2]
        chosen = torch.stack([moving[(draws[:, column] * len(OPERATIONS)).long()] for column in columns]).all(0)
        masks, images, draws = masks[chosen], images[chosen], draws[chosen]
    assert len(masks) > 20
    moved, seen = move_masks({name: step})[name](masks, draws), step(images, draws, MEAN)[:, 0]
    assert moved.dtype == torch.uint8 and moved.shape == masks.shape
    certain = (seen == 0) | (seen == 100) | (seen == 200)  # not where colors are interpolated
    expected = torch.where(seen == 0, torch.tensor(UNLABELED, dtype=torch.uint8), seen // 100)
    assert certain.float().mean() > 0.5 and torch.equal(moved[certain], expected[certain])
    assert not torch.equal(moved, masks)
    if name != "resized_crop":
        assert certain.all()


@pytest.mark.parametrize("name", LABEL_FREE)
def test_a_step_free_of_labels_moves_no_pixel(name: str) -> None:
    """What such a step makes of an image and of its mirror image, with equal draws of color, has the same edges."""
    step, draws = drawn(name, 50)
    images = (80 * checkered(50))[:, None].expand(-1, 3, -1, -1).contiguous()
    changed = step(images, draws, MEAN)
    assert move_masks({name: step}) == {}
    for image, before in zip(changed, images, strict=True):
        kept = (image != 0).all(0) & (before != 0).all(0)  # not covered
        for value in before.unique():
            assert len(image[:, kept & (before[0] == value)].unique()) <= 1


def test_policies_leave_masks_where_they_change_colors_alone() -> None:
    masks, (step, draws) = checkered(400), drawn("trivial_augment", 400)
    moving = torch.tensor([operation.maps is not None for operation in OPERATIONS])
    still = ~moving[(draws[:, 0] * len(OPERATIONS)).long()]
    assert still.sum() > 100
    assert torch.equal(move_masks({"trivial_augment": step})["trivial_augment"](masks, draws)[still], masks[still])


def test_a_reflected_border_has_the_classes_of_what_is_reflected() -> None:
    masks = checkered(60)
    step = partial(augmentation.crop, crop_padding=3, crop_border="reflect")
    draws = torch.rand(60, 2, generator=torch.Generator().manual_seed(2))
    moved = move_masks({"crop": step})["crop"](masks, draws)
    assert torch.equal(moved, step((100 * masks)[:, None], draws, MEAN)[:, 0] // 100)


def test_the_loader_moves_masks_with_the_draws_of_their_images() -> None:
    masks = checkered(40)
    data = Images((100 * masks)[:, None].expand(-1, 3, -1, -1).contiguous(), masks)
    steps = {name: drawn(name, 1)[0] for name in ("flip", "crop")}
    normalize = Normalize(torch.zeros(3), torch.ones(3))
    loader = TrainLoader(data, torch.arange(40), 16, 5, normalize, steps, move_masks(steps))
    batches = [*loader.epoch(1), *loader.epoch(2)]
    for images, moved in batches:
        seen = (images[:, 0] * 255).round().to(torch.uint8)
        assert torch.equal(moved, torch.where(seen == 0, torch.tensor(255, dtype=torch.uint8), seen // 100))
    assert any((moved == UNLABELED).any() for _, moved in batches)

"""Batches: normalization, order, augmentation and resumption of an epoch, evaluation batches, derived seeds."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from sweeper.data.augmentation import crop, cutout, flip, repeats
from sweeper.data.batches import EVAL_BATCH, Normalize, Step, TrainLoader, derived_seed, eval_batches
from sweeper.data.cache import Images

AUGMENTATION: dict[str, partial[Tensor]] = {
    "flip": partial(flip, flip="random"),
    "crop": partial(crop, crop_padding=2),
    "cutout": partial(cutout, cutout=2),
}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
Batches = list[tuple[Tensor, Tensor]]


def numbered_images(num: int) -> Images:
    """Return random images whose labels are their indices."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return Images(images, torch.arange(num))


def train_loader(num: int, batch_size: int, seed: int = 0) -> TrainLoader:
    return TrainLoader(numbered_images(num), torch.arange(num), batch_size, seed, Normalize(MEAN, STD), AUGMENTATION)


def joined(batches: Batches) -> tuple[Tensor, Tensor]:
    images, targets = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(targets)


def same(left: Batches, right: Batches) -> bool:
    return len(left) == len(right) and all(
        torch.equal(mine, other)
        for pair, other_pair in zip(left, right, strict=True)
        for mine, other in zip(pair, other_pair, strict=True)
    )


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ([0.5, 0.25, 1.0], [0.5, 0.2, 2.0]),
        ([0.13], [0.31]),
    ],
)
def test_normalize_against_the_formula(mean: list[float], std: list[float]) -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8).repeat(1, len(mean), 1, 1)
    result = Normalize(torch.tensor(mean), torch.tensor(std))(images)
    assert result.dtype == torch.float32
    for channel, (shift, scale) in enumerate(zip(mean, std, strict=True)):
        expected = (images[:, channel].double() / 255 - shift) / scale
        torch.testing.assert_close(result[:, channel].double(), expected, rtol=0, atol=2e-6)  # float32 rounding


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalize_returns_the_memory_format_and_keeps_its_input(memory_format: torch.memory_format) -> None:
    images = numbered_images(5).images
    before = images.clone()
    result = Normalize(MEAN, STD, memory_format)(images)
    assert result.is_contiguous(memory_format=memory_format)
    assert torch.equal(result, Normalize(MEAN, STD)(images))
    assert torch.equal(images, before)


def test_the_mean_pixel_is_rounded() -> None:
    assert Normalize(torch.tensor([0.0, 0.4996, 1.0]), STD).mean_pixel.tolist() == [0, 127, 255]
    assert Normalize(MEAN, STD).mean_pixel.tolist() == [124, 116, 104]


@pytest.mark.parametrize(
    ("num", "batch_size", "sizes"),
    [
        (10, 5, [5, 5]),
        (12, 5, [5, 5, 2]),
        (11, 5, [5, 5]),  # a last batch of one image is dropped
        (1, 5, []),
        (2, 5, [2]),
        (5, 5, [5]),
        (6, 5, [5]),
        (7, 300, [7]),
        (300, 64, [64, 64, 64, 64, 44]),
        (257, 64, [64, 64, 64, 64]),
        (601, 300, [300, 300]),
        (602, 300, [300, 300, 2]),
    ],
)
def test_an_epoch_covers_each_image_once(num: int, batch_size: int, sizes: list[int]) -> None:
    loader = train_loader(num, batch_size)
    found = [targets.tolist() for _, targets in loader.epoch(0)]
    assert [len(targets) for targets in found] == sizes
    assert len(loader) == len(sizes)
    seen = [target for targets in found for target in targets]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(num))


@pytest.mark.parametrize("batch_size", [2, 7, 100, 300])
def test_only_the_given_indices_are_drawn_and_labels_fit_their_images(batch_size: int) -> None:
    data, normalize = numbered_images(400), Normalize(MEAN, STD)
    indices = torch.arange(4, 400, 3)
    loader = TrainLoader(data, indices, batch_size, 0, normalize)
    images, targets = joined(list(loader.epoch(0)))
    assert sorted(targets.tolist()) == indices.tolist()
    assert torch.equal(images, normalize(data.images[targets]))


@pytest.mark.parametrize("batch_size", [5, 7, 16, 60, 100, 128, 255, 256, 257, 300, 529, 530, 2000])
def test_an_epoch_resumed_at_any_batch_is_the_tail_of_the_whole(batch_size: int) -> None:
    loader = train_loader(530, batch_size)
    whole = list(loader.epoch(4))
    for first in range(len(loader) + 1):
        assert same(list(loader.epoch(4, first)), whole[first:]), first


def test_the_same_seed_gives_the_same_batches() -> None:
    assert same(list(train_loader(90, 16, seed=3).epoch(2)), list(train_loader(90, 16, seed=3).epoch(2)))


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0), (1, 1)])
def test_another_seed_or_epoch_has_another_order_and_other_augmentation(seed: int, epoch: int) -> None:
    images, targets = joined(list(train_loader(90, 16, seed=0).epoch(0)))
    other_images, other_targets = joined(list(train_loader(90, 16, seed=seed).epoch(epoch)))
    assert targets.tolist() != other_targets.tolist()
    changed = (images[targets.argsort()] != other_images[other_targets.argsort()]).flatten(1).any(1)
    assert int(changed.sum()) > 80  # a few images are changed alike by chance


def test_augmentation_is_redrawn_every_epoch() -> None:
    epochs = [joined(list(train_loader(2, 2).epoch(epoch))) for epoch in range(20)]  # in one of two orders
    variants = {images[targets.tolist().index(0)].numpy().tobytes() for images, targets in epochs}
    assert len(variants) > 10


@pytest.mark.parametrize("batch_size", [3, 50, 300])
def test_order_and_augmentation_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    images, targets = joined(list(train_loader(600, 600).epoch(0)))
    other_images, other_targets = joined(list(train_loader(600, batch_size).epoch(0)))
    assert torch.equal(targets, other_targets)
    assert torch.equal(images, other_images)


def mirrored(epoch: int, batch_size: int = 16, seed: int = 0) -> Tensor:
    """Return which of 90 images an epoch mirrors, flips alternating."""
    loader = train_loader(90, batch_size, seed)
    loader.augmentation = {"flip": partial(flip, flip="alternating")}
    images, targets = joined(list(loader.epoch(epoch)))
    originals = loader.transform(loader.data.images)
    found = torch.empty(90, dtype=torch.bool)
    for image, target in zip(images, targets.tolist(), strict=True):
        found[target] = torch.equal(image, originals[target].flip(-1))
        assert found[target] or torch.equal(image, originals[target])
    return found


def test_alternating_flips_mirror_each_image_in_every_other_epoch() -> None:
    first = mirrored(1)
    assert 30 <= int(first.sum()) <= 60
    assert torch.equal(mirrored(2), ~first) and torch.equal(mirrored(3), first) and torch.equal(mirrored(4), ~first)
    assert torch.equal(mirrored(1, batch_size=90), first)
    assert not torch.equal(mirrored(1, seed=1), first)


def test_alternating_draws_are_shifted_by_exactly_half() -> None:
    loader = train_loader(20, 4)
    step = partial(flip, flip="alternating")
    one, two = (loader.draws("flip", step, epoch)[loader.order(epoch).argsort()] for epoch in (3, 4))
    assert torch.equal(two - one, torch.where(one < 0.5, 0.5, -0.5))
    assert float(one.min()) >= 0 and float(one.max()) < 1


def test_a_resumed_epoch_of_alternating_flips_and_repeats_is_the_tail_of_the_whole() -> None:
    loader = train_loader(530, 16)
    loader.augmentation = {"repeats": partial(repeats, repeats=3), "flip": partial(flip, flip="alternating")}
    whole = list(loader.epoch(2))
    assert all(same(list(loader.epoch(2, first)), whole[first:]) for first in (0, 1, 17, 33))


@pytest.mark.parametrize(("batch_size", "number"), [(4, 2), (8, 8), (12, 3), (16, 5), (3, 8), (64, 3), (200, 4)])
def test_a_batch_of_repeated_augmentation_has_copies_of_its_images(batch_size: int, number: int) -> None:
    plain, loader = train_loader(101, batch_size), train_loader(101, batch_size)
    loader.augmentation = {"repeats": partial(repeats, repeats=number), **AUGMENTATION}
    batches = [targets for _, targets in loader.epoch(1)]
    assert [len(targets) for targets in batches] == [len(targets) for _, targets in plain.epoch(1)]
    assert len(loader) == len(plain)
    for targets in batches:
        copies = targets.bincount()[targets]
        distinct = math.ceil(len(targets) / number)  # in the last batch, which may be smaller, too
        assert len(targets.unique()) == len(targets[:distinct].unique()) == distinct  # copies are apart
        assert int(copies.max()) <= number and (len(targets) % number or int(copies.min()) == number)
    seen = torch.cat([targets.unique() for targets in batches])
    assert len(seen) == len(seen.unique())  # an image is in one batch of the epoch
    assert not torch.equal(torch.cat(batches), torch.cat([targets for _, targets in loader.epoch(2)]))


def test_copies_of_an_image_are_augmented_differently() -> None:
    loader = train_loader(40, 40)
    loader.augmentation = {"repeats": partial(repeats, repeats=20), **AUGMENTATION}
    images, targets = joined(list(loader.epoch(0)))
    assert set(targets.bincount().tolist()) == {0, 20}
    copies = images[targets == targets[0]]
    assert len({copy.numpy().tobytes() for copy in copies}) > 10


def test_batches_leave_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    list(train_loader(20, 4).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_have_the_memory_format_of_normalize() -> None:
    loader = train_loader(20, 4)
    loader.transform = Normalize(MEAN, STD, torch.channels_last)
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in loader.epoch(0))


@pytest.mark.parametrize(
    ("num", "sizes"), [(1, [1]), (EVAL_BATCH, [EVAL_BATCH]), (2 * EVAL_BATCH + 1, [EVAL_BATCH, EVAL_BATCH, 1])]
)
def test_evaluation_yields_every_image_in_order(num: int, sizes: list[int]) -> None:
    data, normalize = numbered_images(2 * num), Normalize(MEAN, STD)
    indices = torch.arange(2 * num - 1, 0, -2)
    batches = list(eval_batches(data, indices, normalize))
    assert [len(targets) for _, targets in batches] == sizes
    images, targets = joined(batches)
    assert torch.equal(targets, indices)
    assert torch.equal(images, normalize(data.images[indices]))


def test_derived_seeds_are_distinct_and_fit_in_63_bits() -> None:
    purposes = [(name, epoch) for name in ("order", "augmentation", "dropout") for epoch in range(100)]
    seeds = {derived_seed(seed, *purpose) for seed in (*range(20), 2**63 - 1) for purpose in purposes}
    assert len(seeds) == 21 * len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(1, 23) != derived_seed(12, 3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((0, "order", 0), 1864822792221289227), ((1, "augmentation", 3), 1323941377487606520)],
)
def test_derived_seeds_are_pinned(arguments: tuple[int, str, int], expected: int) -> None:
    assert derived_seed(*arguments) == expected


def test_the_generator_of_a_step_depends_on_seed_index_and_name_only() -> None:
    def drawn(index: int, seed: int, name: str, total: int = 100) -> float:
        return float(torch.rand((), dtype=torch.float64, generator=Step(index, total, seed).generator(name)))

    assert drawn(7, 3, "mixup") == drawn(7, 3, "mixup", total=200)
    torch.rand(5)  # the global generator has no part in it
    assert drawn(7, 3, "mixup") == drawn(7, 3, "mixup")
    others = [drawn(8, 3, "mixup"), drawn(7, 4, "mixup"), drawn(7, 3, "cutmix"), drawn(3, 7, "mixup")]
    assert len({drawn(7, 3, "mixup"), *others}) == 5

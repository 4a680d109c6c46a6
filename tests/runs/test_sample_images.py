"""Training images as augmentation shows them: those of a run's own epochs, and the file that keeps them."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sweeper.data.augmentation import crop, flip, repeats
from sweeper.data.batches import Identity, Normalize, TrainLoader
from sweeper.data.cache import Images
from sweeper.runs.sample_images import LARGEST, MOST, SCENES, VERSIONS, sample_images
from sweeper.runs.samples import read_samples, write_samples
from sweeper.training.segmentation import move_masks

PLAIN = Normalize(torch.zeros(3), torch.ones(3))  # pixels / 255
FLIP, CROP = partial(flip, flip="alternating"), partial(crop, crop_padding=2)
TWICE = partial(repeats, repeats=2)
INDICES = torch.tensor([41, 3, 17, 8, 29, 30, 2, 45, 11, 26])  # of the images to train on


def pixels(num: int, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, 3, side, side), generator=generator, dtype=torch.uint8)


def loader(labels: Tensor, side: int = 8, **steps: partial[Tensor]) -> TrainLoader:
    moves = move_masks(steps) if labels.ndim > 1 else {}
    return TrainLoader(Images(pixels(50, side), labels), INDICES, 4, 7, PLAIN, steps, moves)


def shown(of: TrainLoader, index: int, epochs: int) -> list[Tensor]:
    """Return what the network is shown of an image in the first epochs, as pixels."""
    found = []
    for epoch in range(1, epochs + 1):
        for images, targets in of.epoch(epoch):
            found += [image for image, target in zip(images, targets, strict=True) if int(target) == index]
    return [(255 * image).round().to(torch.uint8) for image in found]


@pytest.mark.parametrize(
    "steps", [{"flip": FLIP, "crop": CROP}, {"repeats": partial(repeats, repeats=2), "crop": CROP}]
)
def test_the_versions_are_those_of_the_first_epochs(steps: dict[str, partial[Tensor]]) -> None:
    of = loader(torch.arange(50), 8, **steps)  # each image is its own class
    before = torch.random.get_rng_state()
    samples = sample_images(of)
    assert torch.equal(before, torch.random.get_rng_state())
    number = 10 if "flip" in steps else 5  # an epoch of repeats shows half of the images, each of them twice
    assert len(samples.indices) == number and set(samples.indices) <= set(INDICES.tolist())
    assert samples.masks.shape == (number, VERSIONS, 0, 0)
    for index, versions in zip(samples.indices, samples.shown, strict=True):
        expected = shown(of, int(index), epochs=9)[:VERSIONS]
        assert len(expected) == VERSIONS
        assert np.array_equal(versions, torch.stack(expected).numpy())


def test_masks_are_moved_with_their_scenes() -> None:
    masks = pixels(50)[:, 0]  # the first channel, so that a mask is what its image shows
    samples = sample_images(loader(masks, flip=FLIP, crop=CROP))
    assert samples.indices.tolist() == sorted(INDICES.tolist())[:SCENES]
    inside = samples.masks != 255
    assert 0.5 < inside.mean() < 1 and np.array_equal(samples.masks[inside], samples.shown[:, :, 0][inside])


@pytest.mark.parametrize(("classes", "number"), [(50, 10), (2, 4), (1, 2)])
def test_there_are_images_of_each_class(classes: int, number: int) -> None:
    labels = torch.arange(50) % classes
    samples = sample_images(loader(labels))
    assert len(set(samples.indices.tolist())) == number <= MOST
    assert set(labels[samples.indices].tolist()) == set(labels[INDICES].tolist())
    assert samples.shown.shape == (number, 0, 3, 8, 8)  # without augmentation, the images are as they are


def test_large_images_are_made_small() -> None:
    of = loader(torch.zeros(50, dtype=torch.int64), 2 * LARGEST, flip=partial(flip, flip="random"))
    samples = sample_images(of)
    assert samples.shown.shape == (2, VERSIONS, 3, LARGEST, LARGEST)
    small = pixels(50, 2 * LARGEST)[samples.indices].unfold(2, 2, 2).unfold(3, 2, 2).float().mean((-1, -2))
    for image, versions in zip(small, samples.shown, strict=True):
        for version in versions:
            distances = [np.abs(version - side.numpy()).max() for side in (image, image.flip(-1))]
            assert min(distances) <= 0.5


def test_features_have_no_versions() -> None:
    of = TrainLoader(Images(torch.zeros(50, 4), torch.arange(50)), INDICES, 4, 7, Identity())
    assert sample_images(of).shown.shape[:2] == (10, 0)


def test_a_damaged_file_reads_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    assert read_samples(path) is None
    samples = sample_images(loader(torch.arange(50), flip=FLIP))
    write_samples(path, samples)
    again = read_samples(path)
    assert again is not None
    assert np.array_equal(again.indices, samples.indices) and np.array_equal(again.shown, samples.shown)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert read_samples(path) is None
    np.savez(path, indices=samples.indices[:1], shown=samples.shown, masks=samples.masks)
    assert read_samples(path) is None

"""Which images are trained on and which validate: sizes, splits of the dataset's own, and what is reported."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from decoded import is_whole, with_validation
from support import CLASSES, TEST_IMAGES, TRAIN_IMAGES

from sweeper.data.cache import Images, load, prepare
from sweeper.data.validation import (
    count_train_images,
    resolve_val_size,
    untrained_classes,
    validation_split,
    warn_about_split,
)
from sweeper.errors import WARNED, UserError
from sweeper.groups import DataConfig

NUM_TRAIN, NUM_TEST = TRAIN_IMAGES * len(CLASSES), TEST_IMAGES * len(CLASSES)


@pytest.mark.parametrize("val_size", [1, 24, NUM_TRAIN - 2])
def test_validation_images_are_held_out_of_the_training_images(config: DataConfig, val_size: int) -> None:
    dataset = load(prepare(config))
    config = dataclasses.replace(config, val_size=val_size)
    train, images, val = validation_split(dataset, config, seed=0)
    assert images is dataset.train
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(NUM_TRAIN))
    counts = dataset.train.labels[val].bincount(minlength=len(CLASSES))
    assert (len(val), int(counts.max() - counts.min()) <= 1) == (val_size, True)
    assert torch.equal(validation_split(dataset, config, seed=0)[2], val)
    assert not torch.equal(validation_split(dataset, config, seed=1)[2], val)


def test_without_held_out_images_the_test_images_are_used_for_validation(config: DataConfig) -> None:
    dataset = load(prepare(config))
    train, images, val = validation_split(dataset, dataclasses.replace(config, val_size=0), seed=0)
    assert images is dataset.test
    assert (train.tolist(), val.tolist()) == (list(range(NUM_TRAIN)), list(range(NUM_TEST)))


def test_validation_images_of_the_datasets_own_are_used(config: DataConfig, root: Path) -> None:
    without = prepare(config)
    own = with_validation(root, config)
    cached = prepare(own)
    assert (cached.num_train, cached.num_val, cached.num_test) == (NUM_TRAIN, 4 * len(CLASSES), NUM_TEST)
    assert dataclasses.replace(prepare(own), source=cached.source) == cached
    dataset = load(cached)
    assert is_whole(dataset, root)
    assert resolve_val_size(own, cached).val_size is None and count_train_images(own, cached) == NUM_TRAIN
    train, images, val = validation_split(dataset, own, seed=0)
    assert images is dataset.val and train.tolist() == list(range(NUM_TRAIN))
    first = [TRAIN_IMAGES * label + number for label in range(len(CLASSES)) for number in range(4)]
    assert torch.equal(images.images[val], dataset.train.images[first])
    assert torch.equal(images.labels[val], dataset.train.labels[first])
    held_out = prepare(config)  # with a number, they are passed over
    assert (held_out.num_val, held_out.fingerprint) == (0, without.fingerprint) and without.num_val == 0
    assert cached.fingerprint != without.fingerprint


@pytest.mark.parametrize("val_size", [0, 24])
def test_some_training_images_are_used(config: DataConfig, val_size: int) -> None:
    cached = prepare(config)
    dataset, before = load(cached), set[int]()
    config = dataclasses.replace(config, val_size=val_size)
    val = validation_split(dataset, config, seed=0)[2]
    for size in (2, 9, 60, NUM_TRAIN - val_size):
        some = dataclasses.replace(config, train_size=size)
        train, _, same_val = validation_split(dataset, some, seed=0)
        assert len(train) == size == count_train_images(some, cached)
        assert {*train.tolist()} > before and torch.equal(same_val, val)
        before = {*train.tolist()}
        counts = dataset.train.labels[train].bincount(minlength=len(CLASSES))
        assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(train, validation_split(dataset, config, seed=0)[0])
    few = dataclasses.replace(config, train_size=9)
    assert not torch.equal(validation_split(dataset, few, seed=0)[0], validation_split(dataset, few, seed=1)[0])


@pytest.mark.parametrize(
    ("given", "val_size", "sentence"),
    [
        (None, 0, r"^data\.root=\S*: 120 training images are too few to hold a tenth out: the test images are"),
        (0, 0, ""),
        (None, 12, ""),
        (24, 24, ""),
        (118, 118, r"^data\.val_size=118 leaves no training image of 1 of 3 classes \(ant\): they have too few images"),
    ],
)
def test_a_split_that_surprises_is_reported(
    config: DataConfig, caplog: pytest.LogCaptureFixture, given: int | None, val_size: int, sentence: str
) -> None:
    cached = prepare(config)
    WARNED.clear()
    caplog.clear()
    for _ in range(2):
        warn_about_split(given, dataclasses.replace(config, val_size=val_size), cached, seed=0)
    assert len(caplog.messages) == (sentence != "")
    assert re.search(sentence, "".join(caplog.messages))


def test_classes_without_a_training_image_of_the_seed_are_reported(
    config: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """Which class has none depends on the seed where the images of classes alternate."""
    cached = prepare(config)
    dataset, labels = load(cached), torch.arange(NUM_TRAIN) % len(CLASSES)
    dataset = dataclasses.replace(dataset, train=Images(dataset.train.images, labels))
    np.save(cached.folder / "train_labels.npy", labels.numpy())
    config = dataclasses.replace(config, val_size=0, train_size=2)
    reported = set()
    for seed in range(8):
        WARNED.clear()
        caplog.clear()
        warn_about_split(0, config, cached, seed)
        trained = labels[validation_split(dataset, config, seed)[0]].tolist()
        (name,) = (name for index, name in enumerate(cached.classes) if index not in trained)
        assert caplog.messages == [
            f"data.train_size=2 leaves no training image of 1 of 3 classes ({name}): they have too few images"
        ]
        reported.add(name)
    assert len(reported) > 1


def test_a_class_with_one_image_may_have_none_to_train_on(root: Path, config: DataConfig) -> None:
    for file in sorted((root / "train" / "ant").iterdir())[1:]:
        file.unlink()
    cached = prepare(config)
    assert untrained_classes(cached.folder, cached.fingerprint, seed=0, val_size=60) == [0]
    assert untrained_classes(cached.folder, cached.fingerprint, seed=0, val_size=1) == []
    (cached.folder / "train_labels.npy").write_bytes(b"damaged")
    assert untrained_classes(cached.folder, cached.fingerprint, seed=0, val_size=61) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"val_size": NUM_TRAIN - 1}, rf"data\.val_size=119 must be at most {NUM_TRAIN - 2}"),
        ({"val_size": 5000}, rf"data\.val_size=5000 must be at most {NUM_TRAIN - 2}"),
        (
            {"train_size": NUM_TRAIN - 23},
            r"data\.train_size=97 must be at most 96: .* 120 training images, 24 of them held out for validation$",
        ),
        (
            {"val_size": 0, "train_size": 121},
            r"data\.train_size=121 must be at most 120: .* 120 training images$",
        ),
        ({"mean": [0.5]}, r"data\.mean=\[0\.5\] needs a number for each of the images' 3 channels"),
        ({"mean": []}, r"data\.mean=\[\] needs"),
        ({"std": [0.5] * 4}, r"data\.std=.* needs a number for each"),
        ({"std": None}, r"data\.std=None needs"),
    ],
)
def test_an_impossible_split_is_an_error(config: DataConfig, wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        validation_split(load(prepare(config)), dataclasses.replace(config, **wrong), seed=0)  # type: ignore[arg-type]

"""The cache of decoded images: written once, verified, replaced where damaged, split into training and validation."""

import dataclasses
import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import CLASSES, TEST_IMAGES, TRAIN_IMAGES

import sweeper.data.cache
from sweeper.data.cache import (
    ARRAYS,
    Cached,
    Dataset,
    load,
    prepare,
    read_arrays,
    read_index,
)
from sweeper.data.source import Source
from sweeper.data.validation import (
    count_train_images,
    resolve_val_size,
    untrained_classes,
    validation_split,
    warn_about_split,
)
from sweeper.errors import UserError, warn_once
from sweeper.groups import DataConfig

NUM_TRAIN, NUM_TEST = TRAIN_IMAGES * len(CLASSES), TEST_IMAGES * len(CLASSES)


@pytest.fixture
def root(image_root: Path, tmp_path: Path) -> Path:
    """A copy of the small images that a test may change; modification times are kept."""
    return Path(shutil.copytree(image_root, tmp_path / "images"))


@pytest.fixture
def config(root: Path, tmp_path: Path) -> DataConfig:
    cache = str(tmp_path / "cache")
    return DataConfig(
        "image_folder", str(root), cache, image_size=8, channels=3, val_size=24, mean=[0.5] * 3, std=[0.25] * 3
    )


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cache folders that the test has decoded into, an entry for each time; decoding itself is unchanged."""
    folders: list[Path] = []
    decode = sweeper.data.cache.decode

    def recorded(source: Source, folder: Path, *, broken: bool = False) -> Cached:
        folders.append(folder)
        return decode(source, folder, broken=broken)

    monkeypatch.setattr(sweeper.data.cache, "decode", recorded)
    return folders


def is_whole(dataset: Dataset, root: Path) -> bool:
    """Return whether the dataset holds the pixels and labels of the files in root."""
    for split, found, num in (("train", dataset.train, TRAIN_IMAGES), ("test", dataset.test, TEST_IMAGES)):
        files = sorted((root / split).glob("*/*.png"))
        pixels = np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files])
        labels = np.repeat(np.arange(len(CLASSES)), num)
        if not (np.array_equal(found.images.numpy(), pixels) and np.array_equal(found.labels.numpy(), labels)):
            return False
    return dataset.classes == list(CLASSES)


def test_images_are_decoded_once_and_mapped(config: DataConfig, root: Path, decodings: list[Path]) -> None:
    cached, again = prepare(config), prepare(config)
    assert decodings == [cached.folder]
    assert dataclasses.replace(again, source=cached.source) == cached
    assert (cached.classes, cached.input_shape, cached.num_train) == (list(CLASSES), (3, 8, 8), NUM_TRAIN)
    dataset = load(again)
    assert is_whole(dataset, root)
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (torch.uint8, torch.int64)
    assert (dataset.input_shape, len(dataset.train), len(dataset.test)) == ((3, 8, 8), NUM_TRAIN, NUM_TEST)
    assert all(isinstance(array, np.memmap) for array in (read_arrays(cached) or {}).values())
    assert decodings == [cached.folder]


def test_a_cache_beside_the_classes_is_no_class(config: DataConfig, root: Path) -> None:
    unsplit = dataclasses.replace(config, root=str(root / "train"), cache=str(root / "train" / "cache"))
    (root / "test").rename(root / "other")
    assert prepare(unsplit).classes == prepare(unsplit).classes == list(CLASSES)


def test_writing_into_the_tensors_does_not_reach_the_cache(config: DataConfig, root: Path) -> None:
    cached = prepare(config)
    load(cached).train.images.zero_()
    assert is_whole(load(cached), root)


def test_the_fingerprint_does_not_depend_on_where_the_images_are(config: DataConfig, root: Path) -> None:
    copy = shutil.copytree(root, root.parent / "copy")
    (copy / "train" / "ant" / "000.png").touch()
    moved = dataclasses.replace(config, root=str(copy), cache=str(root.parent / "other"))
    assert prepare(moved).fingerprint == prepare(config).fingerprint


def change_pixel(root: Path, split: str) -> None:
    with Image.open(root / split / "bee" / "005.png") as image:
        image.putpixel((3, 4), (0, 0, 0))
        image.save(root / split / "bee" / "005.png")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: change_pixel(root, "train"),
        lambda root: change_pixel(root, "test"),
        lambda root: (root / "train" / "ant" / "039.png").rename(root / "train" / "bee" / "-.png"),
        lambda root: [(root / split / "cat").rename(root / split / "dog") for split in ("train", "test")],
        lambda root: (root / "test" / "ant" / "000.png").unlink(),
    ],
    ids=["train pixel", "test pixel", "label", "class name", "image removed"],
)
def test_the_fingerprint_changes_with_the_content(
    config: DataConfig, root: Path, change: Callable[[Path], object]
) -> None:
    before = prepare(config)
    change(root)
    after = prepare(config)
    assert (after.fingerprint != before.fingerprint, after.folder != before.folder) == (True, True)


def flip_bit(file: Path, index: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[index] ^= 1 << bit
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut in the header": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "header only": lambda file: file.write_bytes(file.read_bytes()[:128]),
    "one byte short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "flipped first value": lambda file: flip_bit(file, 128),
    "flipped last byte": lambda file: flip_bit(file, -1),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_array_is_decoded_again(
    config: DataConfig, root: Path, decodings: list[Path], name: str, damage: str
) -> None:
    cached = prepare(config)
    DAMAGES[damage](cached.folder / f"{name}.npy")
    assert is_whole(load(prepare(config)), root)
    assert decodings == [cached.folder] * 2
    assert is_whole(load(prepare(config)), root)
    assert decodings == [cached.folder] * 2


def test_a_flipped_bit_of_a_header_is_noticed_or_harmless(config: DataConfig) -> None:
    cached = prepare(config)
    file = cached.folder / "test_labels.npy"
    expected, misread = np.load(file), []
    for index, bit in itertools.product(range(128), (1, 3)):  # among them "<i8" to ">i8" and "|S8"
        flip_bit(file, index, bit)
        try:
            array = (read_arrays(cached) or {"test_labels": expected})["test_labels"]
            if array.dtype != expected.dtype or not np.array_equal(array, expected):
                misread.append(f"bit {bit} of byte {index}: {array.dtype}")
        except Exception as error:  # any exception is listed
            misread.append(f"bit {bit} of byte {index}: {error!r}")
        flip_bit(file, index, bit)
    assert misread == []


@pytest.mark.parametrize("content", ["", "{", "{}", '{"fingerprint": "0"}', "\0", "null", "[]"])
def test_a_cache_without_a_whole_index_is_decoded_again(
    config: DataConfig, root: Path, decodings: list[Path], content: str
) -> None:
    cached = prepare(config)
    (cached.folder / "index.json").write_text(content)
    assert read_index(cached.source, cached.folder) is None
    assert is_whole(load(prepare(config)), root)
    assert decodings == [cached.folder] * 2


@pytest.mark.parametrize(
    ("lose", "sentence"),
    [
        (shutil.rmtree, r"^150 of 150 images cannot be read; \S+ \S+ \S+ them: \S+000\.png \(No such file"),
        (lambda root: change_pixel(root, "test"), r"was damaged and its source has changed; rerun the command"),
    ],
    ids=["gone", "changed"],
)
def test_a_damaged_cache_without_its_source_is_an_error(
    config: DataConfig, root: Path, lose: Callable[[Path], object], sentence: str
) -> None:
    cached = prepare(config)
    flip_bit(cached.folder / "train_images.npy", -1)
    lose(root)
    with pytest.raises(UserError, match=sentence):
        load(cached)


def test_files_of_a_killed_process_are_replaced(config: DataConfig, root: Path) -> None:
    folder = prepare(config).folder
    folder.rename(folder.with_suffix(".partial"))
    (folder.with_suffix(".partial") / "train_images.npy").write_bytes(b"half")
    assert is_whole(load(prepare(config)), root)
    assert not folder.with_suffix(".partial").exists()


@pytest.mark.parametrize("file", ["train/ant/000.png", "train/cat/039.png", "test/cat/009.png"])
def test_a_failed_decoding_leaves_no_cache(config: DataConfig, root: Path, file: str) -> None:
    whole = (root / file).read_bytes()
    (root / file).write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"{file} cannot be read as an image"):
        prepare(config)
    assert [path.name for path in Path(str(config.cache)).iterdir() if path.suffix not in (".lock", ".TAG")] == []
    (root / file).write_bytes(whole)
    assert is_whole(load(prepare(config)), root)


@pytest.mark.parametrize("cache", ["file", "file/cache"])
def test_a_cache_that_cannot_be_written_is_an_error(config: DataConfig, tmp_path: Path, cache: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"cannot be cached in data\.cache={tmp_path}/{cache}: "):
        prepare(dataclasses.replace(config, cache=str(tmp_path / cache)))


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


def with_validation(root: Path, config: DataConfig) -> DataConfig:
    """Give the dataset validation images of its own: the first four training images of each class, again."""
    for name in CLASSES:
        for file in sorted((root / "train" / name).iterdir())[:4]:
            (root / "val" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / "val" / name)
    return dataclasses.replace(config, val_size=None)


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


def test_damaged_validation_images_are_decoded_again(config: DataConfig, root: Path, decodings: list[Path]) -> None:
    cached = prepare(with_validation(root, config))
    (cached.folder / "val_images.npy").write_bytes(b"damaged")
    dataset = load(cached)
    assert decodings == [cached.folder] * 2
    assert dataset.val is not None and len(dataset.val) == 4 * len(CLASSES)


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
    warn_once.cache_clear()
    caplog.clear()
    for _ in range(2):
        warn_about_split(given, dataclasses.replace(config, val_size=val_size), cached)
    assert len(caplog.messages) == (sentence != "")
    assert re.search(sentence, "".join(caplog.messages))


def test_classes_without_a_training_image_are_reported(config: DataConfig, caplog: pytest.LogCaptureFixture) -> None:
    cached = prepare(config)
    warn_once.cache_clear()
    caplog.clear()
    warn_about_split(24, dataclasses.replace(config, train_size=2), cached)
    assert caplog.messages == [
        "data.train_size=2 leaves no training image of 1 of 3 classes (cat): they have too few images"
    ]


def test_a_class_with_one_image_may_have_none_to_train_on(root: Path, config: DataConfig) -> None:
    for file in sorted((root / "train" / "ant").iterdir())[1:]:
        file.unlink()
    cached = prepare(config)
    assert untrained_classes(cached.folder, cached.fingerprint, 60) == [0]
    assert untrained_classes(cached.folder, cached.fingerprint, 1) == []
    (cached.folder / "train_labels.npy").write_bytes(b"damaged")
    assert untrained_classes(cached.folder, cached.fingerprint, 61) == []


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

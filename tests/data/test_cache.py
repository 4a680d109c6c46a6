"""The cache of decoded images: written once, verified, replaced where damaged, split into training and validation."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from decoded import is_whole, with_validation
from PIL import Image
from support import CLASSES, TEST_IMAGES, TRAIN_IMAGES

from sweeper.data.cache import (
    ARRAYS,
    load,
    prepare,
    read_arrays,
    read_index,
)
from sweeper.errors import UserError
from sweeper.groups import DataConfig

NUM_TRAIN, NUM_TEST = TRAIN_IMAGES * len(CLASSES), TEST_IMAGES * len(CLASSES)


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


def test_damaged_validation_images_are_decoded_again(config: DataConfig, root: Path, decodings: list[Path]) -> None:
    cached = prepare(with_validation(root, config))
    (cached.folder / "val_images.npy").write_bytes(b"damaged")
    dataset = load(cached)
    assert decodings == [cached.folder] * 2
    assert dataset.val is not None and len(dataset.val) == 4 * len(CLASSES)

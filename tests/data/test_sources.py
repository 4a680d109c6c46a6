"""Dataset readers: image folders in every form, and scikit-learn's digits."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import decoded

from sweeper.data.source import Source
from sweeper.data.sources import digits, image_folder
from sweeper.errors import UserError


def folder(root: Path, *, image_size: int = 8, channels: int = 3, **options: Any) -> Source:
    return image_folder(root=str(root), image_size=image_size, channels=channels, **options)


def save(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(file)


def read(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images per class in train/ and a single image in test/, 8 pixels wide and 6 high."""
    for seed, file in enumerate(
        ["train/bee/1", "train/bee/0", "train/ant/1", "train/ant/0", "test/bee/0", "test/ant/0"]
    ):
        save(tmp_path / "images" / f"{file}.png", seed)
    return tmp_path / "images"


def test_an_image_folder_is_read_in_the_order_of_its_names(root: Path) -> None:
    arrays, classes = decoded(folder(root))
    assert classes == ["ant", "bee"]
    assert (arrays["train_labels"].tolist(), arrays["test_labels"].tolist()) == ([0, 0, 1, 1], [0, 1])
    for split, names in (("train", ["ant/0", "ant/1", "bee/0", "bee/1"]), ("test", ["ant/0", "bee/0"])):
        assert np.array_equal(arrays[f"{split}_images"], [read(root / split / f"{name}.png") for name in names])


@pytest.mark.parametrize("image_size", [1, 8, 20])
@pytest.mark.parametrize(("channels", "color"), [(3, [200, 100, 50]), (1, [124])])
def test_images_become_squares_with_the_given_channels(
    root: Path, image_size: int, channels: int, color: list[int]
) -> None:
    Image.new("RGB", (8, 6), (200, 100, 50)).save(root / "test" / "ant" / "0.png")
    images = decoded(folder(root, image_size=image_size, channels=channels))[0]["test_images"]
    assert images.shape == (2, channels, image_size, image_size)
    assert images.dtype == np.uint8
    assert (images[0] == np.array(color)[:, None, None]).all()


@pytest.mark.parametrize("mode_and_suffix", ["1 png", "L BMP", "P gif", "RGBA PNG", "CMYK jpeg"])
def test_every_kind_of_image_becomes_color(root: Path, mode_and_suffix: str) -> None:
    mode, suffix = mode_and_suffix.split()
    Image.new("RGB", (8, 6), (250, 128, 3)).convert(mode).save(root / "train" / "bee" / f"x.{suffix}")
    assert np.array_equal(decoded(folder(root))[0]["train_images"][4], read(root / "train" / "bee" / f"x.{suffix}"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, r"data\.root=\S*images: folder not found; expected train/<class>/\* and"),
        (lambda root: shutil.rmtree(root / "train"), r"data\.root=\S*images: folder \S*images/train not found"),
        (
            lambda root: [(root / "test" / name).rename(root / name) for name in ("ant", "bee")],
            "test contains no class folder",
        ),
        (lambda root: (root / "train" / "cat").mkdir(), r"train/cat contains no images \(.*\.png"),
        (lambda root: shutil.rmtree(root / "test" / "bee"), "images/test has no images of class bee"),
        (lambda root: save(root / "test" / "cat" / "0.png"), "images/train has no images of class cat"),
    ],
)
def test_an_unusable_folder_is_named(root: Path, damage: Callable[[Path], object], sentence: str) -> None:
    damage(root)
    with pytest.raises(UserError, match=sentence):
        folder(root)


@pytest.mark.parametrize("content", ["empty", "text", "cut", "flipped"])
def test_an_unreadable_image_is_named(root: Path, content: str) -> None:
    file = root / "test" / "bee" / "0.png"
    png = file.read_bytes()
    flipped = png[:60] + bytes([png[60] ^ 255]) + png[61:]
    file.write_bytes({"empty": b"", "text": b"no image", "cut": png[:-60], "flipped": flipped}[content])
    with pytest.raises(UserError, match=r"test/bee/0\.png cannot be read as an image"):
        decoded(folder(root))


def test_all_unreadable_images_of_both_splits_are_named_at_once(root: Path) -> None:
    for name in ("train/ant/0.png", "train/bee/1.png", "test/bee/0.png"):
        (root / name).write_bytes((root / name).read_bytes()[:40])
    with pytest.raises(
        UserError, match=r"^3 of 6 images .*train/ant/0\.png \(.*train/bee/1\.png \(.*test/bee/0\.png \("
    ):
        decoded(folder(root))


def test_a_dataset_has_one_range_of_values(root: Path) -> None:
    values = np.full((8, 8), 4095, np.uint16)
    Image.fromarray(values).save(root / "train/ant/0.png")
    with pytest.raises(UserError, match=r"above 4095 of 65535.*set data\.value_range=\[0,4095\]"):
        decoded(folder(root))
    images = decoded(folder(root, value_range=[0, 4095]))[0]["train_images"]
    assert (images[0] == 255).all()
    assert np.array_equal(images[1], read(root / "train/ant/1.png"))  # 8 bits have a range of their own
    Image.fromarray(values + 60_000).save(root / "test/ant/0.png")
    assert (decoded(folder(root))[0]["train_images"][0] == 15).all()
    with pytest.raises(UserError, match=r"data\.value_range=\[5, 1\] must be two values"):
        folder(root, value_range=[5, 1])


def test_images_are_squeezed_unless_told_otherwise(root: Path) -> None:
    squeezed, explicit, cropped, padded = (
        decoded(folder(root, resize=resize))[0]["test_images"] for resize in (None, "squeeze", "crop", "pad")
    )
    assert np.array_equal(squeezed, explicit)
    with Image.open(root / "test/ant/0.png") as image:
        square = image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR, box=(1, 0, 7, 6))
    assert np.array_equal(cropped[0], np.asarray(square).transpose(2, 0, 1))
    assert not padded[:, :, [0, 7]].any()
    assert padded[:, :, 1:7].any()


@pytest.mark.parametrize(
    "name",
    ["README.md", "train/notes.txt", "train/ant/Thumbs.db", "train/ant/.0.png", "train/.hidden/0.png", "x/0.png"],
)
def test_hidden_and_other_files_are_ignored(root: Path, name: str) -> None:
    before, _ = decoded(folder(root))
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(b"no image")
    arrays, classes = decoded(folder(root))
    assert classes == ["ant", "bee"]
    assert all(np.array_equal(arrays[key], before[key]) for key in before)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: os.utime(root / "train/ant/0.png", ns=(1, 1)),
        lambda root: save(root / "train/ant/2.png"),
        lambda root: (root / "train/ant/0.png").unlink(),
        lambda root: (root / "train/ant/0.png").rename(root / "train/ant/2.png"),
        lambda root: [(root / split / "ant").rename(root / split / "cat") for split in ("train", "test")],
    ],
)
def test_the_key_changes_with_the_files(root: Path, change: Callable[[Path], object]) -> None:
    key = folder(root).key
    assert folder(root).key == key
    others: dict[str, Any] = {"image_size": 9, "channels": 1, "resize": "crop", "value_range": [0, 9]}
    assert len({key, *(folder(root, **{name: value}).key for name, value in others.items())}) == 5
    assert folder(root, resize="squeeze").key == key
    change(root)
    assert folder(root).key != key


@pytest.mark.parametrize("image_size", [8, 32])
def test_digits_are_scikit_learns(image_size: int) -> None:
    from sklearn.datasets import load_digits

    arrays, classes = decoded(digits(image_size=image_size))
    assert classes == list("0123456789")
    for split, num in (("train", 1500), ("test", 297)):
        assert arrays[f"{split}_images"].shape == (num, 3, image_size, image_size)
        assert set(arrays[f"{split}_labels"].tolist()) == set(range(10))
    if image_size == 8:
        pairs = [zip(arrays[f"{s}_labels"], arrays[f"{s}_images"], strict=True) for s in ("train", "test")]
        found = sorted((label, image.tobytes()) for pair in pairs for label, image in pair)
        pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
        assert found == sorted((y, x.tobytes() * 3) for y, x in zip(load_digits().target, pixels, strict=True))

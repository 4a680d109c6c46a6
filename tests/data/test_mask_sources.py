"""Datasets with masks: what is read, and a sentence for each thing that cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from support import decoded
from torchvision.datasets.voc import DATASET_YEAR_DICT

from sweeper.data import mask_folders
from sweeper.data.mask_sources import digit_scenes, segmentation_folder, voc2012
from sweeper.data.scenes import TEST_SCENES
from sweeper.errors import UserError

SIZE = 6
COLORS = {"ground": [0, 0, 0], "road": [128, 64, 128], "unlabeled": [255, 255, 255]}


def save(root: Path, split: str, name: str, mask: Any, size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    """Save an image of noise and its mask, an array or an image of PIL; return the path of the mask."""
    for kind in ("images", "masks"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / split / "images" / f"{name}.png")
    picture = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask, np.uint8))
    path = root / split / "masks" / f"{name}.png"
    picture.save(path)
    return path


def halves(top: int, bottom: int) -> NDArray[np.uint8]:
    mask = np.full((SIZE, SIZE), top, np.uint8)
    mask[SIZE // 2 :] = bottom
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images and a test image of two classes."""
    folder = tmp_path / "scenes"
    for split, names in (("train", ("a", "b")), ("test", ("c",))):
        for name in names:
            save(folder, split, name, halves(0, 1))
    return folder


def read(root: Path, image_size: int = SIZE, **settings: Any) -> tuple[dict[str, NDArray[Any]], list[str]]:
    return decoded(segmentation_folder(root=str(root), image_size=image_size, channels=3, **settings))


def test_masks_of_indices_are_read_with_their_images(root: Path) -> None:
    arrays, classes = read(root)
    assert classes == ["0", "1"]
    assert arrays["train_images"].shape == (2, 3, SIZE, SIZE) and arrays["test_labels"].shape == (1, SIZE, SIZE)
    assert arrays["train_labels"].dtype == np.uint8 and np.array_equal(arrays["train_labels"][1], halves(0, 1))
    source = segmentation_folder(root=str(root), image_size=SIZE, channels=3)
    assert list(source.test_files) == ["test/images/c.png"]


def test_a_palette_mask_has_its_indices_and_a_mask_of_listed_colors_those_of_the_list(root: Path) -> None:
    palette = Image.fromarray(halves(1, 255)).convert("L")
    palette = Image.frombytes("P", palette.size, palette.tobytes())
    palette.putpalette([200, 0, 0] * 256)
    save(root, "train", "a", palette)
    arrays, _ = read(root)
    assert np.array_equal(arrays["train_labels"][0], halves(1, 255))
    (root / "classes.json").write_text(json.dumps(COLORS))
    table = np.array([COLORS["ground"], COLORS["road"], COLORS["unlabeled"]], np.uint8)
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        save(root, split, name, Image.fromarray(table[halves(1, 2)]))
    arrays, classes = read(root)
    assert classes == ["ground", "road"]
    assert np.array_equal(arrays["test_labels"][0], halves(1, 255))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_gray_mask_has_its_indices_at_every_depth(root: Path, bits: int) -> None:
    """Pillow makes white 255 at every depth, and saves values unscaled at the requested depth."""
    white, mask = 2**bits - 1, halves(1, 3)
    path = save(root, "train", "a", mask)
    Image.fromarray(mask * (255 // white)).save(path, bits=bits)
    assert path.read_bytes()[24:26] == bytes([bits, 0])  # the depth, and gray
    assert np.array_equal(read(root)[0]["train_labels"][0], mask)
    path.unlink()
    for highest in (white, 7, 300, 65535):
        path.with_suffix(".pgm").write_text(f"P2 {SIZE} {SIZE} {highest} {' '.join(map(str, mask.flat))} ")
        assert np.array_equal(read(root)[0]["train_labels"][0], mask)


def test_masks_are_resized_as_their_images_to_the_nearest_pixel(root: Path) -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 4:] = 1
    save(root, "train", "a", wide, (8, 4))
    squeezed, cropped, padded = (read(root, 4, resize=resize)[0]["train_labels"][0] for resize in (None, "crop", "pad"))
    assert squeezed.tolist() == cropped.tolist() == [[0, 0, 1, 1]] * 4
    assert padded.tolist() == [[255] * 4, [0, 0, 1, 1], [0, 0, 1, 1], [255] * 4]


def test_a_mask_fits_an_image_that_exif_turns(root: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    save(root, "train", "a", np.eye(4, 8), (8, 4))
    Image.new("RGB", (4, 8)).save(root / "train" / "images" / "a.png", exif=exif)
    assert read(root)[0]["train_labels"].shape == (2, SIZE, SIZE)


def test_a_mask_is_turned_as_its_own_exif_says(root: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored turned to the left
    upright = np.arange(8, dtype=np.uint8).repeat(4).reshape(8, 4) % 2
    mask = save(root, "train", "a", halves(0, 1), (8, 4))
    Image.fromarray(np.rot90(upright)).save(mask, exif=exif)
    Image.new("RGB", (8, 4)).save(root / "train" / "images" / "a.png", exif=exif)
    assert np.array_equal(read(root, 4, resize="crop")[0]["train_labels"][0], upright[2:6])


def deep(root: Path, split: str, name: str, value: int) -> None:
    """Make an image one of 16 bits."""
    values = np.full((SIZE, SIZE), value, np.uint16)
    Image.fromarray(values).save(root / split / "images" / f"{name}.png")


def test_images_of_16_bits_are_dark_or_not_as_a_dataset(root: Path) -> None:
    deep(root, "train", "a", 2047)
    with pytest.raises(UserError, match=r"is above 2047 of 65535, .* set data\.value_range=\[0,4095\], or"):
        read(root)
    assert (read(root, value_range=[0, 2048])[0]["train_images"][0] == 255).all()
    deep(root, "test", "c", 65535)
    arrays, _ = read(root)
    assert (arrays["train_images"][0] == 2047 >> 8).all() and (arrays["test_images"][0] == 255).all()
    with pytest.raises(UserError, match=r"^data\.value_range=\[5, 5\] must be two values"):
        read(root, value_range=[5, 5])


def test_what_is_passed_over_is_said(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setattr(mask_folders, "warn_once", lambda log, text: said.append(text))
    read(root)
    save(root, "val", "d", halves(0, 1))
    (root / "train" / "images" / "notes.txt").touch()
    read(root)
    assert said == [f"data.root={root}: passed over: .txt files (1), folders beside train/ and test/ (1)"]


def test_the_key_changes_with_a_mask(root: Path) -> None:
    def key() -> str:
        return segmentation_folder(root=str(root), image_size=SIZE, channels=3).key

    before = key()
    save(root, "train", "a", halves(1, 0))
    changed = key()
    (root / "classes.json").write_text('["ground", "road"]')
    assert len({before, changed, key()}) == 3


def name_classes(content: str) -> Callable[[Path], object]:
    return lambda root: (root / "classes.json").write_text(content)


def of_jpeg(root: Path) -> None:
    (root / "train/masks/a.png").unlink()
    Image.fromarray(halves(0, 1)).save(root / "train/masks/a.jpg")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another size": (
        lambda root: save(root, "train", "b", np.eye(4), (4, 5)),
        r"masks/b.png has 4x4 pixels, and its image .*images/b.png has 4x5$",
    ),
    "a class beyond the list": (
        lambda root: [name_classes('["ground", "road"]')(root), save(root, "test", "c", halves(0, 7))],
        r"masks/c.png has the class 7, and classes.json lists 2, from 0 to 1; 255 is no class$",
    ),
    "a mask missing": (
        lambda root: (root / "train/masks/b.png").unlink(),
        r"train/masks lacks masks of 1 of its images: b$",
    ),
    "an image missing": (
        lambda root: (root / "test/images/c.png").unlink(),
        r"test/images contains no images; expected train/images",
    ),
    "a mask alone": (
        lambda root: (root / "train/images/b.png").unlink(),
        r"train/images lacks the images of 1 masks: b$",
    ),
    "lossy": (of_jpeg, r"a.jpg has a lossy format, which changes classes, as have 1 of 2 masks; save masks as PNG$"),
    "no labeled pixel": (
        lambda root: save(root, "train", "a", halves(255, 255)),
        r"a.png has no labeled pixel, only 255; remove it with its image$",
    ),
    "two of them": (
        lambda root: [save(root, "train", name, halves(255, 255)) for name in "ab"],
        r"a.png has no labeled pixel, .*; 1 more of 3 masks cannot be used$",
    ),
    "colors without a list": (
        lambda root: save(root, "train", "a", Image.new("RGB", (SIZE, SIZE))),
        r"a.png has colors \(RGB\) in place of class indices; list the color of each class in classes.json",
    ),
    "an unknown color": (
        lambda root: [
            name_classes(json.dumps(COLORS))(root),
            save(root, "train", "a", Image.new("RGB", (SIZE, SIZE), (1, 2, 3))),
        ],
        r"a.png has the color \[1, 2, 3\], which classes.json does not list",
    ),
    "black and white": (
        lambda root: [
            save(root, split, name, halves(0, 255)) for split, name in (("train", "a"), ("train", "b"), ("test", "c"))
        ],
        r"have one class, 0, beside unlabeled pixels \(255\); if 255 is a class, list the colors",
    ),
    "no folder": (
        lambda root: (root / "test").rename(root / "tset"),
        r"folder .*test/images not found; expected train",
    ),
    "no image file": (
        lambda root: (root / "train/images/a.png").write_text("x"),
        r"images/a.png cannot be read as an image",
    ),
    "no mask file": (
        lambda root: (root / "train/masks/a.png").write_text("x"),
        r"masks/a.png cannot be read as a mask",
    ),
    "no JSON": (name_classes("{"), r"classes.json is no JSON: .*; classes.json must be a list of names"),
    "no names": (name_classes("3"), r"classes.json must have from 2 to 255 different names, not 0"),
    "one name": (name_classes('["road"]'), r"classes.json must have from 2 to 255 different names, not 1"),
    "names that are numbers": (name_classes("[1, 2]"), r"classes.json: classes.json must be a list of names"),
    "no color": (name_classes('{"a": [0, 0], "b": [1, 1, 1]}'), r"the color of a is \[0, 0\]"),
    "a color too bright": (name_classes('{"a": [0, 0, 256], "b": [1, 1, 1]}'), r"the color of a is \[0, 0, 256\]"),
    "a color twice": (
        name_classes('{"a": [0, 0, 0], "b": [0, 0, 0]}'),
        r"b has the color \[0, 0, 0\] of another class",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_with_a_sentence(case: str, root: Path) -> None:
    damage, sentence = BAD[case]
    damage(root)
    with pytest.raises(UserError, match=sentence):
        read(root)


def test_digit_scenes_are_the_same_every_time_and_begin_alike_in_all_sizes() -> None:
    arrays, classes = decoded(digit_scenes(image_size=32, scenes=4))
    again, _ = decoded(digit_scenes(image_size=32, scenes=6))
    assert classes == ["ground", *map(str, range(10))]
    assert arrays["train_images"].shape == (4, 3, 32, 32) and arrays["test_labels"].shape == (TEST_SCENES, 32, 32)
    for name, array in arrays.items():
        assert np.array_equal(array, again[name][: len(array)])
    counts = np.bincount(arrays["test_labels"].ravel(), minlength=11) / arrays["test_labels"].size
    assert counts[0] < 0.9 and (counts[1:] > 0.01).all() and counts.sum() == pytest.approx(1)
    several = [len(np.unique(mask)) for mask in arrays["test_labels"]]
    assert np.mean(several) > 3


def test_digits_are_brighter_than_the_ground_and_of_the_colors_of_strokes() -> None:
    arrays, _ = decoded(digit_scenes(image_size=64, scenes=1))
    gray, masks = arrays["test_images"].mean(1), arrays["test_labels"]
    digits, ground = gray[masks > 0], gray[masks == 0]
    assert digits.mean() > 160 and np.median(ground) < 90
    assert (ground > 160).mean() * ground.size > 0.2 * digits.size  # strokes


def test_scenes_too_small_for_digits_are_refused() -> None:
    with pytest.raises(UserError, match=r"data.image_size=16 is too small for data=digit_scenes; choose 32 up"):
        digit_scenes(image_size=16, scenes=4)


def test_voc_is_read_from_its_folder(tmp_path: Path) -> None:
    base = tmp_path / DATASET_YEAR_DICT["2012"]["base_dir"]
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (base / folder).mkdir(parents=True)
    for part, name in (("train", "one"), ("val", "two")):
        (base / f"ImageSets/Segmentation/{part}.txt").write_text(f"{name}\n")
        Image.new("RGB", (SIZE, SIZE)).save(base / f"JPEGImages/{name}.jpg")
        Image.fromarray(halves(20, 255)).save(base / f"SegmentationClass/{name}.png")
    arrays, classes = decoded(voc2012(root=str(tmp_path), image_size=SIZE))
    assert len(classes) == 21 and classes[20] == "tv monitor"
    assert np.array_equal(arrays["test_labels"][0], halves(20, 255)) and len(arrays["train_labels"]) == 1


def test_a_voc_that_cannot_be_downloaded_names_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.voc.download_and_extract_archive", fail)
    with pytest.raises(UserError, match=r"\(no route to host\); put VOCtrainval_11-May-2012.tar, unpacked, into"):
        decoded(voc2012(root=str(tmp_path), image_size=SIZE))

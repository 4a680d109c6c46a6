"""Folders of images and masks: which mask belongs to which image, and the class of each pixel of a mask.

root/train/images/* have root/train/masks/*, named alike but for the suffix; test/ likewise. A mask is a gray or palette
PNG of class indices, or has the colors that root/classes.json lists. UNLABELED (255) is no class.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from sweeper.data.image_files import upright
from sweeper.data.image_scan import Scan, describe, few, printable, subfolders
from sweeper.data.source import UNLABELED
from sweeper.data.unreadable import reason_of
from sweeper.errors import UserError, warn_once

log = logging.getLogger(__name__)

LAYOUT = "expected train/images/*, train/masks/*, test/images/* and test/masks/*"
CLASSES_FILE = "classes.json"
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".jp2", ".heic")
UNLABELED_NAME = "unlabeled"  # in classes.json, the color of pixels that have no class
TURNED = (5, 6, 7, 8)  # orientations of EXIF that exchange width and height
FORM = (
    f'{CLASSES_FILE} must be a list of names, or names with colors: {{"ground": [0, 0, 0], "road": [128, 64, 128]}}; '
    f'the color of "{UNLABELED_NAME}" is that of no class'
)

Pair = tuple[str, str]  # paths of an image and of its mask


class BadMask(UserError):
    """A mask cannot be used."""


@dataclass(frozen=True)
class Classes:
    """The classes of masks.

    Attributes:
        names: in the order of their indices; empty where they are not listed.
        colors: index of each color; empty where masks have indices.
    """

    names: Sequence[str] = ()
    colors: Mapping[tuple[int, int, int], int] | None = None


@dataclass(frozen=True)
class Pairs:
    """The files of a dataset with masks.

    Attributes:
        key: changes when a file does.
    """

    train: Sequence[Pair]
    test: Sequence[Pair]
    classes: Classes
    key: str


def list_pairs(root: Path) -> Pairs:
    """List the images of root/train and root/test with their masks.

    Raises:
        UserError: a folder or a mask is missing, a mask has a lossy format, or classes.json is none.
    """
    digest, scan = hashlib.sha256(), Scan()
    try:
        splits = [pairs_in(root / split, digest, scan) for split in ("train", "test")]
        classes = read_classes(root / CLASSES_FILE)
        scan.passed["folders beside train/ and test/"] += len({*subfolders(root)} - {"train", "test"})
    except OSError as error:
        raise UserError(f"data.root={root} cannot be read: {error}") from error
    if text := describe(scan.passed):
        warn_once(log, f"data.root={printable(str(root))}: passed over: {text}")
    digest.update(repr(classes).encode())
    return Pairs(splits[0], splits[1], classes, digest.hexdigest())


def pairs_in(folder: Path, digest: Any, scan: Scan) -> list[Pair]:
    """List a split, sorted by name, and digest names, sizes and times; the scan counts what it passes over."""
    found: list[dict[str, str]] = []
    for kind in ("images", "masks"):
        if not (folder / kind).is_dir():
            raise UserError(f"data.root={folder.parent}: folder {folder / kind} not found; {LAYOUT}")
        files = sorted(scan.images(folder / kind))
        digest.update(repr((folder.name, kind, files)).encode(errors="surrogateescape"))
        if not files:
            raise UserError(f"{folder / kind} contains no images; {LAYOUT}")
        stems: dict[str, str] = {}
        for name, *_ in files:
            stem = PurePath(name).with_suffix("").as_posix()
            if stem in stems:
                raise UserError(f"{folder / kind} has two files named {stem}; remove one of them")
            stems[stem] = os.path.join(folder, kind, name)  # noqa: PTH118  many
        found.append(stems)
    images, masks = found
    if missing := images.keys() - masks.keys():
        raise UserError(f"{folder / 'masks'} lacks masks of {len(missing):,} of its images: {few(missing)}")
    if alone := masks.keys() - images.keys():
        raise UserError(f"{folder / 'images'} lacks the images of {len(alone):,} masks: {few(alone)}")
    if lossy := [path for path in masks.values() if path.lower().endswith(LOSSY)]:
        raise UserError(
            f"{lossy[0]} has a lossy format, which changes classes, as have {len(lossy):,} of {len(masks):,} masks; "
            "save masks as PNG"
        )
    return [(path, masks[stem]) for stem, path in images.items()]


def read_classes(file: Path) -> Classes:
    """Read the names of the classes, maybe with their colors; nothing where there is no file.

    Raises:
        UserError: it has another form.
    """
    if not file.exists():
        return Classes()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON: {error}; {FORM}") from error
    names = list(content) if isinstance(content, list | dict) else []
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{file}: {FORM}")
    if isinstance(content, list):
        check_names(file, names)
        return Classes(names)
    colors: dict[tuple[int, int, int], int] = {}
    names = [name for name in names if name != UNLABELED_NAME]
    for name, color in content.items() if isinstance(content, dict) else ():
        if not isinstance(color, list) or len(color) != 3 or not all(type(it) is int and 0 <= it < 256 for it in color):
            raise UserError(f"{file}: the color of {name} is {color}; {FORM}")
        if tuple(color) in colors:
            raise UserError(f"{file}: {name} has the color {color} of another class; colors must differ")
        colors[color[0], color[1], color[2]] = UNLABELED if name == UNLABELED_NAME else names.index(name)
    check_names(file, names)
    return Classes(names, colors)


def check_names(file: Path, names: Sequence[str]) -> None:
    """Check the number of classes, and that each has a name of its own.

    Raises:
        UserError: there are fewer than two or more than 255, or two of a name.
    """
    if not 2 <= len(names) <= UNLABELED or len({*names}) < len(names):
        raise UserError(f"{file} must have from 2 to {UNLABELED} different names, not {len(names)}; {FORM}")


def read_mask(pair: Pair, classes: Classes, image_size: int, resize: str | None) -> NDArray[np.uint8]:
    """Read the classes of an image's pixels, (H, W) uint8, resized as the image is, to the nearest pixel.

    Raises:
        BadMask: it cannot be read, has another size than its image, a class or a color that is not listed, or no
            labeled pixel.
    """
    image_path, path = pair
    try:
        with Image.open(image_path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
            size = image.size[::-1] if turned else image.size
        with Image.open(path) as stored:
            scale = scale_of(str(stored.tile))  # which loading forgets
            stored.load()
            mask = upright(stored, stored)
            own = mask.size
            indices = of_colors(path, mask, classes.colors) if classes.colors else of_indices(path, mask, scale)
    except BadMask:
        raise
    except Exception as error:  # decoders raise anything for damaged files
        raise BadMask(f"{path} cannot be read as a mask: {reason_of(error, path)}") from error
    if own != size:
        raise BadMask(f"{path} has {own[0]}x{own[1]} pixels, and its image {image_path} has {size[0]}x{size[1]}")
    labeled = indices[indices != UNLABELED]
    if not labeled.size:
        raise BadMask(f"{path} has no labeled pixel, only {UNLABELED}; remove it with its image")
    if classes.names and labeled.max() >= len(classes.names):
        raise BadMask(
            f"{path} has the class {labeled.max()}, and {CLASSES_FILE} lists {len(classes.names)}, from 0 to "
            f"{len(classes.names) - 1}; {UNLABELED} is no class"
        )
    resized = resized_mask(indices, image_size, resize)
    if (resized == UNLABELED).all():
        raise BadMask(f"{path} has no labeled pixel at data.image_size={image_size}; choose a larger size")
    return resized


def scale_of(tile: str) -> float:
    """Return the factor by which Pillow multiplies the values of a gray file: it makes white 255, or 65535 in a PGM."""
    if white := re.search(r"'ppm.*'L', (\d+)\)", tile):
        return (255 if int(white[1]) < 256 else 65535) / int(white[1])
    return 85 if "'L;2" in tile else 17 if "'L;4" in tile else 1


def of_indices(path: str, mask: Image.Image, scale: float) -> NDArray[np.uint8]:
    """Return the classes (H, W) of a gray or palette mask, whose values Pillow has multiplied by `scale`."""
    if mask.mode not in ("1", "L", "P") and not mask.mode.startswith("I"):
        raise BadMask(
            f"{path} has colors ({mask.mode}) in place of class indices; list the color of each class in "
            f"{CLASSES_FILE} in data.root"
        )
    values = np.asarray(mask)
    if scale != 1:
        values = np.rint(values / scale).astype(np.int64)
    if values.min() < 0 or values.max() > UNLABELED:
        raise BadMask(f"{path} has the value {values.max()}; classes are from 0 to {UNLABELED - 1}")
    return values.astype(np.uint8)


def of_colors(path: str, mask: Image.Image, colors: Mapping[tuple[int, int, int], int]) -> NDArray[np.uint8]:
    """Return the classes (H, W) of a mask of listed colors."""
    pixels = np.asarray(mask.convert("RGB"), np.uint32)
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    found, where = np.unique(codes, return_inverse=True)
    known = {(red << 16) | (green << 8) | blue: index for (red, green, blue), index in colors.items()}
    if unknown := [int(code) for code in found if int(code) not in known]:
        color = [unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255]
        raise BadMask(f"{path} has the color {color}, which {CLASSES_FILE} does not list")
    indices = np.array([known[int(code)] for code in found], np.uint8)
    return indices[where].reshape(codes.shape)


def resized_mask(indices: NDArray[np.uint8], image_size: int, resize: str | None) -> NDArray[np.uint8]:
    """Return a mask as `as_array` of image_files resizes its image, with the nearest class; borders are unlabeled."""
    height, width = indices.shape
    if (width, height) == (image_size, image_size):
        return indices
    image, size = Image.fromarray(indices), (image_size, image_size)
    if resize == "pad" and width != height:
        scale = image_size / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        padded = Image.new("L", size, UNLABELED)
        corner = round((image_size - inner[0]) / 2), round((image_size - inner[1]) / 2)
        padded.paste(image.resize(inner, Image.Resampling.NEAREST), corner)
        return np.asarray(padded)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side) if resize == "crop" else None
    return np.asarray(image.resize(size, Image.Resampling.NEAREST, box=box))


def check_masks(failures: Sequence[BadMask], num_masks: int) -> None:
    """Refuse a dataset with masks that cannot be used.

    Raises:
        UserError: there are any; the sentence is that of the first.
    """
    if failures:
        more = f"; {len(failures) - 1:,} more of {num_masks:,} masks cannot be used" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}")


def names_of(classes: Classes, largest: int, root: Path) -> list[str]:
    """Return the names of the classes; of masks without a list, their numbers up to the largest.

    Raises:
        UserError: there is one class alone.
    """
    if classes.names:
        return list(classes.names)
    if largest == 0:
        raise UserError(
            f"the masks in {root} have one class, 0, beside unlabeled pixels ({UNLABELED}); if {UNLABELED} is a class, "
            f"list the colors of both in {CLASSES_FILE}"
        )
    return [str(index) for index in range(largest + 1)]

"""Sources of images with masks; see sweeper.data.sources."""

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeper.data.image_files import lenient, read_image
from sweeper.data.mask_folders import BadMask, Classes, Pair, check_masks, list_pairs, names_of, read_mask
from sweeper.data.scenes import SCENES_VERSION, SMALLEST_SCENE, TEST_SCENES, compose
from sweeper.data.source import DECODER_VERSION, MASK_VERSION, UNLABELED, Allocate, Source, with_masks
from sweeper.data.split import stratified_split
from sweeper.data.unreadable import UnreadableImage, check_readable
from sweeper.data.value_range import ValueRange
from sweeper.data.voc import CLASSES as VOC_CLASSES
from sweeper.data.voc import voc_pairs
from sweeper.display import progress
from sweeper.errors import UserError


@with_masks
def digit_scenes(*, image_size: int, scenes: int) -> Source:
    """Scenes of scikit-learn's handwritten digits (sweeper.data.scenes), and 300 of digits that no training scene has.

    Classes are `ground` and the digits.

    Args:
        image_size: at least 32; digits have a quarter to a half of it.
        scenes: to train on or to hold out.

    Raises:
        UserError: scenes are too small to show digits.
    """
    if image_size < SMALLEST_SCENE:
        raise UserError(f"data.image_size={image_size} is too small for data=digit_scenes; choose {SMALLEST_SCENE} up")

    def decode(allocate: Allocate) -> list[str]:
        from sklearn.datasets import load_digits  # slow to import, needed once

        bunch = load_digits()
        pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)
        labels = bunch.target.astype(np.int64)
        chosen = stratified_split(labels, 297, seed=0)
        for part, (split, number) in enumerate((("train", scenes), ("test", TEST_SCENES))):
            images = allocate(f"{split}_images", (number, 3, image_size, image_size), "uint8")
            masks = allocate(f"{split}_labels", (number, image_size, image_size), "uint8")
            for index in range(number):
                own = chosen[part]
                images[index], masks[index] = compose(pixels[own], labels[own], image_size, (part, index))
        return ["ground", *map(str, bunch.target_names)]

    versions = " ".join(importlib.metadata.version(name) for name in ("scikit-learn", "numpy", "pillow"))
    return Source(f"digit_scenes {SCENES_VERSION} {versions} {image_size} {scenes}", decode)


@with_masks
def segmentation_folder(
    *, root: str, image_size: int, channels: int, resize: str | None = None, value_range: list[float] | None = None
) -> Source:
    """Images in root/train/images/ with masks in root/train/masks/, and in test/, see sweeper.data.mask_folders.

    Raises:
        UserError: see list_pairs. While decoding: images cannot be read, or see ValueRange, or masks cannot be used.
    """
    values = ValueRange(value_range)
    pairs = list_pairs(Path(root))
    below = len(str(Path(root) / "x")) - 1  # characters before a name below the root
    test_files = [path[below:].removeprefix("./") for path, _ in pairs.test]
    form = f"{image_size} {channels} {resize or 'squeeze'} {value_range}"

    def decode(allocate: Allocate) -> list[str]:
        splits = {"train": pairs.train, "test": pairs.test}
        largest = fill_pairs(allocate, splits, pairs.classes, image_size, channels, resize, values)
        values.check()
        return names_of(pairs.classes, largest, Path(root))

    return Source(f"segmentation_folder {MASK_VERSION} {pairs.key} {form}", decode, test_files)


@with_masks
def voc2012(*, root: str, image_size: int, resize: str | None = None) -> Source:
    """PASCAL VOC 2012, downloaded once into `root`; its validation images are the test images.

    Raises:
        UserError: while decoding, it cannot be downloaded or read.
    """

    def decode(allocate: Allocate) -> list[str]:
        train, test = voc_pairs(Path(root))
        fill_pairs(allocate, {"train": train, "test": test}, Classes(VOC_CLASSES), image_size, 3, resize, ValueRange())
        return list(VOC_CLASSES)

    return Source(f"voc2012 {DECODER_VERSION} {image_size} {resize or 'squeeze'}", decode)


def fill_pairs(
    allocate: Allocate,
    splits: Mapping[str, Sequence[Pair]],
    classes: Classes,
    image_size: int,
    channels: int,
    resize: str | None,
    values: ValueRange,
) -> int:
    """Read images and masks, in parallel, and return the largest class.

    Raises:
        UserError: some cannot be read or used.
    """
    mode, num = "RGB" if channels == 3 else "L", sum(map(len, splits.values()))
    unreadable: list[UnreadableImage] = []
    bad: list[BadMask] = []
    largest = 0

    def read(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | UserError:
        try:
            image = read_image(pair[0], mode, image_size, resize=resize, value_range=values)
            return image, read_mask(pair, classes, image_size, resize)
        except (UnreadableImage, BadMask) as error:
            return error

    bar = progress("decoding images and masks", num)
    with lenient(), ThreadPoolExecutor(os.cpu_count()) as pool, bar as advance:
        for split, pairs in splits.items():
            images = allocate(f"{split}_images", (len(pairs), channels, image_size, image_size), "uint8")
            masks = allocate(f"{split}_labels", (len(pairs), image_size, image_size), "uint8")
            for index, found in enumerate(pool.map(read, pairs)):
                advance(1)
                if isinstance(found, UnreadableImage):
                    unreadable.append(found)
                elif isinstance(found, BadMask):
                    bad.append(found)
                elif not isinstance(found, UserError):
                    images[index], masks[index] = found
                    largest = max(largest, int(found[1][found[1] != UNLABELED].max()))
    check_readable(unreadable, num)
    check_masks(bad, num)
    return largest

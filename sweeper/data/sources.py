"""Sources of images: a function per dataset, which returns a Source that is decoded once into the cache.

A function's keyword-only arguments are the settings that the choice uses.
"""

import hashlib
import importlib.metadata
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeper.choice import Registry, choose
from sweeper.data import published
from sweeper.data.image_files import as_array, lenient, read_image
from sweeper.data.image_folders import list_images
from sweeper.data.mask_sources import digit_scenes, segmentation_folder, voc2012
from sweeper.data.source import DECODER_VERSION, Allocate, Source
from sweeper.data.split import stratified_split
from sweeper.data.unreadable import UnreadableImage, check_readable
from sweeper.data.value_range import ValueRange
from sweeper.display import progress
from sweeper.errors import UserError
from sweeper.groups import DataConfig

CACHE_VERSION = 1
COMMON = ("cache", "val_size", "train_size", "mean", "std")  # settings of every dataset


def image_folder(
    *,
    root: str,
    image_size: int,
    channels: int,
    resize: str | None = None,
    value_range: list[float] | None = None,
    test_size: float | None = None,
    val_size: int | None = None,
) -> Source:
    """Any images in root/train/<class>/ and root/test/<class>/, resized to squares of `image_size` pixels.

    See list_images for other folders, `test_size` and `val_size`.

    Raises:
        UserError: see list_images. While decoding: images cannot be read, or see ValueRange.
    """
    listing = list_images(Path(root), test_size=test_size, val_size=val_size)
    splits = {"train": listing.train, "test": listing.test} | ({"val": listing.val} if listing.val else {})
    mode = "RGB" if channels == 3 else "L"
    values = ValueRange(value_range)

    def read(path: str) -> NDArray[np.uint8] | UnreadableImage:
        try:
            return read_image(path, mode, image_size, resize=resize, value_range=values)
        except UnreadableImage as error:
            return error

    def decode(allocate: Allocate) -> list[str]:
        paths: list[str] = []
        slots: list[NDArray[np.uint8]] = []
        for split, files in splits.items():
            labels = [label for name, found in files.items() for label in [listing.classes.index(name)] * len(found)]
            paths += itertools.chain.from_iterable(files.values())
            slots.append(allocate(f"{split}_images", (len(labels), channels, image_size, image_size), "uint8"))
            allocate(f"{split}_labels", (len(labels),), "int64")[:] = labels
        failures = []
        bar = progress("decoding images", len(paths))
        with lenient(), ThreadPoolExecutor(os.cpu_count()) as pool, bar as advance:
            for slot, image in zip(itertools.chain.from_iterable(slots), pool.map(read, paths), strict=True):
                advance(1)
                if isinstance(image, UnreadableImage):
                    failures.append(image)
                else:
                    slot[:] = image
        check_readable(failures, len(paths))
        values.check()
        return listing.classes

    below = len(str(Path(root) / "x")) - 1  # characters before a name below the root
    test_files = [path[below:].removeprefix("./") for paths in listing.test.values() for path in paths]
    form = f"{image_size} {channels} {resize or 'squeeze'} {value_range}"
    form += "" if test_size is None else f" {test_size}"
    return Source(f"image_folder {DECODER_VERSION} {listing.key} {form}", decode, test_files)


def digits(*, image_size: int) -> Source:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels as color images; 297 of them are the test images."""

    def decode(allocate: Allocate) -> list[str]:
        from sklearn.datasets import load_digits  # slow to import, needed once

        bunch = load_digits()
        pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)
        labels = bunch.target.astype(np.int64)
        for split, chosen in zip(("train", "test"), stratified_split(labels, 297, seed=0), strict=True):
            images = allocate(f"{split}_images", (len(chosen), 3, image_size, image_size), "uint8")
            for slot, image in zip(images, pixels[chosen], strict=True):
                slot[:] = as_array(Image.fromarray(image).convert("RGB"), image_size)
            allocate(f"{split}_labels", (len(chosen),), "int64")[:] = labels[chosen]
        return [str(name) for name in bunch.target_names]

    return Source(f"digits {importlib.metadata.version('scikit-learn')} {image_size}", decode)


def cifar10(*, root: str, url: str, sha256: str, image_size: int) -> Source:
    """CIFAR-10 (Krizhevsky 2009): 60,000 photos of 32x32 pixels, 10,000 of them the test images."""
    files = partial(published.cifar, "CIFAR10", "CIFAR-10", root, url, sha256)
    return published_source(f"cifar10 {sha256} {image_size}", files, image_size)


def cifar100(*, root: str, url: str, sha256: str, image_size: int) -> Source:
    """CIFAR-100 (Krizhevsky 2009): as CIFAR-10, in 100 classes, the fine labels."""
    files = partial(published.cifar, "CIFAR100", "CIFAR-100", root, url, sha256)
    return published_source(f"cifar100 {sha256} {image_size}", files, image_size)


def mnist(*, root: str, url: str, sha256: list[str], image_size: int, channels: int) -> Source:
    """MNIST (LeCun et al. 1998): 70,000 handwritten digits of 28x28 pixels, 10,000 of them the test images."""
    files = partial(published.mnist, "MNIST", "MNIST", root, url, sha256)
    return published_source(f"mnist {sha256} {image_size} {channels}", files, image_size, channels)


def fashion_mnist(*, root: str, url: str, sha256: list[str], image_size: int, channels: int) -> Source:
    """Fashion-MNIST (Xiao et al. 2017): articles of clothing in the format of MNIST."""
    files = partial(published.mnist, "FashionMNIST", "Fashion-MNIST", root, url, sha256)
    return published_source(f"fashion_mnist {sha256} {image_size} {channels}", files, image_size, channels)


def svhn(*, root: str, url: str, sha256: list[str], image_size: int) -> Source:
    """SVHN (Netzer et al. 2011): 99,289 digits of house numbers, cropped to 32x32 pixels, 26,032 the test images."""
    return published_source(f"svhn {sha256} {image_size}", partial(published.svhn, root, url, sha256), image_size)


def stl10(*, root: str, url: str, sha256: str, image_size: int) -> Source:
    """STL-10 (Coates et al. 2011): the 13,000 labeled photos of 96x96 pixels, 8,000 of them the test images."""
    return published_source(f"stl10 {sha256} {image_size}", partial(published.stl10, root, url, sha256), image_size)


def published_source(
    key: str, files: Callable[[], AbstractContextManager[published.Read]], image_size: int, channels: int = 3
) -> Source:
    """Return the source of a published dataset.

    Args:
        files: fetches and opens its files while they are read.
    """
    mode = "RGB" if channels == 3 else "L"

    def decode(allocate: Allocate) -> list[str]:
        classes: list[str] = []
        with files() as read:
            for split in ("train", "test"):
                pixels, labels, classes = read(split == "train")
                images = allocate(f"{split}_images", (len(pixels), channels, image_size, image_size), "uint8")
                with progress(f"decoding {split} images", len(pixels)) as advance:
                    for slot, image in zip(images, map(Image.fromarray, pixels), strict=True):
                        slot[:] = as_array(image if image.mode == mode else image.convert(mode), image_size)
                        advance(1)
                allocate(f"{split}_labels", (len(pixels),), "int64")[:] = labels
        return classes

    return Source(key, decode)


def locate(config: DataConfig) -> tuple[Source, Path]:
    """Return a dataset, and the folder of its decoded images, whether or not it exists.

    Raises:
        UserError: the images are missing, or no folder is named.
    """
    source = choose("data", config, DATASETS, COMMON)()
    if config.cache is None:
        raise UserError("data.cache=null: name a folder for the decoded images")
    name = hashlib.sha256(f"{CACHE_VERSION} {source.key}".encode()).hexdigest()[:16]
    return source, Path(config.cache) / f"{config.name}-{name}"


DATASETS: Registry = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "svhn": svhn,
    "stl10": stl10,
    "image_folder": image_folder,
    "digits": digits,
    "digit_scenes": digit_scenes,
    "segmentation_folder": segmentation_folder,
    "voc2012": voc2012,
}

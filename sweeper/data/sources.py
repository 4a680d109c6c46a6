"""Sources of images: a function per dataset, which returns a Source that is decoded once into the cache.

A function's keyword-only arguments are the settings that the choice uses.
"""

import hashlib
import importlib.metadata
import itertools
import logging
import os
import socket
import tarfile
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from sweeper.choice import Registry
from sweeper.data.image_files import as_array, lenient, read_image
from sweeper.data.image_folders import list_images
from sweeper.data.mask_sources import digit_scenes, segmentation_folder, voc2012
from sweeper.data.source import DECODER_VERSION, Allocate, Source
from sweeper.data.split import stratified_split
from sweeper.data.unreadable import UnreadableImage, check_readable
from sweeper.data.value_range import ValueRange
from sweeper.errors import UserError

log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 30  # seconds without a byte


def image_folder(
    *, root: str, image_size: int, channels: int, resize: str | None = None, value_range: list[float] | None = None
) -> Source:
    """Any images in root/train/<class>/ and root/test/<class>/, resized to squares of `image_size` pixels.

    Raises:
        UserError: see list_images. While decoding: images cannot be read, or see ValueRange.
    """
    listing = list_images(Path(root))
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
        for split, files in (("train", listing.train), ("test", listing.test)):
            labels = [label for name, found in files.items() for label in [listing.classes.index(name)] * len(found)]
            paths += itertools.chain.from_iterable(files.values())
            slots.append(allocate(f"{split}_images", (len(labels), channels, image_size, image_size), "uint8"))
            allocate(f"{split}_labels", (len(labels),), "int64")[:] = labels
        failures = []
        with lenient(), ThreadPoolExecutor(os.cpu_count()) as pool:
            for slot, image in zip(itertools.chain.from_iterable(slots), pool.map(read, paths), strict=True):
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
    """CIFAR-10 (Krizhevsky 2009), downloaded once into `root` and read through torchvision."""
    archive = Path(root) / "cifar-10-python.tar.gz"

    def decode(allocate: Allocate) -> list[str]:
        from torchvision.datasets import CIFAR10  # slow to import, needed once

        class Verified(CIFAR10):  # type: ignore[misc]
            """The archive's SHA-256 has vouched for every file already."""

            def _check_integrity(self) -> bool:
                return True

        if (Path(root) / CIFAR10.base_folder).is_dir() and not archive.exists():
            try:
                return fill(allocate, lambda train: CIFAR10(root, train=train))
            except RuntimeError as error:
                raise UserError(
                    f"{root}/{CIFAR10.base_folder} is damaged; delete it or put {archive.name} beside it"
                ) from error
        fetch(url, archive, sha256)
        with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
            return fill(allocate, lambda train: Verified(folder, train=train))

    def fill(allocate: Allocate, read: Callable[[bool], object]) -> list[str]:
        classes: list[str] = []
        for split in ("train", "test"):
            dataset = read(split == "train")
            pixels, targets, classes = dataset.data, dataset.targets, dataset.classes  # type: ignore[attr-defined]
            images = allocate(f"{split}_images", (len(pixels), 3, image_size, image_size), "uint8")
            for index, image in enumerate(pixels):
                images[index] = as_array(Image.fromarray(image), image_size)
            allocate(f"{split}_labels", (len(pixels),), "int64")[:] = targets
        return classes

    return Source(f"cifar10 {sha256} {image_size}", decode)


def fetch(url: str, archive: Path, sha256: str) -> None:
    """Download the archive unless it is there and verified; one process downloads while others wait.

    Raises:
        UserError: it cannot be downloaded; the sentence says what to do.
    """
    if holds(archive, sha256):
        return
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(archive.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        raise UserError(f"data.root={archive.parent} cannot be written: {error}") from error
    try:
        if not holds(archive, sha256):
            download(url, archive, sha256)
    finally:
        lock.release()


def holds(archive: Path, sha256: str) -> bool:
    if not archive.exists():
        return False
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def download(url: str, archive: Path, sha256: str) -> None:
    """Download to a temporary name, verify, rename; the caller holds the lock."""
    from torch.hub import download_url_to_file

    for left_over in archive.parent.glob(f"{archive.name}.*.partial"):
        left_over.unlink()
    if archive.exists():
        log.warning("%s: checksum mismatch; downloading again", archive)
    log.info("downloading %s into %s", url, archive.parent)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        download_url_to_file(url, str(archive), hash_prefix=sha256, progress=False)
    except (OSError, HTTPException, RuntimeError, ValueError) as error:
        raise UserError(
            f"CIFAR-10 could not be downloaded from {url} ({error}). Name a mirror with data.url=URL, put "
            f"{archive.name} into data.root={archive.parent}, or use data=image_folder or data=digits"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


DATASETS: Registry = {
    "cifar10": cifar10,
    "image_folder": image_folder,
    "digits": digits,
    "digit_scenes": digit_scenes,
    "segmentation_folder": segmentation_folder,
    "voc2012": voc2012,
}

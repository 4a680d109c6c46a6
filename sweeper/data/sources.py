"""Sources of images: a function per dataset, which returns a Source that is decoded once into the cache.

A function's keyword-only arguments are the settings that the choice uses.
"""

import hashlib
import importlib.metadata
import logging
import os
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from sweeper.choice import Registry
from sweeper.data.split import stratified_split
from sweeper.errors import UserError, format_names

log = logging.getLogger(__name__)

Allocate = Callable[[str, tuple[int, ...], str], NDArray[np.uint8]]  # name, shape, dtype -> array to fill
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
DOWNLOAD_TIMEOUT = 30  # seconds without a byte


@dataclass
class Source:
    """A dataset before it is decoded.

    Attributes:
        key: text that changes when the files do; found without reading them.
        decode: fills the arrays train_images (N, C, H, W) uint8, train_labels (N,) int64, test_images and test_labels
            that it gets from `allocate`, and returns the classes' names.
    """

    key: str
    decode: Callable[[Allocate], list[str]]


def image_folder(*, root: str, image_size: int, channels: int) -> Source:
    """Any images in root/train/<class>/ and root/test/<class>/, resized to squares of `image_size` pixels.

    Raises:
        UserError: a folder is missing or empty, or the classes of train/ and test/ differ. While decoding: an image
            cannot be read.
    """
    digest = hashlib.sha256()
    files: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}  # (class, path): entries with sizes are large
    for split, paths in files.items():
        for name, file in labelled_files(Path(root), split):
            stat = file.stat()
            digest.update(os.fsencode(f"{split}/{name}/{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"))
            paths.append((name, file.path))
    classes = sorted({name for name, _ in files["train"]})
    tested = {name for name, _ in files["test"]}
    if missing := set(classes) ^ tested:
        where = "test" if missing - tested else "train"
        raise UserError(f"{root}/{where} has no images of class {format_names(missing)}; both folders need every class")

    def decode(allocate: Allocate) -> list[str]:
        mode = "RGB" if channels == 3 else "L"
        for split, found in files.items():
            images = allocate(f"{split}_images", (len(found), channels, image_size, image_size), "uint8")
            allocate(f"{split}_labels", (len(found),), "int64")[:] = [classes.index(name) for name, _ in found]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                decoded = pool.map(lambda item: read_image(item[1], mode, image_size), found)
                for index, image in enumerate(decoded):
                    images[index] = image
        return classes

    return Source(f"image_folder {digest.hexdigest()} {image_size} {channels}", decode)


def labelled_files(root: Path, split: str) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Every image file of root/split as (class, file), sorted; hidden and other files are passed over."""
    folder = root / split
    if not folder.is_dir():
        raise UserError(f"data.root={root}: folder {folder} not found; expected train/<class>/* and test/<class>/*")
    kinds = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not kinds:
        raise UserError(f"{folder} contains no class folders; expected train/<class>/* and test/<class>/*")
    for name in kinds:
        entries = [entry for entry in os.scandir(folder / name) if not entry.name.startswith(".")]
        files = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
        if not files:
            raise UserError(f"{folder / name} contains no images ({format_names(SUFFIXES)})")
        for file in sorted(files, key=lambda entry: entry.name):
            yield name, file


def read_image(path: str, mode: str, image_size: int) -> NDArray[np.uint8]:
    """One image file as (C, H, W) uint8."""
    try:
        with Image.open(path) as image:
            if image.mode == "F":
                raise ValueError("its pixels are floating-point numbers of unknown range")
            if image.mode.startswith("I"):  # 16 bits a pixel, which PIL would cut off and not scale
                return as_array(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode), image_size)
            return as_array(image.convert(mode), image_size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from error


def as_array(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """A PIL image, resized where its size differs, as (C, H, W) uint8."""
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def digits(*, image_size: int) -> Source:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels as color images; 297 of them are the test images."""

    def decode(allocate: Allocate) -> list[str]:
        from sklearn.datasets import load_digits  # slow to import, needed once

        bunch = load_digits()
        pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)
        images = np.stack([as_array(Image.fromarray(image).convert("RGB"), image_size) for image in pixels])
        labels = bunch.target.astype(np.int64)
        for split, chosen in zip(("train", "test"), stratified_split(labels, 297, seed=0), strict=True):
            allocate(f"{split}_images", (len(chosen), 3, image_size, image_size), "uint8")[:] = images[chosen]
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


DATASETS: Registry = {"cifar10": cifar10, "image_folder": image_folder, "digits": digits}

"""Published datasets: their files are fetched, unpacked while they are decoded, and parsed by torchvision.

Each function yields `read`, which returns the training or the test images: pixels (N, H, W, 3) or (N, H, W) uint8,
labels (N,), and the classes' names as they were published. torchvision is slow to import and needed once.
"""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.data.downloads import fetch
from sweeper.errors import UserError

Split = tuple[NDArray[np.uint8], Sequence[int], list[str]]
Read = Callable[[bool], Split]  # whether the training images are meant
Sums = str | list[str]  # SHA-256 of the archive, or of each file
DIGITS = [str(digit) for digit in range(10)]
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MAT_FILES = ("train_32x32.mat", "test_32x32.mat")
NOT_READ = "unlabeled_X.bin"  # of STL-10, most of the archive


@contextmanager
def cifar(name: str, title: str, root: str, url: str, sha256: Sums) -> Iterator[Read]:
    """Read CIFAR-10 or CIFAR-100, whose name in torchvision is given, from its archive."""
    with extracted(name, title, Path(root), url, sha256) as (dataset, folder):

        def read(train: bool) -> Split:
            split = dataset(folder, train=train)
            return split.data, split.targets, split.classes

        yield read


@contextmanager
def stl10(root: str, url: str, sha256: Sums) -> Iterator[Read]:
    """Read the labeled images of STL-10 from its archive."""
    with extracted("STL10", "STL-10", Path(root), url, sha256) as (dataset, folder):

        def read(train: bool) -> Split:
            split = dataset(folder, split="train" if train else "test")
            return split.data.transpose(0, 2, 3, 1), split.labels, split.classes

        yield read


@contextmanager
def mnist(name: str, title: str, root: str, url: str, sha256: Sums) -> Iterator[Read]:
    """Read MNIST or Fashion-MNIST, whose name in torchvision is given, from root/NAME/raw/, as torchvision has it."""
    dataset = from_torchvision(name)
    names = [f"{name}/raw/{file}.gz" for file in IDX_FILES]
    fetch_all(title, Path(root), names, url, sha256)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name / "raw").mkdir(parents=True)
        for file in names:
            path = Path(root) / file
            with (
                unpacking(path),
                gzip.GzipFile(path) as packed,
                (Path(folder) / file).with_suffix("").open("wb") as plain,
            ):
                shutil.copyfileobj(packed, plain)

        def read(train: bool) -> Split:
            split = dataset(folder, train=train)
            return split.data.numpy(), split.targets.numpy(), DIGITS if name == "MNIST" else split.classes

        yield read


@contextmanager
def svhn(root: str, url: str, sha256: Sums) -> Iterator[Read]:
    """Read SVHN's cropped digits from its two files of MATLAB; the class of a digit is its number, 0 included."""
    dataset = verified(from_torchvision("SVHN"))
    fetch_all("SVHN", Path(root), MAT_FILES, url, sha256)

    def read(train: bool) -> Split:
        split = dataset(root, split="train" if train else "test")
        return split.data.transpose(0, 2, 3, 1), split.labels, DIGITS

    yield read


def from_torchvision(name: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, name)


def verified(dataset: Any) -> Any:
    """Return a dataset of torchvision that compares no MD5: the SHA-256 has vouched for every file already."""

    class Verified(dataset):  # type: ignore[misc]
        meta = getattr(dataset, "meta", {}) | {"md5": None}

        def _check_integrity(self) -> bool:
            return True

    return Verified


@contextmanager
def extracted(name: str, title: str, root: Path, url: str, sha256: Sums) -> Iterator[tuple[Any, str]]:
    """Yield a dataset of torchvision and the folder to read it from: an archive's content, without unlabeled images.

    A folder in `root` that was extracted from an archive before is read where the archive is missing.

    Raises:
        UserError: that folder is damaged, or see `fetch`.
    """
    dataset = from_torchvision(name)
    archive = root / dataset.filename
    if (root / dataset.base_folder).is_dir() and not archive.exists():
        try:
            yield dataset, str(root)
        except RuntimeError as error:
            raise UserError(
                f"{root}/{dataset.base_folder} is damaged; delete it or put {archive.name} beside it"
            ) from error
        return
    fetch_all(title, root, [archive.name], url, sha256)
    with tempfile.TemporaryDirectory() as folder:
        with unpacking(archive), tarfile.open(archive) as tar:
            for member in tar:
                if not member.name.endswith(NOT_READ):
                    tar.extract(member, folder, filter="data")
        yield verified(dataset), folder


@contextmanager
def unpacking(file: Path) -> Iterator[None]:
    """Name the packed file that is no such file, or a damaged one.

    Raises:
        UserError: it is.
    """
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        reason = str(error).partition(":\n")[0]  # without what each format says
        raise UserError(
            f"{file} cannot be unpacked ({reason}), and has the sum that data.sha256 gives: correct that, or data.url"
        ) from error


def fetch_all(title: str, root: Path, names: Sequence[str], url: str, sha256: Sums) -> None:
    """Fetch the files of a dataset: a single one from `url`, several from the folder `url`.

    Raises:
        UserError: there is not one sum for each file, or see `fetch`.
    """
    sums = [sha256] if isinstance(sha256, str) else sha256
    if len(sums) != len(names):
        files = ", ".join(Path(name).name for name in names)
        raise UserError(f"data.sha256 needs a sum for each file of {title}, in the order {files}; it has {len(sums)}")
    urls = [url] if len(names) == 1 else [f"{url.rstrip('/')}/{Path(name).name}" for name in names]
    fetch(title, root, dict(zip(names, zip(urls, sums, strict=True), strict=True)))

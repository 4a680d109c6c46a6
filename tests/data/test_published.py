"""Published datasets besides CIFAR-10: small files in the exact formats, served from this machine."""

import functools
import gzip
import hashlib
import http.server
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from support import decoded

from sweeper.data.sources import DATASETS
from sweeper.errors import UserError

TRAIN, TEST = 20, 10  # images; the classes are 0, 1, ..., 9, 0, ...
IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
FINE = [f"fine{number}" for number in range(100)]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
PHOTOS = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
DIGITS = list("0123456789")

Files = dict[str, bytes]


def pixels(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(number: int) -> NDArray[np.uint8]:
    return (np.arange(number) % 10).astype(np.uint8)


def packed(folder: str, files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar100(images: Mapping[str, NDArray[np.uint8]]) -> Files:
    """Pickles of rows of red, green and blue; coarse labels beside the fine ones."""
    splits = {
        split: {
            "filenames": [""] * len(found),
            "batch_label": split,
            "fine_labels": [int(label) * 7 for label in labels(len(found))],
            "coarse_labels": [0] * len(found),
            "data": found.reshape(len(found), -1),
        }
        for split, found in images.items()
    }
    files = splits | {"meta": {"fine_label_names": FINE, "coarse_label_names": ["coarse"]}}
    pickled = {name: pickle.dumps(content, protocol=2) for name, content in files.items()}
    return {"cifar-100-python.tar.gz": packed("cifar-100-python", pickled)}


def idx(images: Mapping[str, NDArray[np.uint8]]) -> Files:
    """Big-endian headers: type and dimensions, then each size."""
    contents = []
    for found in images.values():
        gray = found[:, 0]
        contents.append(struct.pack(">4i", 0x803, *gray.shape) + gray.tobytes())
        contents.append(struct.pack(">2i", 0x801, len(gray)) + labels(len(gray)).tobytes())
    return {name: gzip.compress(content) for name, content in zip(IDX, contents, strict=True)}


def svhn(images: Mapping[str, NDArray[np.uint8]]) -> Files:
    """MATLAB's arrays (H, W, C, N); the label of a 0 is 10."""
    files = {}
    for split, found in images.items():
        buffer, numbers = io.BytesIO(), labels(len(found))
        numbers[numbers == 0] = 10
        savemat(buffer, {"X": found.transpose(2, 3, 1, 0), "y": numbers[:, None]}, do_compression=True)
        files[f"{split}_32x32.mat"] = buffer.getvalue()
    return files


def stl10(images: Mapping[str, NDArray[np.uint8]]) -> Files:
    """Images by channel and column; labels from 1."""
    files = {"class_names.txt": "\n".join([*PHOTOS, ""]).encode(), "unlabeled_X.bin": b"many", "fold_indices.txt": b""}
    for split, found in images.items():
        files[f"{split}_X.bin"] = found.transpose(0, 1, 3, 2).tobytes()
        files[f"{split}_y.bin"] = (labels(len(found)) + 1).tobytes()
    return {"stl10_binary.tar.gz": packed("stl10_binary", files)}


# name -> format, shape of an image, settings of its own, classes, and the folder of its files.
FORMATS: dict[str, tuple[Any, tuple[int, int, int], dict[str, int], list[str], str]] = {
    "cifar100": (cifar100, (3, 32, 32), {}, FINE, "."),
    "mnist": (idx, (1, 28, 28), {"channels": 1}, DIGITS, "MNIST/raw"),
    "fashion_mnist": (idx, (1, 28, 28), {"channels": 1}, CLOTHES, "FashionMNIST/raw"),
    "svhn": (svhn, (3, 32, 32), {}, DIGITS, "."),
    "stl10": (stl10, (3, 96, 96), {}, PHOTOS, "."),
}


@functools.cache
def published(name: str) -> tuple[Files, dict[str, NDArray[np.uint8]]]:
    """The files of a small dataset, and its images (N, C, H, W) by split."""
    write, shape, *_ = FORMATS[name]
    images = {split: pixels((number, *shape), seed) for seed, (split, number) in enumerate(SPLITS.items())}
    return write(images), images


SPLITS = {"train": TRAIN, "test": TEST}


class Server(http.server.ThreadingHTTPServer):
    """Serve files by name; `requests` lists what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: Files = {}
        self.requests: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        name = self.path.rpartition("/")[2]
        self.server.requests.append(name)
        content = self.server.files.get(name)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def decode(server: Server, name: str, root: Path, **changes: Any) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Decode a dataset that the server has."""
    server.files = published(name)[0]
    settings: dict[str, Any] = FORMATS[name][2] | {"image_size": FORMATS[name][1][2]}
    sums = [hashlib.sha256(content).hexdigest() for content in server.files.values()]
    (first, *others), base = server.files, f"http://127.0.0.1:{server.server_port}"
    settings |= {"sha256": sums, "url": f"{base}/data/"} if others else {"sha256": sums[0], "url": f"{base}/{first}"}
    return decoded(DATASETS[name](root=str(root), **settings | changes))


@pytest.mark.parametrize("name", FORMATS)
def test_a_dataset_is_downloaded_once_and_decoded(name: str, server: Server, tmp_path: Path) -> None:
    files, images = published(name)
    *_, classes, folder = FORMATS[name]
    for _ in range(2):
        arrays, found = decode(server, name, tmp_path / "new")
        assert found == classes
        for split, number in SPLITS.items():
            assert np.array_equal(arrays[f"{split}_images"], images[split])
            expected = labels(number) * (7 if name == "cifar100" else 1)
            assert arrays[f"{split}_labels"].tolist() == expected.tolist()
    assert server.requests == [*files]
    left = sorted(path for path in (tmp_path / "new").rglob("*") if path.is_file() and path.suffix != ".lock")
    assert left == sorted(tmp_path / "new" / folder / file for file in files)


def test_gray_digits_become_color_images_of_another_size(server: Server, tmp_path: Path) -> None:
    arrays, _ = decode(server, "mnist", tmp_path, channels=3, image_size=14)
    assert arrays["train_images"].shape == (TRAIN, 3, 14, 14)
    assert (arrays["train_images"] == arrays["train_images"][:, :1]).all()


def test_only_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    decode(server, "mnist", tmp_path)
    server.requests.clear()
    (tmp_path / "MNIST/raw" / IDX[2]).write_bytes(b"cut")
    arrays, _ = decode(server, "mnist", tmp_path)
    assert server.requests == [IDX[2]]
    assert np.array_equal(arrays["test_images"], published("mnist")[1]["test"])


def test_concurrent_processes_download_each_file_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: decode(server, "svhn", tmp_path)[0], range(4)))
    assert sorted(server.requests) == sorted(published("svhn")[0])
    assert all(np.array_equal(arrays["train_images"], results[0]["train_images"]) for arrays in results)


@pytest.mark.parametrize("name", ["mnist", "cifar100", "stl10"])
def test_a_file_of_the_given_sum_that_cannot_be_unpacked_is_named(name: str, server: Server, tmp_path: Path) -> None:
    decode(server, name, tmp_path)
    content = b"no archive"
    (file, *others) = (path for path in tmp_path.rglob("*") if path.name in server.files)
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    sums = [digest if path == file.name else hashlib.sha256(it).hexdigest() for path, it in server.files.items()]
    with pytest.raises(
        UserError, match=rf"{file.name} cannot be unpacked \(.*\), and has the sum that data\.sha256 gives"
    ):
        decode(server, name, tmp_path, sha256=sums if others else digest)


def test_a_missing_file_is_an_error_that_names_all_files(server: Server, tmp_path: Path) -> None:
    sentence = rf"^Fashion-MNIST could not be downloaded from http://127.0.0.1:{server.server_port}/none/train-images"
    paths = ", ".join(f"FashionMNIST/raw/{name}" for name in IDX)
    with pytest.raises(UserError, match=rf"{sentence}.* put {paths} into data\.root={tmp_path}, or use data="):
        decode(
            server, "fashion_mnist", tmp_path, url=f"http://127.0.0.1:{server.server_port}/none", sha256=["0" * 64] * 4
        )
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("name, sha256, number", [("svhn", "0" * 64, 1), ("stl10", ["0" * 64] * 2, 2)])
def test_every_file_needs_a_sum(name: str, sha256: Any, number: int, server: Server, tmp_path: Path) -> None:
    files = {"svhn": "SVHN, in the order train_32x32.mat, test", "stl10": "STL-10, in the order stl10_binary.tar.gz"}
    sentence = rf"^data.sha256 needs a sum for each file of {files[name]}.*; it has {number}$"
    with pytest.raises(UserError, match=sentence):
        decode(server, name, tmp_path, sha256=sha256)
    assert server.requests == []


def test_an_extracted_folder_is_compared_with_the_published_sums(server: Server, tmp_path: Path) -> None:
    (tmp_path / "stl10_binary").mkdir()
    (tmp_path / "stl10_binary/train_X.bin").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"stl10_binary is damaged; delete it or put stl10_binary.tar.gz beside it"):
        decode(server, "stl10", tmp_path)
    assert server.requests == []

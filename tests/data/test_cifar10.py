"""The CIFAR-10 reader: downloads from a local server, verified archives, concurrent processes."""

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from processes import Program
from support import decoded

from sweeper.data.cache import prepare
from sweeper.data.source import Source
from sweeper.data.sources import cifar10
from sweeper.errors import UserError
from sweeper.groups import DataConfig

META = (  # the published batches.meta, byte for byte, because torchvision checks its MD5
    b"\x80\x02}q\x01(U\x13num_cases_per_batchq\x02M\x10'U\x0blabel_namesq\x03]q\x04(U\x08airplaneq\x05U\nautomobileq"
    b"\x06U\x04birdq\x07U\x03catq\x08U\x04deerq\tU\x03dogq\nU\x04frogq\x0bU\x05horseq\x0cU\x04shipq\rU\x05truckq\x0ee"
    b"U\x07num_visq\x0fM\x00\x0cu."
)


@functools.cache
def archive() -> tuple[bytes, str, NDArray[np.uint8]]:
    """A small archive in the published format, its SHA-256, and its images (120, 3, 32, 32), 20 a file."""
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 3072), dtype=np.uint8)
    files = {"batches.meta": META}
    for name, rows in zip([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], images, strict=True):
        files[name] = pickle.dumps({"batch_label": name, "labels": [*range(10)] * 2, "data": rows}, protocol=2)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest(), images.reshape(-1, 3, 32, 32)


class Handler(http.server.BaseHTTPRequestHandler):
    """Send the archive in the manner that the path names."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        manner, content = self.path.strip("/"), archive()[0]
        self.requests.append(manner)
        self.close_connection = True
        if manner == "garbage":
            self.wfile.write(b"This is not HTTP.\r\n")
            return
        self.send_response(404 if manner == "missing" else 200)
        if manner == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"ffff\r\n" * (manner == "chunked") + content[: None if manner == "whole" else 1000])
        if manner == "stalled":
            self.over.wait(30)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of the archive; Handler.requests lists the requests."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.requests.clear()
    Handler.over.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = False  # so that closing waits for them
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        Handler.over.set()
        listening.shutdown()
        thread.join()


def files_in(root: Path) -> list[str]:
    return sorted(file.name for file in root.glob("*") if file.suffix != ".lock")


def cifar(root: Path, url: str, *, sha256: str = "", image_size: int = 32) -> Source:
    return cifar10(root=str(root), url=url, sha256=sha256 or archive()[1], image_size=image_size)


def test_cifar10_is_downloaded_once_and_decoded(server: str, tmp_path: Path) -> None:
    images = archive()[2]
    for _ in range(2):
        arrays, classes = decoded(cifar(tmp_path / "new" / "root", f"{server}/whole"))
        assert np.array_equal(arrays["train_images"], images[:100])
        assert np.array_equal(arrays["test_images"], images[100:])
        assert arrays["train_labels"].tolist() == [*range(10)] * 10
        assert arrays["test_labels"].tolist() == [*range(10)] * 2
        assert classes == ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert Handler.requests == ["whole"]
    assert files_in(tmp_path / "new" / "root") == ["cifar-10-python.tar.gz"]


def test_cifar10_is_resized(server: str, tmp_path: Path) -> None:
    arrays, _ = decoded(cifar(tmp_path, f"{server}/whole", image_size=8))
    for found, expected in zip(arrays["train_images"], archive()[2][:100], strict=True):
        resized = Image.fromarray(expected.transpose(1, 2, 0)).resize((8, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(found, np.asarray(resized).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "content", "requests"),
    [
        ("cifar-10-python.tar.gz", archive()[0], []),
        ("cifar-10-python.tar.gz", archive()[0][:-1], ["whole"]),
        ("cifar-10-python.tar.gz", b"", ["whole"]),
        ("cifar-10-python.tar.gz.0123.partial", b"left by a killed download", ["whole"]),
    ],
    ids=["whole archive", "cut archive", "empty archive", "partial"],
)
def test_files_in_root_are_used_or_replaced(
    server: str, tmp_path: Path, name: str, content: bytes, requests: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    arrays, _ = decoded(cifar(tmp_path, f"{server}/whole"))
    assert np.array_equal(arrays["train_images"], archive()[2][:100])
    assert Handler.requests == requests
    assert files_in(tmp_path) == ["cifar-10-python.tar.gz"]
    assert (tmp_path / "cifar-10-python.tar.gz").read_bytes() == archive()[0]


@pytest.mark.parametrize(
    ("manner", "sha256"),
    [("whole", "0" * 64), *((manner, "") for manner in ("short", "chunked", "stalled", "missing", "garbage"))],
)
def test_a_failed_download_is_an_error_with_advice_and_leaves_nothing(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str, sha256: str
) -> None:
    monkeypatch.setattr("sweeper.data.downloads.DOWNLOAD_TIMEOUT", 0.5)
    start = time.monotonic()
    with pytest.raises(UserError, match=rf"(?s){server}/{manner}.*data\.url=.*data\.root={tmp_path}.*data=digits"):
        decoded(cifar(tmp_path, f"{server}/{manner}", sha256=sha256))
    assert time.monotonic() - start < 15
    assert files_in(tmp_path) == []
    assert Handler.requests == [manner]


def test_a_damaged_extracted_folder_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"cifar-10-batches-py is damaged; delete it"):
        decoded(cifar(tmp_path, f"{server}/whole"))
    assert Handler.requests == []


def cifar_config(root: Path, cache: Path, url: str) -> DataConfig:
    return DataConfig(
        "cifar10", str(root), str(cache), url, archive()[1], image_size=32, val_size=0, mean=[0.5] * 3, std=[0.5] * 3
    )


def test_a_root_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"data\.root=\S*file"):
        prepare(cifar_config(tmp_path / "file", tmp_path / "cache", f"{server}/whole"))


def test_eight_processes_at_once_download_once(server: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys; from sweeper.data.cache import prepare; from sweeper.groups import DataConfig\n"
        "print(prepare(eval(sys.argv[1])).fingerprint)"
    )
    configs = [cifar_config(tmp_path / "root", tmp_path / f"cache{n % 2}", f"{server}/whole") for n in range(8)]
    processes = [Program([repr(config)], tmp_path, program=tmp_path) for config in configs]
    fingerprints = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 8
    assert fingerprints == {f"{prepare(configs[0]).fingerprint}\n"}
    assert Handler.requests == ["whole"]
    assert files_in(tmp_path / "root") == ["cifar-10-python.tar.gz"]

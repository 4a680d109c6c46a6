"""Downloads of datasets: verified by SHA-256, by one of several processes, under their names only when complete."""

import hashlib
import logging
import socket
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from sweeper.errors import UserError

log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 30  # seconds without a byte


def fetch(title: str, root: Path, files: Mapping[str, tuple[str, str]]) -> None:
    """Download the files that are missing or damaged; one process downloads while others wait.

    Args:
        title: the dataset's name, for messages.
        files: URL and SHA-256 of each file, by its path below `root`.

    Raises:
        UserError: a file cannot be downloaded; the sentence says what to do.
    """
    for name, (url, sha256) in files.items():
        file = root / name
        if holds(file, sha256):
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file.with_suffix(".lock"))
            lock.acquire()
        except OSError as error:
            raise UserError(f"data.root={root} cannot be written: {error}") from error
        try:
            if not holds(file, sha256):
                download(url, file, sha256)
        except (OSError, HTTPException, RuntimeError, ValueError) as error:
            raise UserError(
                f"{title} could not be downloaded from {url} ({error}). Name a mirror with data.url=URL, put "
                f"{', '.join(files)} into data.root={root}, or use data=image_folder or data=digits"
            ) from error
        finally:
            lock.release()


def holds(file: Path, sha256: str) -> bool:
    if not file.exists():
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == sha256


def download(url: str, file: Path, sha256: str) -> None:
    """Download to a temporary name, verify, rename; the caller holds the lock."""
    from torch.hub import download_url_to_file

    for left_over in file.parent.glob(f"{file.name}.*.partial"):
        left_over.unlink()
    if file.exists():
        log.warning("%s: checksum mismatch; downloading again", file)
    log.info("downloading %s into %s", url, file.parent)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        download_url_to_file(url, str(file), hash_prefix=sha256, progress=False)
    finally:
        socket.setdefaulttimeout(timeout)

"""Image files to predict: found in folders, read in parallel, unreadable ones named."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sweeper.data.image_files import lenient
from sweeper.data.image_scan import SUFFIXES, Scan
from sweeper.errors import UserError, format_names
from sweeper.runs.network import Reading
from sweeper.runs.stored_images import Pixels

CHUNK = 250  # files that are read while others are predicted
Read = dict[Reading, Pixels]  # an image as each reading has it


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and the image files in the given folders and those below, sorted; hidden ones not.

    Raises:
        UserError: a path does not exist, or a folder has no images.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(name for name, *_ in Scan().images(path))
            if not below:
                raise UserError(f"{path} contains no images ({format_names(SUFFIXES)})")
            found += [path / name for name in below]
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path} not found: give image files, or folders of images")
    return list(dict.fromkeys(found))


def read_images(files: Sequence[Path], readings: Sequence[Reading]) -> Iterator[list[Read | UserError]]:
    """Yield the files in their order, a chunk at a time: each by every reading, or why it cannot be read.

    A chunk is read while the caller works on the one before it.
    """

    def read(file: Path) -> Read | UserError:
        try:
            return {reading: reading(file) for reading in readings}
        except UserError as error:
            return error

    with lenient(), ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: list[Future[Read | UserError]] = []
        for start in range(0, len(files) + CHUNK, CHUNK):
            chunk, waiting = waiting, [pool.submit(read, file) for file in files[start : start + CHUNK]]
            if chunk:
                yield [future.result() for future in chunk]

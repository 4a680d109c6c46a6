"""The mark of a sweep that is being planned, so that `watch` does not take an earlier sweep for it. No torch here."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

MARK = ".starting"  # in the folder of the sweeps, locked while a sweep is planned


@contextmanager
def starting(output_dir: Path) -> Iterator[None]:
    """Mark that a sweep of an output folder is being planned, where the folder has earlier sweeps."""
    mark = output_dir / "sweeps" / MARK
    lock = FileLock(mark)
    try:
        if not mark.parent.is_dir():
            raise Timeout(str(mark))
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # another one is being planned too, or the folder cannot be written
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
        lock.release()


def is_starting(output_dir: Path) -> bool:
    """Return whether a sweep of an output folder is being planned. A mark whose process has died does not count."""
    mark = output_dir / "sweeps" / MARK
    if not mark.exists():
        return False
    try:
        with FileLock(mark).acquire(blocking=False):
            mark.unlink(missing_ok=True)
            return False
    except Timeout:
        return True
    except OSError:
        return False

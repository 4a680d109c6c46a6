"""Marks of sweeps that are being planned, or that have not ended, for `watch`. No torch here: readers start fast."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

MARK = ".starting"  # in the folder of the sweeps: `watch` does not take an earlier sweep for the one that is planned
GOING = ".going"  # in the folder of a sweep: retries and further rounds or trials may follow when all runs have ended


@contextmanager
def marked(mark: Path) -> Iterator[None]:
    """Lock a mark, where its folder exists."""
    lock = FileLock(mark)
    try:
        if not mark.parent.is_dir():
            raise Timeout(str(mark))
        lock.acquire(blocking=False)
    except (Timeout, OSError):  # another process has it, or the folder cannot be written
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)
        lock.release()


def is_marked(mark: Path) -> bool:
    """Return whether a process has a mark. One whose process has died does not count."""
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


def starting(output_dir: Path) -> AbstractContextManager[None]:
    """Mark that a sweep of an output folder is being planned, where the folder has earlier sweeps."""
    return marked(output_dir / "sweeps" / MARK)


def is_starting(output_dir: Path) -> bool:
    """Return whether a sweep of an output folder is being planned."""
    return is_marked(output_dir / "sweeps" / MARK)


def going(folder: Path) -> AbstractContextManager[None]:
    """Mark that a sweep has not ended."""
    return marked(folder / GOING)


@contextmanager
def marks(output_dir: Path) -> Iterator[Callable[[Path], None]]:
    """Mark a sweep from its planning to its end; what this returns is called with its folder when it is planned."""
    with ExitStack() as stack:
        planning = stack.enter_context(ExitStack())
        planning.enter_context(starting(output_dir))

        def on_planned(folder: Path) -> None:
            stack.enter_context(going(folder))
            planning.close()

        yield on_planned


def is_going(folder: Path) -> bool:
    """Return whether the process of a sweep has not ended."""
    return is_marked(folder / GOING)

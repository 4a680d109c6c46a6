"""A run's train.log: the program's log with times, in its directory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeper.files import writing


class LogFile(logging.FileHandler):
    """A log file that ends nothing where it cannot be written: checkpoints and records report that."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Append the program's log, DEBUG included, to a file, with the time.

    Raises:
        WriteError: the file cannot be opened.
    """
    with writing(path):
        handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("sweeper")  # the parent of all loggers of this program
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()

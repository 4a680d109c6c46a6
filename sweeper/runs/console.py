"""The display of a run: a progress bar on a terminal, elsewhere a line per epoch."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sweeper.files import writing
from sweeper.training.state import LoopState, Row

log = logging.getLogger(__name__)

SHOWN = {"train": ("acc", "pixel_acc"), "val": ("acc", "miou")}  # of each part of the images, the one that a row has
REFRESH = 0.2  # seconds between two updates of the bar


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


class Console:
    """The display of one run's training, as a context."""

    def __init__(self, run_id: str, epochs: int, batches: int) -> None:
        self.run_id, self.epochs, self.batches = run_id, epochs, batches
        self.bar: Any = None
        self.task: Any = None
        self.next_refresh = 0.0

    def __enter__(self) -> "Console":
        if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):  # as in workers
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns)
            self.task = self.bar.add_task("epoch 1", total=self.epochs * self.batches)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, loop: LoopState) -> None:
        if self.bar is not None and time.monotonic() > self.next_refresh:
            self.next_refresh = time.monotonic() + REFRESH
            self.bar.update(self.task, completed=(loop.epoch - 1) * self.batches + loop.step_in_epoch)

    def epoch(self, row: Row) -> None:
        train, val = (
            next(f"{part}_{name}" for name in names if f"{part}_{name}" in row) for part, names in SHOWN.items()
        )
        line = (
            f"epoch {row['epoch']}/{self.epochs}  "
            f"train_loss {row['train_loss']:.4f}  {train} {row[train]:.4f}  "
            f"val_loss {row['val_loss']:.4f}  {val} {row[val]:.4f}  "
            f"{row['train_seconds']:.1f} s  {row['images_per_second']:,.0f} images/s"
        )
        log.log(logging.INFO if self.bar is None else logging.DEBUG, "%s: %s", self.run_id, line)
        if self.bar is not None:
            shown = f"epoch {row['epoch'] + 1}  {val} {row[val]:.4f}" if row["epoch"] < self.epochs else "done"
            self.bar.update(self.task, description=shown, completed=row["epoch"] * self.batches)

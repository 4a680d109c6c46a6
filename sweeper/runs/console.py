"""The display of a run's training: a progress bar on a terminal, elsewhere lines."""

import logging
import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from sweeper.display import can_redraw, format_clock, lines_above
from sweeper.runs.naming import RunName
from sweeper.training.state import LoopState, Row

log = logging.getLogger(__name__)

SHOWN = {"train": ("acc", "pixel_acc"), "val": ("acc", "miou")}  # of each part of the images, the one that a row has
REFRESH = 0.2  # seconds between two updates of the bar
PERIOD = 60.0  # seconds between two lines of a run of a sweep
BAR = 12  # characters


class Console:
    """The display of one run's training, as a context.

    Args:
        name: of the run.
        epochs: of the whole training.
        batches: in an epoch.
        verbose: whether every epoch is a line with all measures.
    """

    def __init__(self, name: RunName, epochs: int, batches: int, *, verbose: bool = False) -> None:
        self.name, self.epochs, self.batches, self.verbose = name, epochs, batches, verbose
        self.live: Any = None
        self.closing = ExitStack()
        self.next_refresh = 0.0
        self.next_line = time.monotonic() + (PERIOD if name.position else 0.0)

    def __enter__(self) -> "Console":
        if can_redraw(sys.stdout) and not self.verbose and not self.name.in_table:
            from rich.console import Console as Terminal
            from rich.live import Live

            terminal = Terminal()
            self.closing.enter_context(lines_above(terminal))
            self.live = Live(console=terminal, auto_refresh=False, transient=True, redirect_stdout=False)
            self.closing.enter_context(self.live)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    def step(self, loop: LoopState) -> None:
        if self.live is not None and time.monotonic() > self.next_refresh:
            self.next_refresh = time.monotonic() + REFRESH
            self.live.update(self.draw(loop), refresh=True)

    def draw(self, loop: LoopState) -> Any:
        """Return the bar below the run's name, as much of it as the terminal's width has room for."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        done = (loop.epoch - 1) * self.batches + loop.step_in_epoch
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.epochs * self.batches, completed=done, width=BAR)
        grid.add_row(bar, Text(fit(self.facts(loop), self.live.console.width - BAR - 1), no_wrap=True))
        return Group(Text(self.name.titled, no_wrap=True, overflow="ellipsis"), grid)

    def facts(self, loop: LoopState) -> list[str]:
        """Describe the state of training, the most important first."""
        facts = [f"epoch {min(loop.epoch, self.epochs)}/{self.epochs}"]
        left = time_left(loop, self.epochs, self.batches)
        facts += [] if left is None else [f"{format_clock(left)} left"]
        facts += [f"loss {float(loop.loss_sum) / loop.num_samples:.4f}"] if loop.num_samples else []
        facts += [measured(loop.history[-1], "val")] if loop.history else []
        return facts + ([f"{loop.num_samples / loop.seconds:,.0f} images/s"] if loop.seconds > 0 else [])

    def epoch(self, row: Row) -> None:
        short = f"epoch {row['epoch']}/{self.epochs}"
        train = f"train_loss {row['train_loss']:.4f}"
        val = measured(row, "val")
        seconds = f"{row['train_seconds'] + row['eval_seconds']:.1f} s"
        line = f"{short}  {train}  {val}  {seconds}" if not self.name.position else f"{self.name.text}: {short}  {val}"
        whole = (
            f"{self.name.text}: {short}  {train}  {measured(row, 'train')}  val_loss {row['val_loss']:.4f}  "
            f"{val}  {row['train_seconds']:.1f} s  {row['images_per_second']:,.0f} images/s"
        )
        is_due = self.live is None and not self.name.in_table and time.monotonic() >= self.next_line
        if self.verbose or not is_due:
            log.log(logging.INFO if self.verbose else logging.DEBUG, whole)  # DEBUG goes to train.log alone
            return
        self.next_line = time.monotonic() + (PERIOD if self.name.position else 0.0)
        log.info(line)


def measured(row: Row, part: str) -> str:
    """Format the metric that is shown of training (`train`) or validation images (`val`), such as `val_acc 0.9000`."""
    name = next(f"{part}_{name}" for name in SHOWN[part] if f"{part}_{name}" in row)
    return f"{name} {row[name]:.4f}"


def time_left(loop: LoopState, epochs: int, batches: int) -> float | None:
    """Return the seconds that training has left, by the median of the finished epochs, else by the steps so far."""
    if loop.history:
        epoch = median(row["train_seconds"] + row["eval_seconds"] for row in loop.history)
    elif loop.step_in_epoch:
        epoch = loop.seconds / loop.step_in_epoch * batches
    else:
        return None
    return max(0.0, (epochs - loop.epoch + 1) * float(epoch) - loop.seconds)


def fit(facts: list[str], width: int) -> str:
    """Join as many of the facts, from the first, as a width has room for."""
    while len(facts) > 1 and len("  ".join(facts)) > width:
        facts = facts[:-1]
    return "  ".join(facts)

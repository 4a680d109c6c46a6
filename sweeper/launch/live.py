"""The live table of a sweep that this process launches: the table of `watch`, and above it what runs print."""

import codecs
import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rich.console import Console
from rich.live import Live

from sweeper.display import Above, lines_above
from sweeper.runs.signals import STOPS
from sweeper.sweep.saved import read_plan
from sweeper.sweep.statuses import collect
from sweeper.sweep.watch import LEAST_PERIOD, period_after
from sweeper.sweep.watch_table import draw_fitting

READ_AT_ONCE = 65536  # bytes
Decoder = codecs.getincrementaldecoder("utf-8")


class LiveTable:
    """Redraws the table of a sweep in a thread while runs train, as a context. Nothing of it stays behind.

    The thread always empties the pipes of the workers, since a full pipe would stop their training.

    Args:
        folder: the sweep's.
        outputs: the standard output and errors of the processes that train; may grow meanwhile.
    """

    def __init__(self, folder: Path, outputs: list[Connection]) -> None:
        self.folder, self.outputs = folder, outputs
        self.console = Console()
        self.writers: dict[Connection, tuple[codecs.IncrementalDecoder, Above]] = {}
        self.is_over = threading.Event()
        self.closing = ExitStack()

    def __enter__(self) -> "LiveTable":
        self.closing.enter_context(lines_above(self.console))
        self.live = self.closing.enter_context(
            Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=False)
        )
        thread = threading.Thread(target=self.show, daemon=True)
        thread.start()
        self.closing.callback(thread.join)
        self.closing.callback(self.is_over.set)
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()
        self.print_output(0.0)

    def show(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # they interrupt the main thread, which may wait
        next_drawing = 0.0
        while not self.is_over.is_set():
            if time.monotonic() >= next_drawing:
                begin = time.monotonic()
                self.draw()
                next_drawing = time.monotonic() + period_after(time.monotonic() - begin)
            self.print_output(LEAST_PERIOD / 10)

    def draw(self) -> None:
        with suppress(Exception):  # the sweep's folder was removed, say: the last table stays, and runs train on
            plan = read_plan(self.folder) | {"command": None}  # this process starts what is waiting
            self.live.update(
                draw_fitting(self.folder.name, plan, collect(self.folder, plan), self.console), refresh=True
            )

    def print_output(self, timeout: float) -> None:
        """Print what runs have written since the last time, or within a time in seconds."""
        deadline = time.monotonic() + timeout
        while ready := wait(list(self.outputs), max(0.0, deadline - time.monotonic())):
            for connection in ready:
                assert isinstance(connection, Connection)
                self.print_from(connection)
            if 0 < timeout < time.monotonic() - deadline + timeout:
                return  # they write without end: the table's turn

    def print_from(self, connection: Connection) -> None:
        decoder, above = self.writers.setdefault(connection, (Decoder("replace"), Above(self.console)))
        try:
            content = os.read(connection.fileno(), READ_AT_ONCE)
        except OSError:
            content = b""
        if content:
            above.write(decoder.decode(content))
            return
        above.finish()
        del self.writers[connection]
        self.outputs.remove(connection)
        connection.close()

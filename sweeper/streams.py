"""Standard streams that cannot end a run. Only the standard library here: it comes before all other imports."""

import io
import os
import select
import sys
import threading
from contextlib import suppress
from typing import Any

SILENCE = 0.3  # seconds


class Discarding(io.FileIO):
    """A descriptor that discards what cannot be written: a reader or a terminal is gone, a disk is full.

    The first time, a line on standard error says so.
    """

    has_failed = False

    def write(self, content: Any, /) -> int:
        left = memoryview(content).cast("B")
        size = left.nbytes
        try:
            while left:
                count = super().write(left)
                if count is None:  # a full pipe that another process made non-blocking
                    select.select([], [self], [])
                left = left[count or 0 :]
        except OSError as error:
            if not self.has_failed:
                self.has_failed = True
                self.report(error)
        return size

    def report(self, error: OSError) -> None:
        line = f"warning: standard output is lost ({error.strerror}); the program continues\n"
        if self.fileno() == 1:
            with suppress(OSError):
                os.write(2, line.encode())


def open_closed_streams() -> None:
    """Open /dev/null for each closed standard stream, so that no file of the program gets its descriptor."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free descriptor: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def announce_start(sentence: str) -> None:
    """Print what is done, on a terminal, if a command has printed nothing after `SILENCE` seconds.

    Commands with other flags than -m print something short and end.
    """
    flags = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    if sys.stderr.isatty() and not set(flags) - {"-m", "--multirun"}:
        timer = threading.Timer(SILENCE, lambda: os.write(2, f"{sentence}\n".encode()))
        timer.daemon = True
        timer.start()


def discard_output() -> None:
    """Let standard output lead to /dev/null, so that what could not be written to it is no error again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def protect_streams() -> None:
    """Let a process train on whatever happens to its standard output and errors, see `Discarding`.

    Characters that the locale's encoding lacks are written as escapes.
    """
    open_closed_streams()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):  # replaced already, here or by a caller that captures it
            continue
        stream.flush()
        raw = Discarding(descriptor, "w", closefd=False)
        safe = io.TextIOWrapper(
            raw if stream.write_through else io.BufferedWriter(raw),  # python -u
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, safe)

"""Signals that ask to stop. Only the standard library here: it comes before all other imports."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

# Ctrl-C, kill, a terminal that closes, and those that batch systems send before a limit: SIGUSR2 Slurm, SIGUSR1 and
# SIGUSR2 Grid Engine, SIGXCPU where processor time is limited.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
INSISTING = (
    signal.SIGINT,
    signal.SIGTERM,
)  # a second one stops immediately; the others may repeat


def handled_stops() -> list[signal.Signals]:
    """Return the signals to handle: all of STOPS; not SIGHUP under nohup, whose process outlives its terminal."""
    return [which for which in STOPS if which != signal.SIGHUP or signal.getsignal(which) != signal.SIG_IGN]


def exit_on_stops() -> None:
    """Let a signal end this process with a message, wherever no run and no sweep handles it.

    It raises SystemExit; a second signal ends the process immediately.
    """

    def exit_at_once(signum: int, _: FrameType | None) -> None:
        os._exit(128 + signum)

    def exit_with_sentence(signum: int, _: FrameType | None) -> None:
        for which in handled_stops():
            signal.signal(which, exit_at_once)
        with suppress(OSError):  # written as a system call: the signal may have come within a print
            start = "\n" if os.isatty(2) else ""  # a terminal's line may have a progress bar, and shows ^C
            os.write(2, f"{start}stopped by {signal.Signals(signum).name}; no run was in training\n".encode())
        sys.exit(128 + signum)

    for which in handled_stops():
        signal.signal(which, exit_with_sentence)


def ignore_signal(signum: int, frame: FrameType | None) -> None:
    """Ignore a signal that another process receives and passes on as another signal."""


class StopFlag:
    """A context that records the first stop signal in `signum`; a second SIGINT or SIGTERM interrupts immediately.

    In a Slurm job later signals are ignored: Slurm sends several for one stop, and kills a job that takes too long.

    Python delivers signals to the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopFlag":
        if threading.current_thread() is threading.main_thread():
            for which in handled_stops():
                if signal.getsignal(which) is not ignore_signal:
                    self.before[which] = signal.signal(which, self.note)
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self.before.items():
            signal.signal(which, handler)

    def note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        elif signum in INSISTING and "SLURM_JOB_ID" not in os.environ:
            raise KeyboardInterrupt

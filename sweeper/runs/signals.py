"""Signals as a flag that the training loop checks between steps."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# Signals that ask a run to stop. Slurm jobs get SIGUSR2 before their time limit.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def ignore_signal(signum: int, frame: FrameType | None) -> None:
    """Ignore a signal that another process receives and passes on as another signal."""


class StopFlag:
    """A context that records the first stop signal in `signum`; a second one interrupts immediately.

    In a Slurm job later signals are ignored: Slurm sends several for one stop, and kills a job that takes too long.

    Python delivers signals to the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopFlag":
        if threading.current_thread() is threading.main_thread():
            for which in STOPS:
                if signal.getsignal(which) is not ignore_signal:
                    self.before[which] = signal.signal(which, self.note)
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self.before.items():
            signal.signal(which, handler)

    def note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum = signum
        elif "SLURM_JOB_ID" not in os.environ:
            raise KeyboardInterrupt

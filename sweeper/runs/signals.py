"""Signals as a flag that the training loop looks at between steps."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# What asks a run to stop. SIGUSR2 is what Slurm jobs get before their time is up.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def passed_over(signum: int, frame: FrameType | None) -> None:
    """The handler of a signal that another process takes for this one, and passes on as another."""


class StopFlag:
    """Within `with`, the first signal that asks to stop is noted in `signum`, and a second one interrupts at once.

    Not so in a Slurm job: Slurm sends several for one stop, and kills by itself what takes too long.

    Python delivers signals to the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopFlag":
        if threading.current_thread() is threading.main_thread():
            for which in STOPS:
                if signal.getsignal(which) is not passed_over:
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

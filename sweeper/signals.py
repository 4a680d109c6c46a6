"""Signals as a flag that the training loop looks at between steps."""

import signal
import threading
from types import FrameType
from typing import Any


def passed_over(signum: int, frame: FrameType | None) -> None:
    """The handler of a signal that another process takes for this one, and passes on as another."""


class StopFlag:
    """Within `with`, the first SIGINT or SIGTERM is noted in `signum`, and a second one interrupts at once.

    Python delivers signals to the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopFlag":
        if threading.current_thread() is threading.main_thread():
            for which in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(which) is not passed_over:
                    self.before[which] = signal.signal(which, self.note)
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self.before.items():
            signal.signal(which, handler)

    def note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise KeyboardInterrupt
        self.signum = signum

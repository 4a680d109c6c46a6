"""Garbage collection, paused while nearly nothing that is created is garbage: searching takes a tenth of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def collect_again() -> None:
    """End the pause of a program's start: what was imported and composed is not searched later either."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the collection meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

"""A progress bar on standard error, where that is a terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

T = TypeVar("T")


@contextmanager
def progress(total: int, things: str = "images") -> Iterator[Callable[[int], None]]:
    """Show progress over so many things; yield what is called with the number of those just done."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(things, total=total)
        yield lambda done: bar.advance(task, done)


def tracked(items: Sequence[T], things: str) -> Iterator[T]:
    """Yield each item, and show progress over them."""
    with progress(len(items), things) as advance:
        for item in items:
            yield item
            advance(1)

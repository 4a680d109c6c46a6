"""Text in a terminal: lines as wide as it is, displays that are redrawn, log lines above them. No torch here."""

import io
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

FAILED = "failed: "  # the beginning of a line about a run that failed
CANNOT_REDRAW = ("dumb", "unknown")  # values of TERM
UNLIMITED = 100_000  # characters across, of a file
DEFAULT_WIDTH = 80  # of a terminal that does not know its own
TO_COPY = ("next: ", "python ")  # the beginnings of lines with a command, which is copied in one piece
# A command at the end of a line: outside of quotes, neither `; ...` nor another sentence follows.
FINAL_COMMAND = re.compile(r""": (python (?:'[^']*'|"[^"]*"|(?!; |\. [A-Z])[^'"])*)$""")


def can_redraw(stream: Any) -> bool:
    """Return whether a stream is a terminal that moves its cursor."""
    return bool(stream.isatty()) and os.environ.get("TERM") not in CANNOT_REDRAW


def stdout_console(width: int = UNLIMITED) -> Any:
    """Return rich's console of standard output.

    Args:
        width: characters across where that is no terminal, even if FORCE_COLOR asks for a terminal's colors there.
    """
    from rich.console import Console

    if sys.stdout.isatty():
        return Console()
    colors: Any = "standard" if os.environ.get("FORCE_COLOR") else None
    return Console(width=width, force_terminal=False, color_system=colors)


def fold(text: str, stream: Any, indent: int = 2) -> str:
    """Break lines that are wider than a terminal between words; leave other streams, and commands to copy, as they are.

    Args:
        stream: where the text is printed.
        indent: characters by which further lines are indented more than the first.
    """
    if not stream.isatty():
        return text
    width = width_of(stream)
    return "\n".join(
        line if len(line) <= width or line.startswith(TO_COPY) else fold_line(line, width, indent)
        for line in text.split("\n")
    )


def width_of(terminal: Any) -> int:
    """Return the characters across of a stream that is a terminal; COLUMNS in the environment takes precedence."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    with suppress(OSError, ValueError, AttributeError):  # a stream without a file, or one that is closed
        return os.get_terminal_size(terminal.fileno()).columns or DEFAULT_WIDTH
    return DEFAULT_WIDTH


def fold_line(line: str, width: int, indent: int) -> str:
    """Break a line; a command at its end, `...: python train.py ...`, gets a line of its own, however long it is."""
    margin = " " * min(len(line) - len(line.lstrip()) + indent, width // 2)
    command = FINAL_COMMAND.search(line)
    lines = textwrap.wrap(
        line if command is None else line[: command.start(1) - 1],
        width,
        subsequent_indent=margin,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines if command is None else [*lines, f"{margin}{command[1]}"])


def print_sentence(sentence: str, stream: Any = None) -> None:
    """Print a sentence, on standard output by default, see `fold`."""
    stream = stream or sys.stdout
    print(fold(sentence, stream), file=stream)


def exit_with_error(sentence: str) -> None:
    """Print the sentence to standard error and exit with status 1."""
    sys.exit(fold(f"error: {sentence}", sys.stderr))


class FoldingHandler(logging.StreamHandler[Any]):
    """Log lines for people, see `fold`."""

    def format(self, record: logging.LogRecord) -> str:
        return fold(super().format(record), self.stream)


class Above(io.TextIOBase):
    """A stream whose lines are printed by a console, above its live display; lines about failures in red."""

    def __init__(self, console: Any) -> None:
        self.console, self.rest = console, ""

    def write(self, text: str, /) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.print(line)
        return len(text)

    def print(self, line: str) -> None:
        from rich.text import Text

        self.console.print(Text(line, style="red" if line.startswith(FAILED) else ""))

    def finish(self) -> None:
        """Print what has no end of line yet."""
        if self.rest:
            self.write("\n")


@contextmanager
def lines_above(console: Any) -> Iterator[None]:
    """Print the log's lines that go to a terminal above the live display of a console."""
    above = Above(console)
    with ExitStack() as restored:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
                restored.callback(handler.setStream, handler.stream)
                handler.setStream(above)
        yield
    above.finish()


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error while something takes long, if that is a terminal; nothing stays behind.

    Within another call, the bar is below the other one.

    Args:
        what: is done, in front of the bar.
        total: steps to do.

    Yields:
        A function that is called with the number of steps that have just been done.
    """
    if not can_redraw(sys.stderr):
        yield lambda done: None
        return
    with ExitStack() as closing:
        bars = BARS.get()
        if bars is None:
            bars = closing.enter_context(new_bars())
            closing.callback(BARS.reset, BARS.set(bars))
        task = bars.add_task(what, total=total)
        closing.callback(bars.remove_task, task)
        yield lambda done: bars.advance(task, done)


BARS: ContextVar[Any] = ContextVar("BARS", default=None)  # the bars that are shown


@contextmanager
def new_bars() -> Iterator[Any]:
    """Show rich's progress bars, with the log's lines above them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with lines_above(console), Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        yield bars


def format_clock(seconds: float) -> str:
    """Format seconds as hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"

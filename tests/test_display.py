"""Displays: consoles of files and terminals, log lines above a display, progress bars."""

import io
import logging
import os
import sys
import termios
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from sweeper import display
from sweeper.display import (
    Above,
    FoldingHandler,
    can_redraw,
    exit_with_error,
    fold,
    lines_above,
    print_sentence,
    progress,
    stdout_console,
    width_of,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch, term: str = "xterm") -> Terminal:
    """Let standard output and errors be a terminal of 60 columns."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.mark.parametrize(("forced", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_a_file_is_never_cut_whatever_force_color_says(
    forced: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ({"COLUMNS": "40"} | forced).items():
        monkeypatch.setenv(name, value)
    stdout_console().print(Text("x" * 500, style="red"))
    printed = capsys.readouterr().out
    assert "x" * 500 in printed
    assert ("\x1b" in printed) == colored


def test_a_terminal_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    use_terminal(monkeypatch)
    assert stdout_console().width == 60


WIDE = f"  planned: {'cross-entropy loss ' * 4}{'x' * 70}"  # with a word wider than the terminal


def test_lines_wider_than_a_terminal_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    lines = fold(f"short\n{WIDE}\n", terminal).split("\n")
    assert lines == [
        "short",
        "  planned: cross-entropy loss cross-entropy loss",
        "    cross-entropy loss cross-entropy loss",
        f"    {'x' * 70}",
        "",
    ]
    assert fold(WIDE, io.StringIO()) == WIDE
    assert fold(WIDE, terminal, 9).split("\n")[1].startswith(" " * 11 + "cross")


def test_commands_are_printed_in_one_piece_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    for command in ("next: python -m sweeper effects ", "python train.py -m "):
        assert fold(command + WIDE, terminal) == command + WIDE
    sentence = "error: model=mlp,cnn has several values; use -m to sweep over them"
    assert fold(f"{sentence}: python train.py -m {WIDE}", terminal).split("\n") == [
        "error: model=mlp,cnn has several values; use -m to sweep",
        "  over them:",
        f"  python train.py -m {WIDE}",
    ]
    quoted = f"python train.py -m {WIDE} 'data.root=a; b. C: python d'"
    assert fold(f"{sentence}: {quoted}", terminal).endswith(f"\n  {quoted}")


@pytest.mark.parametrize("words", ["; or write model=[mlp,cnn] for a list", ". Tab completion: eval"])
def test_a_command_with_words_after_it_is_part_of_the_sentence(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = f"use -m to sweep over them: python train.py -m model=mlp,cnn{words}"
    lines = fold(sentence, use_terminal(monkeypatch)).split("\n")
    assert lines[0].startswith("use -m to sweep over them: python train.py -m")
    assert " ".join(map(str.strip, lines)) == sentence and max(map(len, lines)) <= 60


def test_lines_are_as_wide_as_the_terminal_that_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal:
        termios.tcsetwinsize(theirs, (24, 47))
        assert width_of(terminal) == 47
        assert max(map(len, fold("word " * 40, terminal).split("\n"))) in range(43, 48)
        for typed, width in (("60", 60), ("0", 47), ("wide", 47)):
            monkeypatch.setenv("COLUMNS", typed)
            assert width_of(terminal) == width
        termios.tcsetwinsize(theirs, (0, 0))
        assert width_of(terminal) == 80
    assert width_of(terminal) == width_of(Terminal()) == width_of(None) == 80  # closed, and without a file


def test_sentences_errors_and_the_log_are_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, sentence = use_terminal(monkeypatch), "word " * 30 + "end"
    print_sentence(sentence)
    print_sentence(sentence, sys.stderr)
    FoldingHandler(terminal).emit(logging.LogRecord("name", logging.INFO, "", 0, "%s", (sentence,), None))
    with pytest.raises(SystemExit) as ended:
        exit_with_error(sentence)
    lines = f"{terminal.getvalue()}{ended.value.code}".splitlines()
    assert len(lines) == 4 * 3 and max(map(len, lines)) <= 60
    assert sum(line.count("word") for line in lines) == 4 * 30


@pytest.mark.parametrize(("term", "redrawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_dumb_terminal_is_not_redrawn(term: str, redrawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_redraw(use_terminal(monkeypatch, term)) == redrawn
    assert not can_redraw(io.StringIO())


def test_lines_above_a_display_are_whole_and_failures_red() -> None:
    file = io.StringIO()
    above = Above(Console(file=file, force_terminal=True, width=80, color_system="standard"))
    above.write("one\nfailed: t")
    assert file.getvalue() == "one\n"
    above.write("wo\nthree")
    above.finish()
    assert file.getvalue() == "one\n\x1b[31mfailed: two\x1b[0m\nthree\n"


def test_the_log_goes_above_a_display_only_where_it_goes_to_a_terminal() -> None:
    terminal, file = Terminal(), io.StringIO()
    handlers = [logging.StreamHandler(stream) for stream in (terminal, file)]
    root, shown = logging.getLogger(), io.StringIO()
    try:
        for handler in handlers:
            root.addHandler(handler)
        with lines_above(Console(file=shown, width=80)):
            root.error("inside")
        root.error("outside")
    finally:
        for handler in handlers:
            root.removeHandler(handler)
    assert (shown.getvalue(), terminal.getvalue()) == ("inside\n", "outside\n")
    assert file.getvalue() == "inside\noutside\n"


def test_progress_within_progress_is_one_display_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with progress("planning", 2) as outer:
        with progress("decoding", 3) as inner:
            bars: Any = display.BARS.get()
            inner(2)
            assert [(task.description, task.completed, task.total) for task in bars.tasks] == [
                ("planning", 0, 2),
                ("decoding", 2, 3),
            ]
        outer(1)
        assert [task.completed for task in bars.tasks] == [1]
    assert display.BARS.get() is None
    assert terminal.getvalue().rstrip("\r").endswith("\x1b[1A\x1b[2K\x1b[?25h")  # both lines are erased


def test_progress_is_quiet_where_errors_are_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("planning", 2) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")

"""The live table of a sweep that this process launches: what runs print is above it, and nothing of it stays."""

import io
import os
import re
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from rich.console import Console
from watching import job, make, save

from sweeper.launch import live as module
from sweeper.launch.live import LiveTable


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=20, color_system=None)
    monkeypatch.setattr(module, "Console", lambda: console)
    return file


def wait_until(file: io.StringIO, text: str) -> None:
    end = time.monotonic() + 20
    while text not in file.getvalue():
        assert time.monotonic() < end, file.getvalue()
        time.sleep(0.01)


def test_output_of_workers_is_above_the_table(tmp_path: Path, screen: io.StringIO) -> None:
    folder = save(tmp_path, [job("a-0123456789", "seed=0"), job("b-0123456789", "seed=1")])
    make(tmp_path, "a-0123456789", "running")
    outputs: list[Connection] = []
    with LiveTable(folder, outputs):
        wait_until(screen, "sweep a-sweep: 0 of 2 ended")
        read, written = Pipe(duplex=False)
        outputs.append(read)  # a worker that starts later
        os.write(written.fileno(), b"failed: seed=0 0123456789: \xc3")
        os.write(written.fileno(), b"\xbc\nrest without end")
        wait_until(screen, "failed: seed=0 0123456789: ü")
        written.close()  # it has died
        wait_until(screen, "rest without end")
    assert outputs == []
    assert "seed=0 0123456789 │ running" in screen.getvalue()
    # the table's lines are erased at its end
    assert re.search(r"(\x1b\[1A\x1b\[2K){8,}$", screen.getvalue().removesuffix("\x1b[?25h"))


def test_more_output_than_a_pipe_holds_blocks_no_worker(tmp_path: Path, screen: io.StringIO) -> None:
    folder = save(tmp_path, [job("a", "seed=0")])
    read, written = Pipe(duplex=False)
    with LiveTable(folder, [read]):
        for _ in range(40):
            os.write(written.fileno(), b"x" * 9999 + b"\n")
        os.write(written.fileno(), b"last line\n")
    assert "last line" in screen.getvalue()
    written.close()
    read.close()


def test_a_sweep_that_is_removed_ends_nothing(tmp_path: Path, screen: io.StringIO) -> None:
    folder = save(tmp_path, [job("a", "seed=0")])
    read, written = Pipe(duplex=False)
    with LiveTable(folder, [read]):
        wait_until(screen, "0 of 1 ended")
        (folder / "sweep.json").unlink()
        os.write(written.fileno(), b"still here\n")
        wait_until(screen, "still here")
    written.close()
    read.close()

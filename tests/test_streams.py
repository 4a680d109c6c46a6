"""Standard streams that are closed, broken, full, hung up or too narrow for a character end no program."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import REPOSITORY

from sweeper import streams
from sweeper.streams import announce_start

PROTECTED = "from sweeper.streams import protect_streams\nprotect_streams()\n"
PRINT = "for text in 'abc': print(text, flush=True)\n"


def run(*arguments: str, stdout: int, stderr: int = subprocess.PIPE, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run Python; streams that are descriptors are closed here afterwards."""
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(command, cwd=REPOSITORY, stdout=stdout, stderr=stderr, text=True, check=False, **how)
    finally:
        for stream in {stdout, stderr} - {subprocess.PIPE}:
            os.close(stream)


def broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def hung_up_terminal() -> int:
    master, terminal = os.openpty()
    os.close(master)
    return terminal


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(
    ("open_stream", "reason"),
    [
        (broken_pipe, "Broken pipe"),
        (hung_up_terminal, "Input/output error"),
        (full_disk, "No space left on device"),
    ],
)
def test_a_program_outlives_its_standard_output(open_stream: Any, reason: str) -> None:
    done = run("-c", PROTECTED + PRINT, stdout=open_stream())
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"warning: standard output is lost ({reason}); the program continues\n"


def test_a_program_outlives_its_standard_errors() -> None:
    code = "import sys\nprint('a', file=sys.stderr)\nprint('b')"
    done = run("-c", PROTECTED + code, stdout=subprocess.PIPE, stderr=broken_pipe())
    assert (done.returncode, done.stdout) == (0, "b\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_file_never_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "print('a', flush=True); print('b', file=sys.stderr); file.write(str(file.fileno())); file.close()\n"
        "print(all(os.get_inheritable(number) for number in range(3)) or 1 / 0)"
    )
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, PROTECTED + code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int((tmp_path / "file").read_text()) > 2


def test_nothing_is_lost_in_a_pipe_that_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    parts: list[bytes] = []

    def read() -> None:
        while part := os.read(reader, 4096):
            parts.append(part)

    thread = threading.Thread(target=read)
    process = subprocess.Popen(
        [sys.executable, "-c", f"{PROTECTED}print('x' * 300_000)"], cwd=REPOSITORY, stdout=writer
    )
    os.close(writer)
    thread.start()
    assert process.wait(60) == 0
    thread.join()
    os.close(reader)
    assert b"".join(parts) == b"x" * 300_000 + b"\n"


def test_unbuffered_output_is_written_at_once() -> None:
    code = "import os, sys\nsys.stdout.write('a'); os.write(1, b'b'); sys.stdout.write('c')"
    assert run("-u", "-c", f"{PROTECTED}{code}", stdout=subprocess.PIPE).stdout == "abc"


def test_characters_that_the_locale_lacks_are_escaped() -> None:
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": ""}
    done = run("-c", f"{PROTECTED}print('gr\\u00f6\\u00dfer')", stdout=subprocess.PIPE, env=env)
    assert (done.returncode, done.stdout) == (0, "gr\\xf6\\xdfer\n")


@pytest.mark.parametrize("open_stream", [broken_pipe, hung_up_terminal, full_disk])
def test_a_reader_of_records_ends_quietly_or_in_a_sentence(open_stream: Any) -> None:
    done = run("-m", "sweeper", "--help", stdout=open_stream())
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.stderr.startswith("error: ") == (open_stream is not broken_pipe)


def test_train_py_outlives_its_standard_output() -> None:
    done = run("train.py", "--help", stdout=full_disk())
    assert done.returncode == 0
    assert done.stderr == "warning: standard output is lost (No space left on device); the program continues\n"


@pytest.mark.parametrize(
    ("arguments", "is_terminal", "printed"),
    [
        (["-m", "seed=0,1"], True, "starting\n"),
        ([], True, "starting\n"),
        (["-m", "seed=0,1"], False, ""),
        (["--help"], True, ""),
        (["--cfg", "job"], True, ""),
    ],
)
def test_a_start_that_takes_long_says_what_it_does(
    arguments: list[str],
    is_terminal: bool,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(streams, "SILENCE", 0.0)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))
    announce_start("starting")
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert capfd.readouterr().err == printed

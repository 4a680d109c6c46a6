"""Files that are replaced atomically and read defensively. No torch here: readers start fast."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from sweeper.errors import WriteError

SCHEMA = 2  # of every JSON file; 1 was version 0.1's


def home(path: str) -> str:
    """Return a path with the home folder in place of a leading `~`."""
    return str(Path(path).expanduser()) if path == "~" or path.startswith("~/") else path


def with_home(argument: str) -> str:
    """Return an argument KEY=~/PATH with the home folder, which shells replace at the beginning of a word alone."""
    key, equals, value = argument.partition("=")
    return f"{key}{equals}{home(value)}"


def exists(path: Path) -> bool:
    """Return whether a path exists; one that no path can be, such as a name of 300 characters, does not."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises OSError for those)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file or folder that is being written in an error of the system.

    Raises:
        WriteError: it cannot be written.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replace a file atomically: write a temporary file next to it, sync, rename.

    Without sync, readers still never see half a file, but a power loss may lose it.

    Raises:
        WriteError: the file cannot be written; the previous one is kept.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path), partial.open("wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        with writing(path):
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a text file atomically, see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"), sync=sync)


def write_json(path: Path, content: dict[str, Any], *, sync: bool = True) -> None:
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n", sync=sync)


def parse_json(content: bytes) -> Any:
    """Parse JSON that this program wrote; orjson does it in less than half the time, but knows no NaN.

    Raises:
        ValueError, RecursionError: it is not whole.
    """
    try:
        return orjson.loads(content)
    except ValueError:
        return json.loads(content.decode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the file's content; None where it is missing, torn, foreign or of another schema."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else None


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else that a file may contain."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    except OverflowError:
        return None

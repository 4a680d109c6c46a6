"""Files replaced atomically and read without trust, and the numbers in them. No torch here: readers start fast."""

import json
import math
import os
from pathlib import Path
from typing import Any

SCHEMA = 1


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Replace a file atomically: written beside it, synced, renamed.

    Unsynced, no reader sees half of it either, but what a machine that loses power keeps of it is not sure.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any], *, sync: bool = True) -> None:
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n", sync=sync)


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content; None where it is missing, torn, foreign or of another schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == SCHEMA else None


def number(value: Any) -> float | None:
    """A finite number; None for whatever else a file may hold."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    except OverflowError:
        return None

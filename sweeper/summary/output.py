"""Text and files that leave the program: records can neither control a terminal nor break a format."""

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sweeper.errors import UserError, format_names
from sweeper.files import write_bytes, writing

TABLE = "table"  # the format of a terminal
SUFFIXES = {TABLE: ".txt", "csv": ".csv", "md": ".md", "latex": ".tex", "json": ".json"}


def output_format(format: str, output: Path | None, formats: Collection[str]) -> str:
    """Return the format of an output: the chosen one, or that of the file's suffix where none is chosen.

    Args:
        format: TABLE where none is chosen.
        output: the file; None for standard output.
        formats: those of the command, TABLE among them.

    Raises:
        UserError: the format is unknown, or the suffix is that of another format or of no format.
    """
    if format not in formats:
        raise UserError(f"--format {format}: unknown format; choose from {format_names(formats)}")
    if output is None or output.suffix.lower() in ("", SUFFIXES[TABLE], f".{format}"):
        return format
    found = next((name for name in formats if SUFFIXES[name] == output.suffix.lower()), None)
    if found is None:
        valid = format_names(SUFFIXES[name] for name in formats)
        raise UserError(f"--output {output}: unsupported file type; choose from {valid}")
    if format not in (TABLE, found):
        raise UserError(f"--output {output}: the suffix of --format {format} is {SUFFIXES[format]}")
    return found


def printable(text: str) -> str:
    """Return one line without characters that control a terminal or that XML forbids."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def json_text(content: Any) -> str:
    """Return standard JSON: NaN as null, infinity as text."""
    return json.dumps(without_nan(content), indent=1, default=lambda value: value.item()) + "\n"


def without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    return content


def write_output(path: Path, content: str | bytes) -> None:
    """Replace a file, or create it with its folder. Half a surrogate pair, which no file may hold, becomes `?`.

    Raises:
        UserError: the path is a folder or a device, or it cannot be written.
    """
    file = path.resolve()  # the target of a link, so that the link stays
    if file.exists() and not file.is_file():
        raise UserError(f"{path} is not a regular file")
    with writing(path):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, content if isinstance(content, bytes) else content.encode(errors="replace"))

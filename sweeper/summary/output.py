"""What leaves for a terminal or a file: text of records that neither obeys, and files that may be replaced."""

import json
import math
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.files import write_text


def printable(text: str) -> str:
    """One line, without what controls a terminal or is no XML."""
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


def json_text(content: Any) -> str:
    """JSON as the standard has it: what is not a number as null, infinity as text."""
    return json.dumps(finite(content), indent=1, default=lambda value: value.item()) + "\n"


def finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    return content


def write_output(path: Path, content: str | bytes) -> None:
    """Replace a file, or make it with its folder; half a surrogate pair, which no file may hold, is a question mark.

    Raises:
        UserError: the path is a folder or a device.
    """
    file = path.resolve()  # where a link leads, so that the link stays
    if file.exists() and not file.is_file():
        raise UserError(f"{path} is no file that could be replaced")
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        write_text(file, content.encode(errors="replace").decode())

"""Files with choices from outside of the package, as texts. No torch here: readers compare their code with a record's.

A file is a module named by its file name, so that moving it changes nothing.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sweeper.runs.syntax import Module, parse_extension

Files = tuple[str, ...]  # paths; a later file may import from earlier ones
TEXTS: dict[str, str] = {}  # by path; as loaded, where the file was loaded in this process


def name_of(file: str) -> str:
    """Return the name of the module that a file is."""
    return Path(file).stem


def text_of(file: str) -> str:
    """Return the text of a file, as this process read it first: it does not run the code of later edits.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    if file not in TEXTS:
        TEXTS[file] = Path(file).read_bytes().decode("utf-8-sig")
    return TEXTS[file]


@cache
def parsed(file: str, registries: Sequence[str], siblings: Sequence[str]) -> Module:
    """Parse a file; an empty module if it is not valid Python.

    Args:
        registries, siblings: see sweeper.runs.syntax.parse_extension.
    """
    try:
        return parse_extension(text_of(file), registries, siblings)
    except (OSError, UnicodeDecodeError, SyntaxError):
        return Module()


def readable(files: Sequence[str]) -> Files:
    """Return the files that are there."""
    return tuple(file for file in files if file in TEXTS or Path(file).is_file())


def imported_names(module: Module) -> set[str]:
    """Return the names of the other files that a file imports from."""
    return {origin or name for origin, name in module.imports.values()}

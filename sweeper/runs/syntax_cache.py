"""Parsed modules, kept on disk: parsing the package takes longer than all else that it takes to find a finished run.

A module is kept under a hash of its text and of the code that parses it, so that no change is missed.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.errors import WriteError
from sweeper.files import write_text
from sweeper.runs import syntax
from sweeper.runs.syntax import Definition, Module, digest, parse

PARSER = f"{sys.version} {Path(syntax.__file__).read_text(encoding='utf-8')}"


def parse_all(texts: Mapping[str, str], file: Path) -> dict[str, Module]:
    """Parse modules; take those that have not changed from a file, and keep all of them there if it can be written.

    Args:
        texts: of the modules, by name.
        file: has the modules of the last call.
    """
    known = read(file)
    keys = {name: digest(PARSER + text) for name, text in texts.items()}
    modules = {name: known.get(keys[name]) or parse(text) for name, text in texts.items()}
    if not known.keys() >= {*keys.values()}:
        content = json.dumps({keys[name]: asdict(module) for name, module in modules.items()})
        with suppress(WriteError, OSError):
            file.parent.mkdir(exist_ok=True)
            write_text(file, f"{digest(content)}\n{content}", sync=False)
    return modules


def read(file: Path) -> dict[str, Module]:
    """Return the modules in a file by their hashes; none where it is missing or damaged."""
    try:
        checksum, _, content = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    return {key: module_of(it) for key, it in json.loads(content).items()} if checksum == digest(content) else {}


def module_of(kept: dict[str, Any]) -> Module:
    """Return a module as `parse` returned it, from JSON, which has lists for tuples."""

    def definitions(of: dict[str, Any]) -> dict[str, Definition]:
        return {
            name: Definition(digest, line, [(it[0], it[1]) for it in names], settings)
            for name, (digest, line, names, settings) in of.items()
        }

    return Module(
        definitions(kept["definitions"]),
        {name: (origin, there) for name, (origin, there) in kept["imports"].items()},
        {name: definitions(of) for name, of in kept["registries"].items()},
    )

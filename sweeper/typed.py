"""The command line as people type it, rewritten to what Hydra reads."""

import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString
from hydra.errors import HydraException

from sweeper.config import PATHS, Config, settings
from sweeper.errors import UserError
from sweeper.files import home, with_home

NOW = re.compile(r"\$\{now:([^{}]+)\}")
# A value that is meant for Hydra's grammar: quoted, a list, a dict, an interpolation, a function.
MEANT = re.compile(r"""["'\[{]|.*\$\{|(choice|glob|range|interval|sort|shuffle|tag|str|int|float|bool|json_str)\(""")


def rewrite(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of train.py as Hydra reads them.

    `${now:%H-%M}` becomes the time of the start: plan, jobs, retries and the command that resumes have the same. A
    text that Hydra's grammar does not read, or reads as a number, is quoted, such as a path with a blank or an umlaut.
    `~/` at the beginning of a path becomes the home folder, which a shell leaves alone after a dotted key.

    Raises:
        UserError: there is a flag that Hydra does not have.
    """
    start = datetime.now()
    timed = [NOW.sub(lambda found: start.strftime(found[1]), argument) for argument in arguments]
    return overrides_last([rewrite_text(argument) for argument in timed])


def overrides_last(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Hydra's flags first, which its parser reads nowhere else.

    Raises:
        UserError: there is a flag that Hydra does not have.
    """
    read, unread = get_args_parser().parse_known_args(list(arguments))
    for flag in (argument for argument in unread if argument.startswith("--")):
        key, equals, value = flag.lstrip("-").partition("=")
        following = arguments[list(arguments).index(flag) + 1 :]
        if not equals and following and "=" not in following[0]:
            value = following[0]
        raise UserError(f"{flag}: there is no such flag, and settings have no dashes; write {key}={value or 'VALUE'}")
    overrides = [*(read.overrides or []), *unread]
    return [argument for argument in arguments if argument not in overrides] + overrides


def rewrite_text(argument: str) -> str:
    """Return an override of a setting that is a text, or a flag, as Hydra reads it, and another argument as it is."""
    key, equals, value = argument.partition("=")
    if key.startswith("--"):
        return with_home(argument)
    if not equals or (key not in text_settings() and key.lstrip("+") != "extend"):
        return argument
    if key.lstrip("+") == "extend":
        return f"{key}=[{','.join(map(bare_or_quoted, extensions([argument])))}]"
    typed = value.split(",")
    if any(map(MEANT.match, typed)) or is_read(argument):
        return argument
    parts = [home(part) if key in PATHS else part for part in typed]
    return f"{key}={','.join(part if is_read(f'{key}={part}') else quote(part) for part in parts)}"


def extensions(arguments: Sequence[str]) -> list[str]:
    """Return the files of the last `extend=...`: FILE, FILE,FILE or [FILE,FILE], as typed or as Hydra reads them.

    It may be written `++extend=...`, which Hydra takes as well.
    """
    typed = [argument for argument in arguments if argument.lstrip("+").startswith("extend=")]
    if not typed:
        return []
    value = typed[-1].partition("=")[2]
    files: list[Any] = value.split(",")
    if MEANT.match(value):
        with suppress(HydraException):
            read = OverridesParser.create().parse_override(typed[-1]).value()
            read = read.list if isinstance(read, ChoiceSweep) else read
            files = read if isinstance(read, list) else [read]
    names = [str(getattr(file, "text", file)) for file in files if file is not None]
    return [home(name) for name in names if name not in ("", "null")]


def bare_or_quoted(value: str) -> str:
    """Return an element of a list as Hydra reads it."""
    return value if re.fullmatch(r"[\w./-]+", value, re.ASCII) else quote(value)


@cache
def text_settings() -> frozenset[str]:
    return frozenset(key for key, item, _ in settings(Config()) if str(item.type).startswith("str"))


def is_read(override: str) -> bool:
    """Return whether Hydra reads the values of an override as they are typed: neither not at all nor as numbers."""
    try:
        read = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return False
    values = read.list if isinstance(read, ChoiceSweep) else [read]
    typed = override.partition("=")[2].split(",")
    return [str(value) for value in values if value is not None] == [text for text in typed if text != "null"]


def quote(value: str) -> str:
    return QuotedString(value, Quote.double).with_quotes()


def as_multirun() -> str:
    """Return the command that started this process as a sweep."""
    program, *arguments = sys.argv
    return shlex.join(["python", program, "-m", *arguments])

"""Exceptions that end a run early, and error messages for users: what is wrong and what is valid."""

import difflib
import logging
import sys
from collections.abc import Iterable
from functools import cache

FRIENDLY_ERRORS = (
    "SWEEPER_FRIENDLY_ERRORS"  # environment variable, set while this program prints messages instead of tracebacks
)


class UserError(ValueError):
    """A setting, a file or a folder is wrong. Only the message is shown."""


class Diverged(Exception):
    """The loss is not finite."""


class Stopped(Exception):
    """A signal asked training to stop; the state after a complete step has been saved."""


def format_names(names: Iterable[str]) -> str:
    """Format valid names for a sentence: sorted, separated by commas."""
    return ", ".join(sorted(names)) or "none"


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean X?)` if a valid name is similar to the given one, else an empty string.

    A prefix that all names share is ignored.
    """
    close = difflib.get_close_matches(name.removeprefix(prefix), [valid.removeprefix(prefix) for valid in names], n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


@cache
def warn_once(log: logging.Logger, sentence: str) -> None:
    """Log a warning the first time that this process has it."""
    log.warning("%s", sentence)


def exit_with_error(sentence: str) -> None:
    """Print the sentence to standard error and exit with status 1."""
    sys.exit(f"error: {sentence}")

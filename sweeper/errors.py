"""What ends a run early, and the sentences that a user reads: the thing, the valid choices, no traceback."""

import difflib
import sys
from collections.abc import Iterable

SENTENCES = "SWEEPER_SENTENCES"  # in the environment while this program keeps tracebacks to itself


class UserError(ValueError):
    """Something in the user's hands is wrong: a setting, a file, a folder. The message is all that is shown."""


class Diverged(Exception):
    """The loss is not finite any more."""


class Stopped(Exception):
    """A signal asked training to stop; weights and progress are as after a whole step, so that it can go on."""


def choices(names: Iterable[str]) -> str:
    """The valid names as they are shown in a sentence: sorted, separated by commas."""
    return ", ".join(sorted(names)) or "none"


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """The question `did you mean X?` where a valid name looks like the given one, else the empty string.

    A prefix that all of them share is not looked at.
    """
    close = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in names], n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


def leave(sentence: str) -> None:
    """Print the sentence to standard error and exit with status 1."""
    sys.exit(f"error: {sentence}")

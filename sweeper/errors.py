"""Exceptions that end a run early, and error messages for users: what is wrong and what is valid."""

import difflib
import logging
import os
import re
import traceback
from collections.abc import Iterable, Sequence
from functools import cache

FRIENDLY_ERRORS = (
    "SWEEPER_FRIENDLY_ERRORS"  # environment variable, set while this program prints messages instead of tracebacks
)
LAST_FRAMES = 2  # frames of a traceback that are printed; train.log has all of them


class UserError(ValueError):
    """A setting, a file or a folder is wrong. Only the message is shown."""


class WriteError(UserError, OSError):
    """A file or a folder cannot be written: a full disk, a limit, missing permissions. The message names it."""


class UnusedSetting(UserError):
    """A setting is given that the choice of its group does not use.

    Attributes:
        key: the setting's.
        choice: of the group, as group=choice.
    """

    def __init__(self, message: str, key: str = "", choice: str = "") -> None:
        super().__init__(message)
        self.key, self.choice = key, choice


class Diverged(Exception):
    """The loss is not finite."""


class Stopped(Exception):
    """A signal asked training to stop; the state after a complete step has been saved."""


def format_names(names: Iterable[str]) -> str:
    """Format valid names for a sentence: sorted, separated by commas."""
    return ", ".join(sorted(names)) or "none"


def enumerate_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`, in this order."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return ` (did you mean X?)` if a valid name is similar to the given one, else an empty string.

    Upper case, and a prefix that all names share, are ignored.
    """
    valid = {full.removeprefix(prefix).lower(): full for full in names}
    close = difflib.get_close_matches(name.removeprefix(prefix).lower(), valid, n=1)
    return f" (did you mean {valid[close[0]]}?)" if close else ""


WARNED: set[str] = set()  # sentences of warn_once, of this process and of the one that started it


def warn_once(log: logging.Logger, sentence: str) -> None:
    """Log a warning unless this process, or the one that started it as a worker, has logged it before."""
    if sentence not in WARNED:
        WARNED.add(sentence)
        log.warning("%s", sentence)


@cache
def tell_once(log: logging.Logger, sentence: str) -> None:
    """Log what the first of several checks found, without its repetitions in this process."""
    log.info("%s", sentence)


def release_frames(error: BaseException) -> None:
    """Drop the functions that an error left, closures included: launchers keep errors, and with them model and data.

    A cleared frame still holds its function, and this its closure's variables, so tracebacks are cut as well.
    """
    traceback.clear_frames(error.__traceback__)
    link = error.__traceback__
    while link is not None:
        following, link.tb_next = link.tb_next, None
        link = following
    for earlier in dict.fromkeys((error.__cause__, error.__context__)):
        if earlier is not None:
            release_frames(earlier)


def innermost_package(error: BaseException) -> str:
    """Return whose function an error comes from, `sweeper` or `hydra`, by way of whatever library."""
    packages = [
        str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((name for name in reversed(packages) if name in ("sweeper", "hydra")), "")


def explain_memory(error: BaseException) -> str:
    """Return a sentence where an error is a lack of memory, torch's allocators included; else an empty string."""
    text = str(error)
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text
    if not is_torchs and not isinstance(error, MemoryError):
        return ""
    asked = re.search(r"tried to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
    return f"not enough memory{f' for {asked[1]}' if asked else ''}: choose a smaller model or batch_size"


def format_error(error: Exception) -> str:
    """Format an error in a job: a sentence, or the end of its traceback (all of it with HYDRA_FULL_ERROR=1)."""
    if FRIENDLY_ERRORS not in os.environ:
        return "".join(traceback.format_exception(error))
    known = f"{error}" if isinstance(error, UserError | Diverged) else explain_memory(error)
    sentence = known or f"{type(error).__name__}: {error}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note not in sentence)
    frames = "" if known else last_frames(error)
    return f"{sentence}{notes}\n{frames}".rstrip()


def last_frames(error: Exception) -> str:
    """Format the last frames of an error's traceback; none where Hydra raised it, since its code is not at fault."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_from_hydra = modules[-1].partition(".")[0] in ("hydra", "omegaconf")
    return "" if is_from_hydra else "".join(traceback.format_tb(error.__traceback__)[-LAST_FRAMES:])


def reason_of(error: Exception, run_id: str) -> str:
    """Format an error in a run that a line names already: without the run's ID."""
    return format_error(error).replace(f" ({run_id})", "").removeprefix(run_id).strip(": ")

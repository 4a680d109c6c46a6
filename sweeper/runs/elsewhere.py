"""Overrides for a trained run whose images or files moved, or on another machine. No torch here: readers start fast."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.errors import UserError, format_names
from sweeper.ranges import DEVICE
from sweeper.runs.directory import RunDirectory

KEYS = ("data.root", "data.cache", "device", "extend")
OVERRIDE = re.compile(r"([a-z_0-9.]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Elsewhere:
    """Where the images of a run are now, and what computes.

    Attributes:
        data: changed settings of data: `root`, `cache`.
        device: auto, cpu or cuda; None for the recorded one.
        extend: the files with its choices from outside of the package; none for the recorded ones.
    """

    data: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    extend: tuple[str, ...] = ()


def split_overrides(words: Sequence[str], allowed: Collection[str] = KEYS) -> tuple[list[str], Elsewhere]:
    """Separate `KEY=VALUE` from the other words of a command line; the name of an existing file is no override.

    Args:
        words: as typed.
        allowed: the keys that have an effect on this command, of KEYS.

    Raises:
        UserError: a key or a value is unknown, or has no effect on this command.
    """
    others, given = [], {}
    for word in words:
        match = OVERRIDE.fullmatch(word)
        if match is None or Path(word).exists():
            others.append(word)
            continue
        key, value = match.groups()
        if key not in allowed:
            why = "has no effect on this command" if key in KEYS else "is no setting of this command"
            raise UserError(f"{word}: {key} {why}; choose from {format_names(allowed)}")
        if not value:
            raise UserError(f"{word}: {key} needs a value")
        given[key] = value
    device = given.pop("device", None)
    if device is not None:
        check_device(device)
    extend = tuple(filter(None, given.pop("extend", "").removeprefix("[").removesuffix("]").split(",")))
    return others, Elsewhere({key.removeprefix("data."): value for key, value in given.items()}, device, extend)


def for_run(where: Elsewhere, record: RunDirectory, others: Iterable[RunDirectory]) -> Elsewhere:
    """Leave out the changed settings of data that this run does not use, where another run uses them."""
    used = settings_of_data(record)
    any_used = {key for other in others for key in settings_of_data(other)}
    return replace(where, data={key: value for key, value in where.data.items() if key in used or key not in any_used})


def settings_of_data(record: RunDirectory) -> set[str]:
    """Return the settings of data that a run was given a value for."""
    config = (record.run() or {}).get("config")
    data = config.get("data") if isinstance(config, dict) else None
    return {key for key, value in data.items() if value is not None} if isinstance(data, dict) else set()


def check_device(device: str) -> None:
    """Refuse an unknown device.

    Raises:
        UserError: it is unknown.
    """
    if not DEVICE.holds(device):
        raise UserError(f"device={device} is invalid: must be {DEVICE.text}")

"""Settings of a config: default, meaning and valid range. This module imports neither torch nor Hydra."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import format_names


@dataclass
class Check:
    """A range: `text` completes the sentence "must be ...", `holds` tests a number or a name."""

    text: str
    holds: Callable[[Any], bool]


def at_least(low: float) -> Check:
    return Check(f"at least {low}", lambda value: value >= low)


def above(low: float) -> Check:
    return Check(f"above {low}", lambda value: value > low)


def between(low: float, high: float) -> Check:
    return Check(f"from {low} to {high}", lambda value: low <= value <= high)


def from_up_to(low: float, high: float) -> Check:
    return Check(f"at least {low} and below {high}", lambda value: low <= value < high)


def inside(low: float, high: float) -> Check:
    return Check(f"above {low} and below {high}", lambda value: low < value < high)


def above_up_to(low: float, high: float) -> Check:
    return Check(f"above {low} and at most {high}", lambda value: low < value <= high)


def one_of(*names: str) -> Check:
    return Check(f"one of {format_names(names)}", lambda value: value in names)


DEVICE = Check(
    "one of auto, cpu, cuda; CUDA_VISIBLE_DEVICES=N chooses a GPU", lambda value: value in ("auto", "cpu", "cuda")
)


def is_class_weight(value: Any) -> bool:
    """Return whether this is `balanced` or the weight of a class."""
    return value == "balanced" or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)


def is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def setting(help: str, default: Any = None, check: Check | None = None) -> Any:
    """Return a dataclass field with its meaning and its valid range (for a list: the range of each element)."""
    return field(default=default, metadata={"help": help, "check": check})


def listing(help: str) -> Any:
    """Return a setting that is an empty list by default."""
    return field(default_factory=list, metadata={"help": help, "check": None})

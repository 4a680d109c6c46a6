"""Settings of a config: default, meaning and valid range. This module imports neither torch nor Hydra."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, make_dataclass
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


GROWN: dict[type, type] = {}  # by a group's dataclass, its subclass with the settings that extensions add


def group(schema: type) -> Any:
    """Return the dataclass field of a group: an instance of its dataclass, with the settings that extensions add."""

    def instance() -> Any:
        return GROWN.get(schema, schema)()

    return field(default_factory=instance)


def add_settings(schema: type, types: Mapping[str, str], help: str) -> None:
    """Add settings to a group: configs made from now on have them.

    Args:
        schema: the group's dataclass, or the one with settings that were added before.
        types: of the settings, such as `int`; each of them may be null, and is by default.
        help: their meaning.
    """
    schema = next((base for base, grown in GROWN.items() if grown is schema), schema)
    metadata = {"help": help, "check": None, "added": True}
    fields = [(name, f"{of} | None", field(default=None, metadata=metadata)) for name, of in types.items()]
    names = {"__module__": schema.__module__, "__doc__": schema.__doc__}
    GROWN[schema] = make_dataclass(schema.__name__, fields, bases=(GROWN.get(schema, schema),), namespace=names)

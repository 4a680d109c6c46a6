"""Exclusion of combinations by the rules of sweep.exclude."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from operator import attrgetter
from typing import Any

from sweeper.config import settings
from sweeper.errors import UserError, format_names, nearest
from sweeper.sweep.compose import Composed


def value_of(composed: Composed, key: str) -> Any:
    """Return the value that an exclusion compares: a group's preset, or a setting.

    Raises:
        UserError: there is no such group or setting.
    """
    if key in composed.presets:
        return composed.presets[key]
    with suppress(AttributeError):
        value = attrgetter(key)(composed.config)
        if not is_dataclass(value):
            return value
    names = [*composed.presets, *(name for name, _, _ in settings(composed.config))]
    raise UserError(f"sweep.exclude: {key} is neither a group nor a setting{nearest(key, names)}")


def matches(composed: Composed, rule: dict[str, Any]) -> bool:
    """Return whether a combination has all values of a rule."""
    return all(value_of(composed, str(key)) == value for key, value in rule.items())


def excluding_rule(composed: Composed) -> dict[str, Any] | None:
    """Return the first rule that excludes a combination; None where none does."""
    return next((rule for rule in composed.config.sweep.exclude if matches(composed, rule)), None)


def format_value(value: Any) -> str:
    """Format a value of an exclusion as it is typed, such as null or true."""
    return value if isinstance(value, str) else json.dumps(value)


def check_exclusions(combinations: Sequence[Composed]) -> None:
    """Check that the rules occur in the sweep: every key and value, and all of a rule together.

    Raises:
        UserError: a rule would exclude nothing.
    """
    for rule in combinations[0].config.sweep.exclude:
        for key, value in rule.items():
            found = [value_of(composed, str(key)) for composed in combinations]
            if value not in found:
                texts = set(map(format_value, found))
                if isinstance(value, str) and value in texts:
                    raise UserError(
                        f'sweep.exclude: {key}="{value}" is a text, which no combination has; write {value}'
                    )
                raise UserError(
                    f"sweep.exclude: no combination has {key}={format_value(value)}; the sweep's values: "
                    f"{format_names(texts)}"
                )
        if not any(matches(composed, rule) for composed in combinations):
            together = " with ".join(f"{key}={format_value(value)}" for key, value in rule.items())
            raise UserError(f"sweep.exclude: no combination has {together}; leave that rule out")

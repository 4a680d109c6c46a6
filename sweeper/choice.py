"""From a group's config to the function that its name chooses, with its settings filled in.

A function declares the settings that it uses as keyword-only arguments. Nothing else says so: not the YAML files, not a
table. So a new choice is one function, one line in its module's dict and one YAML file.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, get_type_hints

from sweeper.errors import UserError, choices

SLOTS = ("activation", "norm", "dropout")


def keyword_only(function: Callable[..., Any]) -> list[str]:
    """Names of the function's keyword-only arguments, those already filled in left out."""
    filled = function.keywords if isinstance(function, partial) else {}
    parameters = inspect.signature(function.func if isinstance(function, partial) else function).parameters.values()
    return [item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.name not in filled]


def choose(group: str, config: Any, functions: Mapping[str, Callable[..., Any]], common: tuple[str, ...] = ()) -> Any:
    """The function named by `config.name`, its settings taken from the config (functools.partial).

    Args:
        group: the group's name, for the sentences.
        config: the group's dataclass.
        functions: the group's choices.
        common: settings that belong to every choice and not to its function.

    Raises:
        UserError: there is no such name, or a setting is given that the choice does not use, or one is missing.
    """
    if config.name not in functions:
        raise UserError(f"{group}.name={config.name} is unknown; choose from {choices(functions)}")
    function = functions[config.name]
    used = [name for name in keyword_only(function) if name not in SLOTS]
    given = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "name"}
    for name, value in given.items():
        if value is not None and name not in used and name not in common:
            valid = f"uses {choices([*used, *common])}" if used or common else "has no settings"
            raise UserError(f"{group}.{name}={value} is not used by {group}={config.name}, which {valid}")
    hints = get_type_hints(function)
    for name in [*used, *common]:
        if given[name] is None and name not in common and type(None) not in getattr(hints[name], "__args__", ()):
            raise UserError(f"{group}.{name}=null: {group}={config.name} needs a value")
    return partial(function, **{name: given[name] for name in used})

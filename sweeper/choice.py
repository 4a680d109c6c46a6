"""From a group's config to the function that its name chooses, with its settings filled in.

A function declares the settings that it uses as keyword-only arguments. There is no other declaration,
in YAML or in a table. So a new choice is one function, one line in its module's registry and one YAML file.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache, partial
from typing import Any, get_type_hints

from sweeper.errors import UnusedSetting, UserError, format_names

# A group's choices by name. runs/fingerprint.py recognizes registries by this annotation and does not follow them, so
# that a new entry changes no other choice.
Registry = dict[str, Any]

SLOTS = ("activation", "norm", "dropout")  # arguments of models that are choices of other groups

signature = cache(inspect.signature)  # a plan needs those of all steps for every job


def keyword_only(function: Callable[..., Any]) -> list[str]:
    """Return the names of the function's keyword-only arguments that are not filled in yet."""
    filled = function.keywords if isinstance(function, partial) else {}
    parameters = signature(function.func if isinstance(function, partial) else function).parameters.values()
    return [item.name for item in parameters if item.kind is item.KEYWORD_ONLY and item.name not in filled]


def choose(group: str, config: Any, functions: Mapping[str, Callable[..., Any]], common: tuple[str, ...] = ()) -> Any:
    """Return the function that `config.name` chooses, its settings taken from the config (functools.partial).

    Args:
        group: the group's name, for error messages.
        config: the group's dataclass.
        functions: the group's choices.
        common: settings that every choice has, outside its function.

    Raises:
        UserError: the name is unknown, a setting is given that the choice does not use, or a setting is missing.
    """
    if config.name not in functions:
        raise UserError(f"{group}.name={config.name} is unknown; choose from {format_names(functions)}")
    function = functions[config.name]
    used = [name for name in keyword_only(function) if name not in SLOTS]
    given = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "name"}
    for name, value in given.items():
        if value is not None and name not in used and name not in common:
            valid = f"uses {format_names(dict.fromkeys([*used, *common]))}" if used or common else "has no settings"
            key, choice = f"{group}.{name}", f"{group}={config.name}"
            raise UnusedSetting(f"{key}={value} is not used by {choice}, which {valid}", key, choice)
    hints = get_type_hints(function)
    for name in [*used, *common]:
        if given[name] is None and name not in common and type(None) not in getattr(hints[name], "__args__", ()):
            raise UserError(f"{group}.{name}=null: {group}={config.name} requires a value")
    return partial(function, **{name: given[name] for name in used})


def choose_steps(group: str, config: Any, functions: Mapping[str, Callable[..., Any]]) -> dict[str, Any]:
    """Return the steps of a group whose choices combine: those whose settings are given, in the registry's order.

    A step is off where its settings are off, see `is_off`. The first setting without a default turns it on, or the
    first of all where they have defaults, as in an extension; false and "none" are values of the others. A setting
    whose argument has a default may be null, and is left out where it is given as that default, so that both are the
    same step.

    Raises:
        UserError: only some of a step's settings are given.
    """
    steps = {}
    for name, function in functions.items():
        defaults = {key: signature(function).parameters[key].default for key in keyword_only(function)}
        given = {key: value for key in defaults if (value := getattr(config, key, None)) is not None}
        if all(map(is_off, given.values())):
            continue
        required = [key for key, default in defaults.items() if default is inspect.Parameter.empty] or [*defaults][:1]
        missing = [key for key in required if key not in given or (key == required[0] and is_off(given[key]))]
        if missing:
            raise UserError(f"{group}.{missing[0]}=null: the step {name} requires a value")
        kept = {key: it for key, it in given.items() if key in required or it != defaults[key]}
        steps[name] = partial(function, **kept)
    return steps


def is_off(value: Any) -> bool:
    """Return whether a setting's value turns its step off: null, false or "none"."""
    return value is None or value is False or value == "none"

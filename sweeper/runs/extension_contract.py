"""The contract that a choice from outside of the package keeps, and what follows from its signature.

It is that of the package's own choices: the positional arguments of its registry, and keyword-only arguments, which are
its settings. Their annotations are the settings' types, and their defaults the preset of its name.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sweeper.choice import SLOTS, is_off
from sweeper.errors import UserError, format_names
from sweeper.runs.fingerprint import STEPS

SIMPLE = ("int", "float", "bool", "str", "list[int]", "list[float]", "list[str]")
RESERVED = ("name", "null", "none", "true", "false", "nan", "inf")
# Settings that every choice of a group has, outside of its function, as the package's presets have them.
SHARED: dict[str, dict[str, Any]] = {
    "optimizer": {"decay_norm_and_bias": True, "bias_lr_factor": 1.0, "layer_decay": 1.0},
    "data": {"cache": "data/cache", "val_size": None, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
}


@dataclass(frozen=True)
class Registered:
    """An entry of a registry in a file.

    Attributes:
        given, file: the file's path as typed, and where it was read.
        line: of the entry.
        path: the registry, as sweeper.runs.fingerprint names it.
        variable: the registry's name in the file.
    """

    given: str
    file: str
    line: int
    path: str
    variable: str
    group: str
    name: str
    function: Any

    @property
    def where(self) -> str:
        return f"extend={self.given}, line {self.line}: {self.variable}[{self.name}]"

    @property
    def definition(self) -> str:
        """Where its function is defined, if that is in the file; else where the entry is."""
        code = inspect.unwrap(self.function).__code__
        is_here = code.co_filename == self.file and code.co_name != "<lambda>"
        return f"extend={self.given}, line {code.co_firstlineno}: {code.co_name}" if is_here else self.where


@dataclass(frozen=True)
class Choice:
    """A choice that keeps the contract.

    Attributes:
        entry: its entry.
        preset: the settings of the preset of its name; none for a step that its defaults leave off.
        added: the type of each setting that the group's schema lacks, such as `int`.
    """

    entry: Registered
    preset: Mapping[str, Any]
    added: Mapping[str, str] = field(default_factory=dict)


def read_choice(entry: Registered, schema: type, examples: Sequence[Callable[..., Any]]) -> Choice:
    """Check an entry of a registry, and return what the signature of its function says.

    Args:
        schema: the group's dataclass.
        examples: the package's functions in this registry.

    Raises:
        UserError: it does not keep the contract.
    """
    name, function, group = entry.name, entry.function, entry.group
    if not isinstance(name, str) or not name.isidentifier() or name.lower() in RESERVED:
        raise UserError(
            f"{entry.where}: name it by an identifier, such as my_{group}, but not {format_names(RESERVED)}"
        )
    if not inspect.isfunction(function):
        raise UserError(f"{entry.where} is a {type(function).__name__}; it must be a function")
    check_positional(entry, examples)
    parameters = inspect.signature(function).parameters.values()
    settings = [item for item in parameters if item.kind is item.KEYWORD_ONLY]
    settings = [item for item in settings if group != "model" or item.name not in SLOTS]
    known = {item.name: item for item in fields(schema)}
    types_of = {item.name: type_of(entry, item, known) for item in settings}
    added = {key: of for key, of in types_of.items() if key not in known}
    if group in STEPS and (not settings or len(added) < len(settings)):
        taken = format_names(types_of.keys() - added.keys())
        problem = f"{taken} belongs to another step of {group}" if settings else "nothing turns this step on"
        raise UserError(f"{entry.definition}: {problem}; a step needs a keyword-only setting of its own")
    defaults = {item.name: None if item.default is item.empty else item.default for item in settings}
    check_defaults(entry, defaults, types_of)
    if group in STEPS:
        required = [item for item in settings if item.default is item.empty] or settings[:1]
        is_on = not any(is_off(defaults[item.name]) for item in required)
        return Choice(entry, defaults if is_on else {}, added)
    return Choice(entry, {"name": name} | SHARED.get(group, {}) | defaults, added)


def check_positional(entry: Registered, examples: Sequence[Callable[..., Any]]) -> None:
    """Check that a function has as many positional arguments as one of the package's functions, and its marks.

    Raises:
        UserError: it has not.
    """
    shape = positional(entry.function)
    examples = [example for example in examples if not has_defaults(example)]
    alike = [example for example in examples if len(positional(example) or ()) == len(shape or ())]
    if shape is None or has_defaults(entry.function) or not alike:
        forms = {f"({', '.join([*(positional(example) or ()), '*', 'SETTINGS'])})": None for example in examples}
        raise UserError(
            f"{entry.definition} has the arguments {inspect.signature(entry.function)}; a function in {entry.variable} "
            f"has {' or '.join(forms)}, where settings follow a * and have annotations"
        )
    marks = set.intersection(*(set(vars(example)) for example in alike)) - vars(entry.function).keys()
    if marks:
        raise UserError(
            f"{entry.definition} lacks the decorator that sets {format_names(marks)}, such as @needs_draws(1) of "
            "sweeper.data.draws"
        )


def has_defaults(function: Callable[..., Any]) -> bool:
    """Return whether a positional argument of a function has a default, as `own` has, which stands for two kinds."""
    parameters = inspect.signature(function).parameters.values()
    return any(item.kind is item.POSITIONAL_OR_KEYWORD and item.default is not item.empty for item in parameters)


def positional(function: Callable[..., Any]) -> list[str] | None:
    """Return the required positional arguments of a function; None where it takes any number of arguments."""
    parameters = inspect.signature(function).parameters.values()
    if any(item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters):
        return None
    return [item.name for item in parameters if item.kind is not item.KEYWORD_ONLY and item.default is item.empty]


def type_of(entry: Registered, item: inspect.Parameter, known: Mapping[str, Any]) -> str:
    """Return the type of a setting without None, as the schema writes it.

    A setting that the schema has is of its type, and its function may get something else, such as the class weights.

    Raises:
        UserError: it has no annotation, or none of a setting, or not that of the schema.
    """
    place, key = f"{entry.definition}: the setting {item.name}", f"{entry.group}.{item.name}"
    if item.name in (*SLOTS, *RESERVED) or item.name.startswith("_"):
        raise UserError(f"{place} cannot have this name; choose another")
    try:
        hint = get_type_hints(entry.function).get(item.name)
    except Exception as error:
        raise UserError(f"{entry.definition}: an annotation has no meaning: {error}") from error
    if hint is None:
        raise UserError(f"{place} has no annotation; write {item.name}: float, or another of {format_names(SIMPLE)}")
    given = type_name(hint)
    schema = str(known[item.name].type).removesuffix(" | None") if item.name in known else given
    if given not in SIMPLE and item.name not in known:
        raise UserError(
            f"{place} is annotated with {given}; choose from {format_names(SIMPLE)}, with or without | None"
        )
    if given in SIMPLE and schema in SIMPLE and given != schema:
        raise UserError(f"{place} is annotated with {given}, but {key} is of type {schema}; choose another name")
    return schema


def type_name(hint: Any) -> str:
    """Write an annotation without None, such as `list[int]`."""
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    names = [it.__name__ if get_origin(it) is None and isinstance(it, type) else str(it) for it in alternatives]
    return " | ".join(name for name in names if name != "NoneType")


def check_defaults(entry: Registered, defaults: Mapping[str, Any], types_of: Mapping[str, str]) -> None:
    """Check that each default is of its setting's type.

    Raises:
        UserError: one is not.
    """
    for key, value in defaults.items():
        if value is not None and types_of[key] in SIMPLE and not is_of(value, types_of[key]):
            raise UserError(f"{entry.definition}: the default {key}={value!r} is not of its type, {types_of[key]}")


def is_of(value: Any, type_name: str) -> bool:
    """Return whether a value is of a type of SIMPLE."""
    kinds: dict[str, Any] = {"int": int, "float": int | float, "bool": bool, "str": str}
    if type_name.startswith("list"):
        inner = type_name[len("list[") : -1]
        return isinstance(value, list | tuple) and all(is_of(element, inner) for element in value)
    return isinstance(value, kinds[type_name]) and (type_name == "bool" or not isinstance(value, bool))

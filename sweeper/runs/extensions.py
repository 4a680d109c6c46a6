"""Choices from outside of the package: Python files whose registries join the package's (the setting `extend`).

A file defines dicts of functions that are named as the package's registries. Loading it checks everything first, then
adds its choices to these registries, and to the schema the settings that are new.
"""

import importlib
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from sweeper.choice import Registry
from sweeper.config import Config
from sweeper.data.source import Source
from sweeper.errors import UserError, format_names
from sweeper.ranges import add_settings
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extension_contract import Choice, Registered, read_choice
from sweeper.runs.extension_files import TEXTS, Files, imported_names, name_of, text_of
from sweeper.runs.extension_module import check_imports, check_name, entries, execute, read, syntax_of
from sweeper.runs.fingerprint import EXTENDABLE, STEPS, chosen_code, extensions_of
from sweeper.runs.syntax import digest

CONF = Path(__file__).parent.parent.parent / "conf"
DATASETS = EXTENDABLE["DATASETS"]


@dataclass(frozen=True)
class Extension:
    """A file that is loaded.

    Attributes:
        given: its path as typed, by which a config names it.
        file: where it was read.
        imported: names of other files that it imports from.
    """

    given: str
    file: str
    choices: Sequence[Choice]
    imported: Collection[str]


LOADED: dict[str, Extension] = {}  # by name, in the order of loading


def load(given: Sequence[str], texts: Sequence[tuple[str, str, str]] = ()) -> None:
    """Load files, unless they are loaded already.

    Args:
        given: paths as typed, relative to the working directory.
        texts: path as typed, path and text of each file that another process loaded; these files are not read.

    Raises:
        UserError: a file cannot be loaded, or a choice in it does not fit; the sentence names file and line.
    """
    for path, file, text in texts:
        TEXTS.setdefault(file, text)
        load_file(path, file)
    for path in given:
        load_file(path, str(Path(path).absolute()))
    imported = {name for extension in LOADED.values() for name in extension.imported}
    for name, extension in list(LOADED.items()):
        if not extension.choices and name not in imported:
            del LOADED[name], sys.modules[name]
            raise UserError(f"extend={extension.given} has none of the dicts {format_names(EXTENDABLE)}")


def loaded_texts() -> list[tuple[str, str, str]]:
    """Return what `load` needs in another process: path as typed, path and text of each file."""
    return [(extension.given, extension.file, text_of(extension.file)) for extension in LOADED.values()]


def loaded_files() -> Files:
    """Return the files that are loaded, in their order."""
    return tuple(extension.file for extension in LOADED.values())


def load_file(given: str, file: str) -> None:
    """Load a file, unless it is loaded already.

    Raises:
        UserError: see `load`.
    """
    name, known = name_of(file), LOADED.get(name_of(file))
    if known is not None:
        if given != known.given and file != known.file and read(given, file) != text_of(known.file):
            raise UserError(f"extend={given}: another {name}.py is loaded, {known.given}; rename one of them")
        return
    read(given, file)
    check_name(given, file)
    files = (*loaded_files(), file)
    module = execute(given, file)
    try:
        syntax = syntax_of(files)
        check_imports(given, file, files)
        choices = [
            read_choice(entry, group_class(entry.group), examples(entry)) for entry in entries(given, module, syntax)
        ]
        check_conflicts(choices)
    except UserError:
        del sys.modules[name]
        raise
    LOADED[name] = Extension(given, file, choices, imported_names(syntax))
    for choice in choices:
        entry = choice.entry
        schema = group_class(entry.group)
        if new := {key: of for key, of in choice.added.items() if not hasattr(schema, key)}:
            add_settings(schema, new, f"of {entry.group}={entry.name} in {given}")
        is_data = entry.path == DATASETS
        registry_of(entry.path)[entry.name] = keyed(entry, files) if is_data else entry.function


def registry_of(path: str) -> Registry:
    """Return a registry of the package."""
    module, _, variable = path.partition(".")
    registry: Registry = getattr(importlib.import_module(f"sweeper.{module.replace('/', '.')}"), variable)
    return registry


def examples(entry: Registered) -> list[Callable[..., Any]]:
    """Return the package's own functions in the registry of an entry."""
    loaded = [choice.entry for extension in LOADED.values() for choice in extension.choices]
    added = {other.name for other in loaded if other.path == entry.path}
    return [function for name, function in registry_of(entry.path).items() if name not in added]


def group_class(group: str) -> type:
    """Return the dataclass of a group, with the settings that were added."""
    return type(getattr(Config(), group))


def check_conflicts(choices: Sequence[Choice]) -> None:
    """Check that choices have new names, and that settings that are new to a group have one type.

    Raises:
        UserError: they have not.
    """
    types: dict[tuple[str, str], tuple[str, str]] = {}
    for choice in choices:
        entry = choice.entry
        if entry.name in registry_of(entry.path) or (CONF / entry.group / f"{entry.name}.yaml").is_file():
            raise UserError(f"{entry.where}: there is another {entry.group}={entry.name}; choose another name")
        for key, of in choice.added.items():
            other, before = types.setdefault((entry.group, key), (entry.name, of))
            if of != before or (other != entry.name and entry.group in STEPS):
                raise UserError(
                    f"{entry.definition}: {other} has a setting {key} as well, of type {before}; rename one"
                )


def keyed(entry: Registered, files: Files) -> Callable[..., Source]:
    """Return a dataset's function whose images are decoded again where its code has changed."""

    @wraps(entry.function)
    def source(**settings: Any) -> Source:
        found = entry.function(**settings)
        if not isinstance(found, Source):
            raise UserError(
                f"{entry.definition} must return a Source (sweeper.data.source), not {type(found).__name__}"
            )
        code = digest(json.dumps(chosen_code(entry.path, entry.name, files)))
        return replace(found, key=f"{found.key} {code}")

    return source


def check_loaded(given: Sequence[str]) -> None:
    """Check that the files that a config names are loaded: they are where they were typed, before it was composed.

    Raises:
        UserError: one is not.
    """
    for path in given:
        if name_of(path) not in LOADED:
            raise UserError(f"extend={path} is set in a file; type it: python train.py extend={path}")


def used(config: Config, steps: Mapping[str, Collection[str]]) -> list[Extension]:
    """Return the files that a run uses, in the order of loading.

    Args:
        config: the run's.
        steps: the steps that are on, by group.
    """
    found: list[Extension] = []
    imported: set[str] = set()
    for name, extension in reversed(LOADED.items()):
        chosen = {choice.entry.name in names_of(config, choice.entry.group, steps) for choice in extension.choices}
        if True in chosen or name in imported or config.loss.teacher is not None:
            found.insert(0, extension)
            imported |= {*extension.imported}
    return found


def load_recorded(record: RunDirectory) -> Files:
    """Load the files that a recorded run uses, and return them as they were read.

    Raises:
        UserError: one is missing, or see `load`.
    """
    run = record.run() or {}
    recorded = extensions_of(run)
    for path in recorded:
        if name_of(path) not in LOADED and not Path(path).is_file():
            missing = f"{record.run_id} uses {path}, and there is no file {Path(path).absolute()}"
            raise UserError(f"{missing}; put it back, or give extend=FOLDER/{Path(path).name}")
    load([path for path in recorded if Path(path).is_file()])
    return tuple(LOADED[name_of(path)].file for path in recorded)


def names_of(config: Config, group: str, steps: Mapping[str, Collection[str]]) -> Collection[str]:
    """Return the names of a group's choices in a config."""
    return steps[group] if group in STEPS else (getattr(config, group).name,)

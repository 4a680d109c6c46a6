"""A file with choices from outside of the package, run as a module, and the entries of its registries."""

import ast
import difflib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.errors import UserError
from sweeper.runs.extension_contract import Registered
from sweeper.runs.extension_files import Files, name_of, parsed, text_of
from sweeper.runs.fingerprint import EXTENDABLE, REGISTRIES, STEPS, modules
from sweeper.runs.syntax import Module, defined_names

GROUPS = {path: group for group, (path, _) in REGISTRIES.items()} | {path: group for group, path in STEPS.items()}
GROUPS[EXTENDABLE["DATASETS"]] = "data"
INSTALLED = {"site-packages", "dist-packages"}
ALMOST = 0.8  # similarity to the name of a registry from which another name is taken for a mistake


def read(given: str, file: str) -> str:
    """Return the text of a file.

    Raises:
        UserError: it is missing, a folder or no text.
    """
    if Path(file).is_dir():
        raise UserError(f"extend={given} is a folder; name its files: extend=[FILE.py,FILE.py]")
    try:
        return text_of(file)
    except FileNotFoundError as error:
        raise UserError(f"extend={given} is missing: there is no file {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"extend={given} cannot be read: {error}") from error


def check_name(given: str, file: str) -> None:
    """Check that a file can be a module beside all others.

    Raises:
        UserError: its name is no identifier, or that of another module.
    """
    name = name_of(file)
    if Path(file).suffix != ".py" or not name.isidentifier():
        raise UserError(f"extend={given}: it must be a Python file whose name is an identifier, such as my_tricks.py")
    if name in modules() or name in sys.stdlib_module_names or not is_free(name, file):
        raise UserError(f"extend={given}: there is another module of the name {name}; rename the file")


def is_free(name: str, file: str) -> bool:
    """Return whether neither an installed package nor an imported module has a name, but for the file itself."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == file
    found = importlib.util.find_spec(name)
    places = [] if found is None else [found.origin or "", *(found.submodule_search_locations or ())]
    return not any(INSTALLED & {*Path(place).parts} for place in places)  # not a folder beside train.py


def execute(given: str, file: str) -> ModuleType:
    """Run a file as a module of its name.

    Raises:
        UserError: it is not valid Python, or an error occurs; the sentence names the line.
    """
    name = name_of(file)
    try:
        code = compile(text_of(file), file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"extend={given}{line} is not valid Python: {getattr(error, 'msg', error)}") from error
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
        what = " ".join(f"{type(error).__name__}: {error}".split())
        beside = f"{error.name}.py" if isinstance(error, ImportError) else ""
        first = f"; name that file first: extend=[{Path(given).parent / beside},...]"
        hint = first if (Path(file).parent / beside).is_file() else ""
        raise UserError(f"extend={given}, line {lines[-1]}: {what}{hint}") from error
    return module


def syntax_of(files: Files) -> Module:
    """Return the syntax of the last file."""
    return parsed(files[-1], tuple(EXTENDABLE), tuple(map(name_of, files)))


def check_imports(given: str, file: str, files: Files) -> None:
    """Check that the code that a file imports from the package and from other files can be followed.

    Raises:
        UserError: an import is of another form.
    """
    names = {"sweeper", *map(name_of, files)}
    for node in ast.walk(ast.parse(text_of(file))):
        line = f"extend={given}, line {getattr(node, 'lineno', 1)}"
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in names:
            if any(alias.name == "*" for alias in node.names):
                raise UserError(
                    f"{line}: from {node.module} import *: name what is imported, so that it can be followed"
                )
        elif isinstance(node, ast.Import):
            for module in (alias.name for alias in node.names if alias.name.partition(".")[0] == "sweeper"):
                raise UserError(f"{line}: import {module}: write from {module} import NAME, so that it can be followed")


def entries(given: str, module: ModuleType, syntax: Module) -> Sequence[Registered]:
    """Return the entries of the registries of a module.

    Raises:
        UserError: a registry is no dict that is written out, or its name is almost that of one.
    """
    found, file = list[Registered](), str(module.__file__)
    defined: dict[str, Any] = {name: value for name, value in vars(module).items() if name not in syntax.imports}
    for variable, path in ((name, path) for name, path in EXTENDABLE.items() if name in defined):
        registry, written = defined[variable], syntax.registries.get(variable, {})
        if not isinstance(registry, dict) or {*registry} != {*written}:
            line = f"extend={given}, line {line_of(file, variable)}"
            form = f'{variable} = {{"my_{GROUPS[path]}": my_{GROUPS[path]}}}'
            raise UserError(f"{line}: {variable} must be a dict that is written out, such as {form}")
        found += [
            Registered(given, file, written[name].line, path, variable, GROUPS[path], name, function)
            for name, function in registry.items()
        ]
    dicts = [name for name, value in defined.items() if name.isupper() and isinstance(value, dict) and value]
    for name in (name for name in dicts if name not in EXTENDABLE and all(map(callable, defined[name].values()))):
        if close := difflib.get_close_matches(name, EXTENDABLE, n=1, cutoff=ALMOST):
            line = f"extend={given}, line {line_of(file, name)}"
            raise UserError(f"{line}: {name} is no registry (did you mean {close[0]}?)")
    return found


def line_of(file: str, name: str) -> int:
    """Return the line of a name's last top-level definition."""
    body = ast.parse(text_of(file)).body
    return max((statement.lineno for statement in body if name in defined_names(statement)), default=1)

"""The definitions of Python source: hashes and used names. Static analysis, standard library only."""

import ast
import hashlib
import symtable
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

OTHERS = "(top level)"  # of a file from outside: its statements that are no definitions
IGNORED = (
    "kind",
    "type_comment",
    "type_params",
)  # fields that do not matter here, or that only some Python versions have


class Definition(NamedTuple):
    """A top-level definition, or an entry of a registry.

    Attributes:
        hash: of its syntax tree, see `hash_of`; empty for an entry that is nothing but a name.
        names: the global names that it reads, see `used_names`.
        settings: a function's keyword-only arguments.
    """

    hash: str
    line: int
    names: list[tuple[str, str | None]]
    settings: list[str]


@dataclass
class Module:
    """A module's top-level definitions, its imports from this package, and the entries of its registries.

    Statements that neither define nor import, such as `if`, may change any definition; together they are the definition
    `OTHERS`. The modules that names are imported from are imports too, by their full names: two functions may import
    different things under one name.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name -> module or package, name there
    registries: dict[str, dict[str, Definition]] = field(default_factory=dict)


def parse(source: str) -> Module:
    """Parse a module; an empty one if the source is not valid Python, whose import fails anyway."""
    module = Module()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "sweeper":
            origin = "/".join(str(node.module).split(".")[1:])
            module.imports[str(node.module)] = ("", origin)
            module.imports |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions[statement.name] = definition(statement)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_registry = isinstance(statement.annotation, ast.Name) and statement.annotation.id == "Registry"
            if is_registry and isinstance(statement.value, ast.Dict):
                module.registries[statement.target.id] = entries(statement.value)
            else:
                module.definitions[statement.target.id] = definition(statement)
        elif isinstance(statement, ast.Assign):
            nodes = (node for target in statement.targets for node in ast.walk(target))
            names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
            module.definitions |= dict.fromkeys(names, definition(statement))
    return module


def definition(tree: ast.AST) -> Definition:
    """Return what is known of a definition."""
    settings = [argument.arg for argument in tree.args.kwonlyargs] if isinstance(tree, ast.FunctionDef) else []
    return Definition(hash_of(tree), getattr(tree, "lineno", 1), [*dict.fromkeys(used_names(tree))], settings)


def entries(registry: ast.Dict) -> dict[str, Definition]:
    """Return the entries of a dict that are named by strings."""
    found = {}
    for key, value in zip(registry.keys, registry.values, strict=True):
        if isinstance(key, ast.Constant):
            entry = definition(value)
            found[str(key.value)] = entry._replace(hash="") if isinstance(value, ast.Name) else entry
    return found


def parse_extension(source: str, registries: Collection[str], siblings: Collection[str]) -> Module:
    """Parse a file from outside of the package, which may be written in any way.

    A definition that is defined again, and every statement that is no definition, may change any other definition.

    Args:
        registries: names of dicts that are registries, annotated or not.
        siblings: names of the files that it may import from.

    Raises:
        SyntaxError: it is not valid Python.
    """
    tree = ast.parse(source)
    module = parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in siblings:
            module.imports[str(node.module)] = ("", str(node.module))
            module.imports |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            module.imports |= {it.asname or it.name: ("", it.name) for it in node.names if it.name in siblings}
    kept: dict[str, ast.stmt] = {}
    others: list[ast.stmt] = []
    for statement in tree.body:
        names, value = defined_names(statement), getattr(statement, "value", None)
        if isinstance(value, ast.Dict) and names and names <= {*registries}:
            module.registries |= dict.fromkeys(names, entries(value))
        elif names:
            others += [kept[name] for name in sorted(names) if name in kept]
            kept |= dict.fromkeys(names, statement)
        elif not is_ignored(statement):
            others.append(statement)
    module.definitions = {name: definition(statement) for name, statement in kept.items()}
    if others:
        module.definitions[OTHERS] = definition(ast.Module(others, []))
    return module


def defined_names(statement: ast.stmt) -> set[str]:
    """Return the names that a definition or an assignment to names defines; none for any other statement."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    nodes = [node for target in targets for node in ast.walk(target)]
    is_plain = all(isinstance(node, ast.Name | ast.Tuple | ast.List | ast.expr_context) for node in nodes)
    return {node.id for node in nodes if isinstance(node, ast.Name)} if is_plain else set()


def is_ignored(statement: ast.stmt) -> bool:
    """Return whether a statement defines nothing: an import, a text, or what a file does where it is run by itself."""
    if isinstance(statement, ast.If):
        return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test))
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)


def hash_of(tree: ast.AST) -> str:
    """Hash a syntax tree without its docstrings, the same on every version of Python."""
    return digest(canonical(tree))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def canonical(node: object) -> str:
    """Write a syntax tree as text, without docstrings and independent of the Python version."""
    if isinstance(node, list):
        return f"[{', '.join(map(canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in IGNORED}
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    parts = [f"{name}={canonical(value)}" for name, value in fields.items() if value is not None and value != []]
    return f"{type(node).__name__}({', '.join(parts)})"


def used_names(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield the global names that a definition reads, each with the attribute read off it, quoted annotations too.

    What it imports by itself is a name read off its module.
    """
    table = symtable.symtable(ast.unparse(tree), "definition", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()} | global_names(table)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
            yield node.id, None
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for part in ast.walk(annotation) if annotation is not None else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    with suppress(SyntaxError, ValueError):  # a text, such as those of Literal["3x3"]
                        yield from used_names(ast.parse(part.value, mode="eval").body)


def global_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that nested scopes read as globals, import, or read in a class that may bind them only later."""
    names = set()
    for child in table.get_children():
        for symbol in child.get_symbols():
            is_read = symbol.is_referenced() and (symbol.is_global() or child.get_type() == "class")
            names |= {symbol.get_name()} if is_read or symbol.is_imported() else set()
        names |= global_names(child)
    return names

"""The definitions of Python source: syntax trees, used names and hashes. Static analysis, standard library only."""

import ast
import hashlib
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field

IGNORED = (
    "kind",
    "type_comment",
    "type_params",
)  # fields that do not matter here, or that only some Python versions have


@dataclass
class Module:
    """A module's top-level definitions, its imports from this package, and the entries of its registries."""

    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name -> module or package, name there
    registries: dict[str, dict[str, ast.expr]] = field(default_factory=dict)


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
            module.imports |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            module.definitions[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_registry = isinstance(statement.annotation, ast.Name) and statement.annotation.id == "Registry"
            if is_registry and isinstance(statement.value, ast.Dict):
                pairs = zip(statement.value.keys, statement.value.values, strict=True)
                entries = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
                module.registries[statement.target.id] = {str(key): value for key, value in entries.items()}
            else:
                module.definitions[statement.target.id] = statement
        elif isinstance(statement, ast.Assign):
            for node in (node for target in statement.targets for node in ast.walk(target)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    module.definitions[node.id] = statement
    return module


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


def used_names(tree: ast.stmt | ast.expr) -> Iterator[tuple[str, str | None]]:
    """Yield the global names that a definition reads, each with the attribute read off it, quoted annotations too."""
    table = symtable.symtable(ast.unparse(tree), "definition", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()} | global_names(table)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
            yield node.id, None
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for part in ast.walk(annotation) if annotation is not None else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield from used_names(ast.parse(part.value, mode="eval").body)


def global_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that nested scopes read as globals."""
    names = set()
    for child in table.get_children():
        names |= {symbol.get_name() for symbol in child.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        names |= global_names(child)
    return names

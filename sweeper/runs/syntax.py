"""The definitions of Python source: syntax trees, used names and hashes. Static analysis, standard library only."""

import ast
import hashlib
import symtable
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

IGNORED = (
    "kind",
    "type_comment",
    "type_params",
)  # fields that do not matter here, or that only some Python versions have


@dataclass
class Module:
    """A module's top-level definitions, its imports from this package, and the entries of its registries.

    Attributes:
        others: the top-level statements that neither define nor import, such as `if`; they may change any definition.
    """

    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name -> module or package, name there
    registries: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    others: list[ast.stmt] = field(default_factory=list)


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
                module.registries[statement.target.id] = entries(statement.value)
            else:
                module.definitions[statement.target.id] = statement
        elif isinstance(statement, ast.Assign):
            for node in (node for target in statement.targets for node in ast.walk(target)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    module.definitions[node.id] = statement
    return module


def entries(registry: ast.Dict) -> dict[str, ast.expr]:
    """Return the entries of a dict that are named by strings."""
    pairs = zip(registry.keys, registry.values, strict=True)
    return {str(key.value): value for key, value in pairs if isinstance(key, ast.Constant)}


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
            module.imports |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            module.imports |= {it.asname or it.name: ("", it.name) for it in node.names if it.name in siblings}
    kept: dict[str, ast.stmt] = {}
    for statement in tree.body:
        names, value = defined_names(statement), getattr(statement, "value", None)
        if isinstance(value, ast.Dict) and names and names <= {*registries}:
            module.registries |= dict.fromkeys(names, entries(value))
        elif names:
            module.others += [kept[name] for name in sorted(names) if name in kept]
            kept |= dict.fromkeys(names, statement)
        elif not is_ignored(statement):
            module.others.append(statement)
    module.definitions = kept
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

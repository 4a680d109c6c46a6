"""The code that a run's result depends on: a hash per definition reached. Static, standard library alone.

Roots are the functions that build, fit, evaluate and select (group "core"), and for each group of the config the
function that it chose. From a root, follow the names that a definition uses to other definitions of the package,
through imports and annotations, but not through registries and not into configuration, files and errors. So a new
choice changes nothing, a changed choice concerns the runs that use it, and a changed loop concerns all.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
FOLLOWED = ("data", "models", "training")  # the packages whose definitions decide results
CORE = ("training/build.build", "training/loop.fit", "training/loop.evaluate")
# The registry of each group, and the choice of an effective config that does not name the group. A group without such
# a choice is a slot that the model may lack.
REGISTRIES = {
    "model": ("models.MODELS", None),
    "activation": ("models/layers.ACTIVATIONS", None),
    "norm": ("models/layers.NORMS", None),
    "dropout": ("models/layers.DROPOUTS", None),
    "init": ("models/init.INITS", "default"),
    "optimizer": ("training/optimizers.OPTIMIZERS", None),
    "scheduler": ("training/schedules.SCHEDULERS", None),
    "mixing": ("data/mixing.MIXINGS", "none"),
    "loss": ("training/losses.LOSSES", None),
    "averaging": ("training/averaging.AVERAGINGS", "none"),
    "views": ("data/views.VIEWS", "none"),
    "select": ("training/metrics.METRICS", None),
}
STEPS = "data/augmentation.STEPS"
Code = dict[str, dict[str, str]]  # group -> definition -> hash


@dataclass
class Module:
    """A module's top-level definitions, the names that it imports from followed modules, and its registries."""

    definitions: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name -> module or package, name there
    registries: dict[str, dict[str, ast.expr]] = field(default_factory=dict)


@cache
def modules() -> dict[str, Module]:
    """Parse the followed packages. Call early in a process: later edits are not what the process runs."""
    paths = [path for package in FOLLOWED for path in sorted((PACKAGE / package).glob("*.py"))]
    return {key_of(path): parse(path.read_text(encoding="utf-8")) for path in paths}


def key_of(path: Path) -> str:
    """Name a module by its path in the package, such as `training/loop`; a package by its folder."""
    relative = path.relative_to(PACKAGE).with_suffix("")
    return (relative.parent if relative.name == "__init__" else relative).as_posix()


def parse(source: str) -> Module:
    module, tree = Module(), ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "sweeper":
            origin = "/".join(str(node.module).split(".")[1:])
            module.imports |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
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
            targets = [node for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            module.definitions |= dict.fromkeys((target.id for target in targets), statement)
    return module


@cache
def syntax_hash(definition: str) -> str:
    """Hash a definition's syntax tree without its docstrings."""
    module, _, name = definition.partition(".")
    return hash_of(modules()[module].definitions[name])


def hash_of(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


@cache
def references(definition: str) -> tuple[str, ...]:
    """Return the definitions of followed modules that a definition uses directly."""
    module, _, name = definition.partition(".")
    return tuple(resolved(module, modules()[module].definitions[name]))


def resolved(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield the definitions that the names in a tree refer to."""
    for base, attribute in used_names(tree):
        found = lookup(module, base, attribute)
        if found is not None:
            yield found


def used_names(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield the names that a tree reads, each with the attribute read, less the functions' parameters and variables."""
    if isinstance(tree, ast.FunctionDef):
        arguments = tree.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        parameters = [argument for argument in every if argument is not None]
        for part in (*arguments.defaults, *arguments.kw_defaults, *tree.decorator_list):
            yield from used_names(part) if part is not None else ()
        for annotation in (*(parameter.annotation for parameter in parameters), tree.returns):
            yield from annotated_names(annotation)
        local = {parameter.arg for parameter in parameters}
        local |= {name for part in tree.body for node in ast.walk(part) for name in bound_names(node)}
        yield from ((name, read) for part in tree.body for name, read in used_names(part) if name not in local)
    elif isinstance(tree, ast.AnnAssign):
        yield from annotated_names(tree.annotation)
        yield from used_names(tree.value) if tree.value is not None else ()
    elif isinstance(tree, ast.Attribute) and isinstance(tree.value, ast.Name):
        yield tree.value.id, tree.attr
    elif isinstance(tree, ast.Name):
        yield tree.id, None
    else:
        for child in ast.iter_child_nodes(tree):
            yield from used_names(child)


def annotated_names(annotation: ast.expr | None) -> Iterator[tuple[str, str | None]]:
    """Yield the names in an annotation, which may be in quotes."""
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from used_names(ast.parse(node.value, mode="eval"))
    yield from used_names(annotation) if annotation is not None else ()


def bound_names(node: ast.AST) -> Iterator[str]:
    """Yield the name that a node binds in the function around it."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.FunctionDef):
        yield node.name


def lookup(module: str, name: str, attribute: str | None) -> str | None:
    """Return the package's definition that a name in a module refers to, through imports and re-exports, if any."""
    known = modules()
    while module in known or not module:
        found = known.get(module, Module())
        submodule = f"{module}/{name}".removeprefix("/")
        if name in found.definitions:
            return f"{module}.{name}"
        if name in found.imports:
            module, name = found.imports[name]
        elif submodule in known and attribute is not None:
            module, name, attribute = submodule, attribute, None
        else:
            return None
    return None


def closure(roots: Iterable[str]) -> dict[str, str]:
    """Return each definition reached from the roots, with its hash."""
    found: dict[str, str] = {}
    left = list(roots)
    while left:
        definition = left.pop()
        if definition not in found:
            found[definition] = syntax_hash(definition)
            left += references(definition)
    return dict(sorted(found.items()))


@cache
def core() -> dict[str, str]:
    return closure(CORE)


@cache
def chosen_code(registry: str, name: str) -> dict[str, str]:
    """Return the code of a registry's choice; empty where there is no choice of this name."""
    module, _, variable = registry.partition(".")
    entry = modules()[module].registries[variable].get(name)
    return {} if entry is None else closure(resolved(module, entry))


@cache
def steps_code(settings: tuple[str, ...]) -> dict[str, str]:
    """Return the code of the augmentation steps that have one of these settings as a keyword-only argument."""
    module, _, variable = STEPS.partition(".")
    roots = []
    for entry in modules()[module].registries[variable].values():
        for definition in resolved(module, entry):
            function = modules()[definition.partition(".")[0]].definitions[definition.partition(".")[2]]
            arguments = function.args.kwonlyargs if isinstance(function, ast.FunctionDef) else []
            roots += [definition] if {argument.arg for argument in arguments} & set(settings) else []
    return closure(roots)


def code_of(effective: dict[str, Any]) -> Code:
    """Return today's code of a run with this effective config: "core", and each group that has a function in it."""
    code: Code = {"core": core()}
    for group, (registry, default) in REGISTRIES.items():
        settings = effective.get(group)
        name = settings.get("name", group) if isinstance(settings, dict) else settings
        name = default if name is None else str(name).removeprefix("val_" if group == "select" else "")
        if name is not None:
            code[group] = chosen_code(registry, name)
    steps = effective.get("augmentation")
    code["augmentation"] = steps_code(tuple(sorted(steps))) if isinstance(steps, dict) else {}
    return code


def changed_definitions(recorded: Any, code: Code) -> list[str]:
    """Name the definitions that differ between a run's recorded code and other code, sorted."""
    if not isinstance(recorded, dict) or not all(isinstance(group, dict) for group in recorded.values()):
        return ["run.json"]  # not as this program writes it
    before, now = ({(group, name) for group in code for name in code[group].items()} for code in (recorded, code))
    return sorted({str(name) for _, (name, _) in before ^ now})

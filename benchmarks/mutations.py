"""Whether the tests of the trick modules notice a changed formula: the share of mutants that fail a test.

python -m benchmarks.mutations [MODULE...] [--limit N]    such as training/losses; about a quarter of an hour for all

A mutant is a definition with one operator, comparison, number, truth value or function (min, cos, ...) changed. It
takes the place of the definition within this process, so that everything is imported once. Survivors are printed: a
test that should notice them is missing, or nothing observable has changed.
"""

import argparse
import ast
import copy
import importlib
import inspect
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

REPOSITORY = Path(__file__).parent.parent
MODULES = (
    *(f"training/{name}" for name in ("losses", "schedules", "muon", "sam", "lion", "averaging", "parameter_groups")),
    *("training/courses", "training/momentum", "training/views", "data/mixing", "data/operations", "data/policies"),
    *("data/color", "data/augmentation", "data/views", "models/architecture", "models/init", "models/layers"),
)
# Test modules, where they have another name than the module.
TESTS = {
    "training/lion": ("training/test_optimizers.py",),
    "training/views": ("training/test_averaged_views.py",),
    "data/augmentation": ("data/test_augmentation.py", "data/test_batches.py"),
    "models/layers": ("models/test_models.py", "models/test_norms.py"),
}
OPPOSITES: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
OTHERS = {
    "min": "max", "max": "min", "cos": "sin", "sin": "cos", "floor": "ceil", "ceil": "floor", "any": "all",
    "all": "any", "minimum": "maximum", "amin": "amax", "amax": "amin", "mean": "sum", "sum": "mean",
    "zeros_": "ones_", "zeros_like": "ones_like", "ones_like": "zeros_like",
}  # fmt: skip
LONGEST = 20.0  # processor seconds of a test; a mutant that takes more does not end, and has been noticed
SLOW = 3.0  # processor seconds; tests that take more start processes, which see no mutant


@dataclass
class Mutant:
    """A changed definition.

    Attributes:
        name: of the definition, such as Muon.step.
        change: its line, and the expression before and after.
        install: puts it in place and returns what takes it away.
    """

    name: str
    change: str
    install: Callable[[], Callable[[], None]]


def changed(node: Any) -> bool:
    """Change a node of a syntax tree in place; return whether it is one that can be changed."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in OPPOSITES:
        node.op = OPPOSITES[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITES:
        node.ops[0] = OPPOSITES[type(node.ops[0])]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = node.value + 1 if isinstance(node.value, int) else node.value * 1.25 or 0.5
    elif isinstance(node, ast.Attribute) and node.attr in OTHERS:
        node.attr = OTHERS[node.attr]
    elif isinstance(node, ast.Name) and node.id in ("min", "max", "any", "all"):
        node.id = OTHERS[node.id]
    else:
        return False
    return True


def formulas(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a definition, without decorators, annotations, checks and the sentences of errors."""
    yield tree
    for name, value in ast.iter_fields(tree):
        if name not in ("decorator_list", "annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                checks = isinstance(child, ast.Raise | ast.Assert) or getattr(child, "arg", None) == "strict"
                if isinstance(child, ast.AST) and not checks:
                    yield from formulas(child)


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Yield the mutants of a module's functions, methods and constants."""
    source = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    for position, statement in enumerate(source.body):
        if isinstance(statement, ast.ClassDef):
            parts: list[tuple[int, Any]] = [
                (index, part) for index, part in enumerate(statement.body) if isinstance(part, ast.FunctionDef)
            ]
        elif isinstance(statement, ast.FunctionDef | ast.Assign | ast.AnnAssign):
            parts = [(-1, statement)]
        else:
            continue
        for index, part in parts:
            for number, node in enumerate(formulas(part)):
                if not changed(copy.deepcopy(node)):
                    continue
                tree, other = copy.deepcopy(source), copy.deepcopy(part)
                new = list(formulas(other))[number]
                changed(new)
                if index < 0:
                    tree.body[position] = other
                else:
                    tree.body[position].body[index] = other  # type: ignore[attr-defined]
                where = f"{getattr(node, 'lineno', part.lineno)}: {ast.unparse(node)} -> {ast.unparse(new)}"
                yield mutant_of(module, ast.fix_missing_locations(tree), statement, part, other, where)


def mutant_of(module: ModuleType, tree: ast.Module, statement: ast.stmt, part: Any, other: Any, change: str) -> Mutant:
    """Return the mutant that a changed tree of a module has.

    Args:
        statement: of the module.
        part, other: the definition in it, as it is and changed.
    """
    if isinstance(part, ast.FunctionDef):
        name = part.name if part is statement else f"{statement.name}.{part.name}"  # type: ignore[attr-defined]

        def install() -> Callable[[], None]:
            owner: Any = module if part is statement else getattr(module, statement.name)  # type: ignore[attr-defined]
            function: Any = inspect.unwrap(vars(owner)[part.name])
            before = function.__code__, function.__defaults__, function.__kwdefaults__
            pairs = zip(other.args.kwonlyargs, other.args.kw_defaults, strict=True)
            function.__code__ = code_of(compile(tree, str(module.__file__), "exec"), name)
            function.__defaults__ = tuple(value_of(value, module) for value in other.args.defaults)
            function.__kwdefaults__ = {arg.arg: value_of(value, module) for arg, value in pairs if value is not None}

            def remove() -> None:
                function.__code__, function.__defaults__, function.__kwdefaults__ = before

            return remove
    else:
        target = part.targets[0] if isinstance(part, ast.Assign) else part.target
        name = ast.unparse(target)

        def install() -> Callable[[], None]:
            value, new = vars(module)[name], value_of(other.value, module)
            replace_constant(module, name, value, new)
            return lambda: replace_constant(module, name, new, value)

    return Mutant(name, change, install)


def replace_constant(module: ModuleType, name: str, value: Any, new: Any) -> None:
    """Put another value in place of a constant: in its module, where it was imported, and as a default argument."""
    for other in list(sys.modules.values()):
        if vars(other).get(name) is value:
            setattr(other, name, new)
    for function in vars(module).values():
        if inspect.isfunction(function) and not isinstance(value, int | float):
            defaults = function.__defaults__ or ()
            function.__defaults__ = tuple(new if default is value else default for default in defaults) or None


def value_of(expression: ast.expr, module: ModuleType) -> Any:
    """Return the value of an expression in a module."""
    return eval(ast.unparse(expression), vars(module))


def code_of(code: CodeType, name: str) -> CodeType:
    """Return the code of a function, such as Muon.step, in that of its module."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == name:
                return constant
            if name.startswith(f"{constant.co_qualname}."):
                return code_of(constant, name)
    raise LookupError(name)


class Loop:
    """Runs the collected tests once for every mutant, until one fails."""

    def __init__(self, module: ModuleType, limit: int | None) -> None:
        self.mutants = list(mutants(module))
        if limit is not None and len(self.mutants) > limit:
            self.mutants = random.Random(0).sample(self.mutants, limit)
        self.survivors: list[Mutant] = []
        self.slow = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        signal.signal(signal.SIGPROF, self.stop)
        seconds = {}
        for item in session.items:
            start = processor_seconds()
            if self.fails(item):
                raise pytest.UsageError(f"{item.nodeid} fails without a mutant")
            seconds[item] = processor_seconds() - start
        self.reset(session)
        quick = sorted((item for item in session.items if seconds[item] < SLOW), key=seconds.__getitem__)
        self.slow = len(session.items) - len(quick)
        noticing: dict[str, list[pytest.Item]] = {}
        for mutant in self.mutants:
            first = noticing.setdefault(mutant.name, [])
            remove = mutant.install()
            order = [*first, *(item for item in quick if item not in first)]
            found = next((item for item in order if self.fails(item)), None)
            remove()
            self.reset(session)
            if found is None:
                self.survivors.append(mutant)
            else:
                noticing[mutant.name] = [found, *(item for item in first if item is not found)]
        return True

    def fails(self, item: pytest.Item) -> bool:
        """Run a test; fixtures of its module stay for the next."""
        session: Any = item.session
        session._setupstate.teardown_exact(item)
        others = [other for other in session.items if other.path == item.path and other is not item]
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        try:
            reports = runtestprotocol(item, log=False, nextitem=others[0] if others else None)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return any(report.failed for report in reports)

    def reset(self, session: Any) -> None:
        """Tear down the fixtures of modules, which may hold what a mutant computed."""
        session._setupstate.teardown_exact(OnlySession(session))

    def stop(self, *_: object) -> None:
        raise TimeoutError


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it has started and that have ended."""
    return sum(os.times()[:4])


class OnlySession:
    """Stands for a next test of which nothing is known but its session."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session

    def listchain(self) -> list[Any]:
        return [self.session]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each module, and its survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as training/losses; all by default")
    parser.add_argument("--limit", type=int, help="mutants of each module, drawn at random; all by default")
    options = parser.parse_args(arguments)
    total = noticed = 0
    for name in options.modules or MODULES:
        start, module = time.perf_counter(), importlib.import_module(f"sweeper.{name.replace('/', '.')}")
        folder, _, file = name.partition("/")
        tests = [str(REPOSITORY / "tests" / path) for path in TESTS.get(name, (f"{folder}/test_{file}.py",))]
        loop = Loop(module, options.limit)
        if pytest.main(["-qq", "-p", "no:cacheprovider", "-o", "addopts=", *tests], [loop]) != pytest.ExitCode.OK:
            raise SystemExit(f"{name}: its tests do not pass")
        for mutant in loop.survivors:
            print(f"  {name}.py, {mutant.name}, line {mutant.change}")
        total, noticed = total + len(loop.mutants), noticed + len(loop.mutants) - len(loop.survivors)
        print(
            f"{name}: {len(loop.mutants) - len(loop.survivors)} of {len(loop.mutants)} mutants noticed, "
            f"{loop.slow} slow tests left out, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    print(f"all: {noticed} of {total} mutants noticed ({noticed / total:.0%})")


if __name__ == "__main__":
    main()

"""Which code trained a run. No torch here: readers of records ask whether it is still the same."""

import ast
import hashlib
from functools import cache
from pathlib import Path

from sweeper.runs.directory import RunDirectory

PACKAGE = Path(__file__).parent.parent
# The modules whose code decides a run's result, in the package's folder.
TRAINING_CODE = (
    *sorted(
        path.relative_to(PACKAGE).as_posix()
        for package in ("data", "models", "training")
        for path in (PACKAGE / package).glob("*.py")
    ),
)


@cache
def code_fingerprint() -> dict[str, str]:
    """For every module that decides a run's result, a hash of its syntax tree, docstrings left out.

    Read once a process, early: what is edited afterwards is not what the process runs.
    """
    return {name: syntax_hash((PACKAGE / name).read_text()) for name in TRAINING_CODE}


def syntax_hash(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def changed_modules(record: RunDirectory, code: dict[str, str]) -> list[str]:
    """The training modules that are not what the run was trained with; none where there is no run."""
    before = (record.run() or {"code": code}).get("code")
    if not isinstance(before, dict):
        return ["run.json"]  # not as this program writes it
    return sorted(name for name in before.keys() | code.keys() if before.get(name) != code.get(name))

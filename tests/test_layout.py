"""The layout: imports point downwards only, no circle, and readers start without torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up. Packages of a layer do not import each other; hydra_plugins and train.py are on top.
LAYERS = (
    ("errors", "garbage", "streams", "display"),
    ("files",),
    ("ranges",),
    ("groups",),
    ("config", "choice", "interpolations"),
    ("data", "models"),
    ("training",),
    ("runs",),
    ("sweep",),
    ("launch", "summary"),
    ("trained", "typed", "starters"),
    ("checks", "explain"),
    ("cli", "__main__", "api"),
)
HEIGHT = {package: height for height, layer in enumerate(LAYERS) for package in layer}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "sweeper").rglob("*.py"))
}
# Readers of records, which start without torch.
WITHOUT_TORCH = sorted(
    name
    for name in MODULES
    if name.startswith("sweeper.summary") or name in ("sweeper.files", "sweeper.errors", "sweeper.config")
) + [f"sweeper.runs.{name}" for name in ("directory", "fingerprint", "states", "predictions", "measures", "provenance")]
WITHOUT_TORCH += ["sweeper.runs.elsewhere", "sweeper.runs.stored_images", "sweeper.trained.commands"]
WITHOUT_TORCH += [f"sweeper.trained.{name}" for name in ("mistakes", "pixels", "push", "mlflow_server", "wandb_folder")]
WITHOUT_TORCH += [
    "sweeper.sweep.saved",
    "sweeper.sweep.watch",
    "sweeper.sweep.starting",
    "sweeper.sweep.planner",
    "sweeper.sweep.execute",
    "sweeper.runs.reuse",
    "sweeper.sweep.listing",
    "sweeper.api",
    "sweeper.cli",
    "sweeper.__main__",
]


def imported(name: str) -> set[str]:
    """The package's modules that a module imports, at any level of it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {submodule if submodule in MODULES else node.module for submodule in submodules}
    return found - {name}


def package(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_module_is_in_a_layer() -> None:
    assert {package(name) for name in MODULES} - {""} == set(HEIGHT)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "sweeper"])
def test_imports_point_downwards(name: str) -> None:
    own = package(name)
    above = {
        other
        for other in imported(name)
        if package(other) != own and package(other) and HEIGHT[package(other)] >= HEIGHT[own] and own not in LAYERS[1]
    }
    assert not above
    assert all(package(other) in (*LAYERS[0], *LAYERS[1]) for other in imported(name) if own in LAYERS[1])


def test_there_is_no_circle_even_with_imports_inside_functions() -> None:
    TopologicalSorter({name: imported(name) for name in MODULES}).prepare()


def test_readers_start_without_torch() -> None:
    loop = f"for name in {WITHOUT_TORCH}: importlib.import_module(name)"
    program = f"import sys, importlib\n{loop}\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) in ("data", "models", "training")])
def test_what_decides_results_is_written_so_that_the_fingerprint_reads_it(name: str) -> None:
    """Each name is defined once, at the top level, and imported by absolute imports of names."""
    defined: list[str] = []
    for statement in ast.parse(MODULES[name].read_text()).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            defined.append(statement.name)
        elif isinstance(statement, ast.Assign):
            assert all(isinstance(target, ast.Name | ast.Tuple) for target in statement.targets)
            names = [node for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            defined += [node.id for node in names]
        elif isinstance(statement, ast.AnnAssign):
            assert isinstance(statement.target, ast.Name)
            defined.append(statement.target.id)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0 and all(alias.name != "*" for alias in statement.names)
        elif isinstance(statement, ast.Import):
            assert not any(alias.name.startswith("sweeper") for alias in statement.names)
        else:
            assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant), statement.lineno
    assert len(defined) == len(set(defined))


def test_no_text_depends_on_the_locale() -> None:
    """A YAML file with an umlaut and the output of a command are read alike everywhere."""
    for path in [*MODULES.values(), ROOT / "train.py", *(ROOT / "hydra_plugins").glob("*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                modes = [str(item.value) for item in call.args if isinstance(item, ast.Constant)]
                named = {keyword.arg for keyword in call.keywords}
                owner = getattr(call.func.value, "id", "")
                is_file = call.func.attr == "open" and owner not in ("os", "Image", "tarfile")
                is_text = call.func.attr in ("read_text", "write_text") or (
                    is_file and not any("b" in it for it in modes)
                )
                assert (not is_text and "text" not in named) or "encoding" in named, f"{path}:{call.lineno}"


def test_hydra_plugins_are_shims() -> None:
    for path in (ROOT / "hydra_plugins").glob("*.py"):
        assert len(path.read_text().splitlines()) < 80, path

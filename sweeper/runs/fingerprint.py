"""The code that a run's result depends on: a hash per definition reached. Static analysis, standard library only.

Roots are the task and the functions that build, fit, evaluate and select (group "core"), and for each group of the
config the function that it chose. From a root, follow the names that a definition uses to other definitions of the
package, through imports and annotations, but not through registries and not into decoding, configuration, files and
errors. So a new choice affects no run, a changed choice affects the runs that use it, and a changed loop affects all.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sweeper.runs.refactored import REFACTORED
from sweeper.runs.scores import task_of
from sweeper.runs.syntax import Module, digest, hash_of, parse, used_names

PACKAGE = Path(__file__).parent.parent
FOLLOWED = ("data", "models", "training")  # the packages whose definitions decide results
# Decoding: its pixels are in the dataset's fingerprint.
DECODING = (
    "image_files",
    "image_folders",
    "mask_folders",
    "mask_sources",
    "scenes",
    "source",
    "sources",
    "unreadable",
    "value_range",
    "voc",
)
NOT_FOLLOWED = tuple(f"data/{name}" for name in DECODING)
CORE = ("training/build.build", "training/loop.fit", "training/loop.evaluate", "training/views.AveragedViews")
TASKS = "training/task.TASKS"
# The registry of each group, and the choice of an effective config that does not name the group. A group without one
# is a slot that the model may lack.
REGISTRIES = {
    "task": (TASKS, "classification"),
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
# Groups whose choices combine: a setting chooses a step.
STEPS = {
    "augmentation": "data/augmentation.STEPS",
    "architecture": "models/architecture.STEPS",
    "courses": "training/courses.COURSES",
}
# What turns pixels into logits: roots beside the choices of the groups that a network is built from.
NETWORK = ("models.build_model", "models/architecture.modify", "data/batches.Normalize")
NETWORK_GROUPS = ("model", "activation", "norm", "dropout", "architecture")
Code = dict[str, dict[str, str]]  # group -> definition -> hash


@cache
def modules() -> dict[str, Module]:
    """Parse the followed packages. Call early in a process: it does not run the code of later edits."""
    paths = [path for package in FOLLOWED for path in sorted((PACKAGE / package).glob("*.py"))]
    return {key: parse(path.read_text(encoding="utf-8")) for path in paths if (key := key_of(path)) not in NOT_FOLLOWED}


def key_of(path: Path) -> str:
    """Name a module by its path in the package, such as `training/loop`; a package by its folder."""
    relative = path.relative_to(PACKAGE).with_suffix("")
    return (relative.parent if relative.name == "__init__" else relative).as_posix()


@cache
def syntax_hash(definition: str) -> str:
    """Hash a definition."""
    return hash_of(statement_of(definition))


@cache
def references(definition: str) -> tuple[str, ...]:
    """Return the definitions of followed modules that a definition uses directly."""
    return tuple(resolved(definition.partition(".")[0], statement_of(definition)))


def statement_of(definition: str) -> ast.stmt:
    module, _, name = definition.partition(".")
    return modules()[module].definitions[name]


def resolved(module: str, tree: ast.stmt | ast.expr) -> Iterator[str]:
    """Yield the definitions that the names in a tree refer to."""
    for name, attribute in used_names(tree):
        found = lookup(module, name, attribute)
        if found is not None:
            yield found


def lookup(module: str, name: str, attribute: str | None) -> str | None:
    """Find the definition that a name in a module refers to, through imports and re-exports; None outside them."""
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
    counted = {name: REFACTORED.get(name, {}).get(hash, hash) for name, hash in sorted(found.items())}
    return {name: hash for name, hash in counted.items() if hash is not None}


@cache
def core(task: str) -> dict[str, str]:
    """Return the code of every run of a task."""
    return dict(sorted((closure(CORE) | chosen_code(TASKS, task)).items()))


@cache
def chosen_code(registry: str, name: str) -> dict[str, str]:
    """Return the code of a choice of a registry; empty where the registry has none of that name.

    An entry that is more than a function's name is itself hashed.
    """
    module, _, variable = registry.partition(".")
    entry = modules()[module].registries[variable].get(name)
    if entry is None:
        return {}
    own = {} if isinstance(entry, ast.Name) else {f"{registry}[{name}]": hash_of(entry)}
    return own | closure(resolved(module, entry))


@cache
def step_settings(group: str) -> dict[str, list[str]]:
    """Return the settings of each step of a group, its function's keyword-only arguments, in the registry's order."""
    module, _, variable = STEPS[group].partition(".")
    found: dict[str, list[str]] = {}
    for step, entry in modules()[module].registries[variable].items():
        functions = [statement_of(definition) for definition in resolved(module, entry)]
        found[step] = [
            argument.arg
            for function in functions
            if isinstance(function, ast.FunctionDef)
            for argument in function.args.kwonlyargs
        ]
    return found


def steps_code(group: str, settings: Iterable[str]) -> Code:
    """Return the code of the step of each setting of a group, and the order of the steps if there are several."""
    given, registry = set(settings), STEPS[group]
    steps = {step: keys for step, names in step_settings(group).items() if (keys := given.intersection(names))}
    code = {f"{group}.{key}": chosen_code(registry, step) for step, keys in steps.items() for key in sorted(keys)}
    return code | ({group: {registry: digest(",".join(steps))}} if len(steps) > 1 else {})


def code_of(effective: dict[str, Any]) -> Code:
    """Return today's code of a run with this effective config: "core", and each group that has a function in it."""
    code: Code = {"core": core(task_of(effective))}
    for group, (registry, default) in REGISTRIES.items():
        if group == "task":
            continue
        settings = effective.get(group)
        name = settings.get("name", group) if isinstance(settings, dict) else settings
        name = default if name is None else str(name).removeprefix("val_" if group == "select" else "")
        if name not in (None, default if default == "none" else None):
            code[group] = chosen_code(registry, str(name))
    for group in STEPS:
        steps = effective.get(group)
        code |= steps_code(group, steps if isinstance(steps, dict) else ())
    return code


def changed_definitions(recorded: Any, code: Code) -> list[str]:
    """Name the definitions that differ between a run's recorded code and other code, sorted."""
    groups = recorded.values() if isinstance(recorded, dict) else [None]
    if not all(isinstance(group, dict) and all(isinstance(it, str) for it in group.values()) for group in groups):
        return ["run.json"]  # not written by this program
    before, now = ({(group, name) for group in code for name in code[group].items()} for code in (recorded, code))
    return sorted({str(name) for _, (name, _) in before ^ now})


def changed_network(run: dict[str, Any]) -> list[str]:
    """Name the definitions of a run's network that changed since it was trained, sorted.

    Of a stale run, other code may have changed, such as the training loop: its weights are usable then.
    """
    recorded, code = run.get("code"), code_of(run["effective"])
    if not isinstance(recorded, dict) or not all(isinstance(group, dict) for group in recorded.values()):
        return ["run.json"]
    code["core"] = closure(NETWORK)
    names = [name for name in code if name == "core" or name.partition(".")[0] in NETWORK_GROUPS]
    now = {definition: digest for name in names for definition, digest in code[name].items()}
    before = {definition: digest for group in recorded.values() for definition, digest in group.items()}
    return sorted(name for name, digest in now.items() if before.get(name) != digest)

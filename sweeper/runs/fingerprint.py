"""The code that a run's result depends on: a hash per definition reached. Static analysis, standard library only.

Roots are the task and the functions that build, fit, evaluate and select (group "core"), and for each group of the
config the function that it chose. From a root, follow the names that a definition uses to other definitions of the
package, through imports and annotations, but not through registries and not into decoding, configuration, files and
errors. So a new choice affects no run, a changed choice affects the runs that use it, and a changed loop affects all.

Choices from outside of the package (the setting `extend`) are read from their files in the same way; in a list of files
each of them is a module, beside the package's.
"""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sweeper.runs.extension_files import Files, name_of, parsed, readable
from sweeper.runs.scores import task_of
from sweeper.runs.syntax import OTHERS, Definition, Module, digest
from sweeper.runs.syntax_cache import parse_all

PACKAGE = Path(__file__).parent.parent
FOLLOWED = ("data", "models", "training")  # the packages whose definitions decide results
# Decoding: its pixels are in the dataset's fingerprint.
DECODING = (
    "source", "sources", "published", "downloads", "image_files", "image_folders", "image_scan", "unreadable",
    "value_range", "mask_sources", "mask_folders", "scenes", "voc",
)  # fmt: skip
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
# The registries that a file from outside of the package may have, by the names that they have there.
EXTENDABLE = {
    path.rpartition(".")[2]: path for group, (path, _) in REGISTRIES.items() if group not in ("task", "select")
} | {path.rpartition(".")[2].replace("STEPS", f"{group.upper()}S"): path for group, path in STEPS.items()}
EXTENDABLE["DATASETS"] = "data/sources.DATASETS"
# What turns pixels into logits: roots beside the choices of the groups that a network is built from.
NETWORK = ("models.build_model", "models/architecture.modify", "data/batches.Normalize")
NETWORK_GROUPS = ("model", "activation", "norm", "dropout", "architecture")
Code = dict[str, dict[str, str]]  # group -> definition -> hash


@cache
def modules(files: Files = ()) -> dict[str, Module]:
    """Parse the followed packages and files. Call early in a process: it does not run the code of later edits."""
    if files:
        names = tuple(map(name_of, files))
        return modules() | {name_of(file): parsed(file, tuple(EXTENDABLE), names) for file in files}
    paths = [path for package in FOLLOWED for path in sorted((PACKAGE / package).glob("*.py"))]
    texts = {key: path.read_text(encoding="utf-8") for path in paths if (key := key_of(path)) not in NOT_FOLLOWED}
    return parse_all(texts, PACKAGE / "__pycache__" / f"syntax.{sys.implementation.cache_tag}.json")


def key_of(path: Path) -> str:
    """Name a module by its path in the package, such as `training/loop`; a package by its folder."""
    relative = path.relative_to(PACKAGE).with_suffix("")
    return (relative.parent if relative.name == "__init__" else relative).as_posix()


def definition_of(definition: str, files: Files = ()) -> Definition:
    module, _, name = definition.partition(".")
    return modules(files)[module].definitions[name]


@cache
def references(definition: str, files: Files = ()) -> tuple[str, ...]:
    """Return the definitions of followed modules that a definition uses directly."""
    module = definition.partition(".")[0]
    if files and module in modules():
        return references(definition)
    return (*resolved(module, definition_of(definition, files), files), *others_of(module, files))


def others_of(module: str, files: Files = ()) -> list[str]:
    """Return what any definition of a module from outside depends on: its statements that are no definitions."""
    return [f"{module}.{OTHERS}"] if OTHERS in modules(files)[module].definitions else []


def resolved(module: str, definition: Definition, files: Files = ()) -> Iterator[str]:
    """Yield the definitions that the names in a definition refer to."""
    for name, attribute in definition.names:
        found = lookup(module, name, attribute, files)
        if found is not None:
            yield found


def lookup(module: str, name: str, attribute: str | None, files: Files = ()) -> str | None:
    """Find the definition that a name in a module refers to, through imports and re-exports; None outside them."""
    known = modules(files)
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


def closure(roots: Iterable[str], files: Files = ()) -> dict[str, str]:
    """Return each definition reached from the roots, with its hash."""
    found: dict[str, str] = {}
    left = list(roots)
    while left:
        definition = left.pop()
        if definition not in found:
            found[definition] = definition_of(definition, files).hash
            left += references(definition, files)
    return dict(sorted(found.items()))


@cache
def core(task: str) -> dict[str, str]:
    """Return the code of every run of a task."""
    return dict(sorted((closure(CORE) | chosen_code(TASKS, task)).items()))


def entries_of(registry: str, files: Files = ()) -> Iterator[tuple[str, str, str, Definition]]:
    """Yield the module, the variable, the name and the value of each entry of a registry, those of files last."""
    module, _, variable = registry.partition(".")
    known = modules(files)
    given = next((name for name, path in EXTENDABLE.items() if path == registry), "")
    for place, its_name in [(module, variable), *((name_of(file), given) for file in files)]:
        for name, entry in known[place].registries.get(its_name, {}).items() if place in known else ():
            yield place, its_name, name, entry


@cache
def chosen_code(registry: str, name: str, files: Files = ()) -> dict[str, str]:
    """Return the code of a choice of a registry; empty where the registry has none of that name.

    An entry that is more than a function's name is itself hashed.
    """
    found = next((it for it in entries_of(registry, files) if it[2] == name), None)
    if found is None:
        return {}
    module, variable, _, entry = found
    own = {f"{module}.{variable}[{name}]": entry.hash} if entry.hash else {}
    return own | closure([*resolved(module, entry, files), *others_of(module, files)], files)


@cache
def step_settings(group: str, files: Files = ()) -> dict[str, list[str]]:
    """Return the settings of each step of a group, its function's keyword-only arguments, in the registry's order."""
    found: dict[str, list[str]] = {}
    for module, _, step, entry in entries_of(STEPS[group], files):
        functions = [definition_of(definition, files) for definition in resolved(module, entry, files)]
        found[step] = [setting for function in functions for setting in function.settings]
    return found


def steps_code(group: str, settings: Iterable[str], files: Files = ()) -> Code:
    """Return the code of the step of each setting of a group, and the order of the steps if there are several."""
    given, registry = set(settings), STEPS[group]
    steps = {step: keys for step, names in step_settings(group, files).items() if (keys := given.intersection(names))}
    code = {
        f"{group}.{key}": chosen_code(registry, step, files) for step, keys in steps.items() for key in sorted(keys)
    }
    return code | ({group: {registry: digest(",".join(steps))}} if len(steps) > 1 else {})


def code_of(effective: dict[str, Any], files: Files = ()) -> Code:
    """Return today's code of a run with this effective config: "core", and each group that has a function in it.

    Args:
        files: those with choices from outside of the package that the run uses.
    """
    code: Code = {"core": core(task_of(effective))}
    for group, (registry, default) in REGISTRIES.items():
        if group == "task":
            continue
        settings = effective.get(group)
        name = settings.get("name", group) if isinstance(settings, dict) else settings
        name = default if name is None else str(name).removeprefix("val_" if group == "select" else "")
        if name not in (None, default if default == "none" else None):
            code[group] = chosen_code(registry, str(name), files)
    for group in STEPS:
        steps = effective.get(group)
        code |= steps_code(group, steps if isinstance(steps, dict) else (), files)
    return code


def changes_since(run: dict[str, Any]) -> list[str]:
    """Name the definitions of a recorded run that have changed since, sorted.

    Of files from outside of the package that are gone, nothing is known: what used them is not compared.

    Args:
        run: the content of run.json; or its `effective`, `code` and `config`.
    """
    files = extensions_of(run)
    found = readable(files)
    gone = {name_of(file) for file in files} - {name_of(file) for file in found}
    recorded, code = run.get("code"), code_of(run["effective"], found)
    if gone and isinstance(recorded, dict) and all(isinstance(group, dict) for group in recorded.values()):
        unknown = {group for group, names in recorded.items() if gone & {name.partition(".")[0] for name in names}}
        recorded, code = ({key: it for key, it in of.items() if key not in unknown} for of in (recorded, code))
    return changed_definitions(recorded, code)


def extensions_of(run: dict[str, Any]) -> Files:
    """Return the files from outside of the package that a run uses, as its run.json records them."""
    config = run.get("config")
    files = config.get("extend") if isinstance(config, dict) else None
    return tuple(map(str, files)) if isinstance(files, list) else ()


def changed_definitions(recorded: Any, code: Code) -> list[str]:
    """Name the definitions that differ between a run's recorded code and other code, sorted."""
    groups = recorded.values() if isinstance(recorded, dict) else [None]
    if not all(isinstance(group, dict) and all(isinstance(it, str) for it in group.values()) for group in groups):
        return ["run.json"]  # not written by this program
    before, now = ({(group, name) for group in code for name in code[group].items()} for code in (recorded, code))
    return sorted({str(name) for _, (name, _) in before ^ now})


def changed_network(run: dict[str, Any], files: Files = ()) -> list[str]:
    """Name the definitions of a run's network that changed since it was trained, sorted.

    Of a stale run, other code may have changed, such as the training loop: its weights are usable then.

    Args:
        run: the content of run.json.
        files: those from outside of the package that it uses.
    """
    recorded, code = run.get("code"), code_of(run["effective"], files)
    if not isinstance(recorded, dict) or not all(isinstance(group, dict) for group in recorded.values()):
        return ["run.json"]
    code["core"] = closure(NETWORK)
    names = [name for name in code if name == "core" or name.partition(".")[0] in NETWORK_GROUPS]
    now = {definition: digest for name in names for definition, digest in code[name].items()}
    before = {definition: digest for group in recorded.values() for definition, digest in group.items()}
    return sorted(name for name, digest in now.items() if before.get(name) != digest)

"""The command line of train.py: Hydra's, with readable errors."""

import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config import Config, SweepConfig, settings
from sweeper.errors import FRIENDLY_ERRORS, Diverged, UserError, exit_with_error, format_names, nearest

if TYPE_CHECKING:
    from sweeper.runs.run import Job

log = logging.getLogger(__name__)

MOVED = {
    "target_acc": "--target-acc of python -m sweeper summary, effects, curves and report",
    "convergence_fraction": "--convergence-fraction of python -m sweeper summary, effects, curves and report",
    "augmentation.padding": "augmentation.crop_padding",
    "augmentation.size": "augmentation.cutout",
    "label_smoothing": "loss.label_smoothing",
}  # settings of version 0.1, and their replacements
FORMS = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a string",
    "list[int]": "a list of integers, such as [512,256]",
    "list[float]": "a list of numbers, such as [0.9,0.999]",
    "list[list[str]]": "a list of lists of keys, such as [[model,optimizer]]",
    "list[dict[str, Any]]": "a list of combinations, such as [{model:cnn,activation:selu}]",
}  # valid values of a setting, by its type
# Hydra's refusals of a + or ++ in front of an override.
ADDED = re.compile(r"(?:use 'override |groups is not supported: '\+\+|Either remove \+ prefix: ')(?P<override>.*)'")
# Settings that only the grid sweeper supports.
OF_GRID = ("design", "order", "precision", "max_seeds", "dry_run", "exclude", "zip")
LAST_FRAMES = 2  # frames of a traceback that are printed; train.log has all of them


def register_schema() -> None:
    """Register the types of all settings and the help page with Hydra."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="hydra/help", name="sweeper", node={"app_name": "train.py", "template": help_text()})
    adapt_optuna(store)


def help_text() -> str:
    """Return the page that `python train.py --help` prints; Hydra fills in the groups."""
    width = max(len(key) for key, _, _ in settings(Config()))
    meanings = "\n".join(f"  {key:<{width}}  {item.metadata['help']}" for key, item, _ in settings(Config()))
    return f"""Train one image classifier, or sweep over combinations of training tricks.

== Groups (choose with GROUP=NAME) ==
$APP_CONFIG_GROUPS
== Settings (change with KEY=VALUE; each choice uses some of its group's settings) ==
{meanings}

== Examples ==
  python train.py model=cnn_pool                                       one run on CIFAR-10
  python train.py model=mlp data=digits dropout.rate=0.3 epochs=5      a small run, offline
  python train.py -m model=mlp,cnn_pool activation=relu,selu           a sweep: every combination
  python train.py model=resnet18 data=image_folder data.root=DIR       your own images, DIR/train/CLASS/*

Hydra's own flags: python train.py --hydra-help. Tab completion: eval "$$(python train.py -sc install=bash)"
"""


def adapt_optuna(store: ConfigStore) -> None:
    """Give Hydra's Optuna plugin, where it is installed, defaults that fit the runs here.

    A run returns its best validation accuracy, which is maximized. A run that diverges is a failed trial. With a fixed
    seed, the same command has the same trials and reuses the finished ones.
    """
    Plugins.instance()  # imports all plugins, which store their defaults first
    stored = store.repo["hydra"]["sweeper"]
    if "optuna.yaml" in stored:
        stored["optuna.yaml"].node.update({"direction": "maximize", "n_jobs": 1, "max_failure_rate": 1.0})
        stored["sampler"]["tpe.yaml"].node.seed = 0


def run_with_friendly_errors(main: Callable[[], None]) -> None:
    """Call a Hydra entry point; an error that a user can cause ends in a sentence and exit status 1.

    HYDRA_FULL_ERROR=1 in the environment asks for tracebacks. Without it, this function sets it for Hydra, which then
    raises its exceptions instead of printing them.
    """
    if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = os.environ[FRIENDLY_ERRORS] = "1"
    try:
        with friendly_errors():
            main()
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "0"
        del os.environ[FRIENDLY_ERRORS]


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn an error that a user can cause into a sentence on standard error and exit status 1."""
    try:
        yield
    except (UserError, Diverged) as error:
        exit_with_error(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        exit_with_error(explain(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = f"{type(error).__name__}: {' '.join(str(error).split())}; set HYDRA_FULL_ERROR=1 for the traceback"
        exit_with_error(f"{sentence}\n{last_frames(error)}".rstrip())


@contextmanager
def job_errors(sweep: DictConfig) -> Iterator[None]:
    """Handle an error in the job that is running.

    A single run exits with the message, before Hydra adds a line. A job of a sweep logs its failure immediately, and
    the other jobs continue; with `sweep.fail_fast` it stops the sweep.
    """
    if HydraConfig.get().mode == RunMode.RUN:
        with friendly_errors() if FRIENDLY_ERRORS in os.environ else nullcontext():
            refuse_sweep_overrides(HydraConfig.get().overrides.task)
            yield
        return
    try:
        refuse_grid_settings(sweep)
        yield
    except Exception as error:
        changed = [override for override in HydraConfig.get().overrides.task if not override.startswith("sweep.")]
        log.error("failed: %s: %s", " ".join(changed), format_error(error))
        if sweep.fail_fast:
            sys.exit(1)
        raise


def refuse_sweep_overrides(overrides: list[str]) -> None:
    """Check that a single run has no overrides that apply only to sweeps, such as a dry run.

    Raises:
        UserError: it has such an override.
    """
    groups = [item.name for item in fields(Config) if "help" not in item.metadata]
    for key, _, value in (override.partition("=") for override in overrides):
        is_off = value in ("false", "null", "[]", "product", "longest")
        if key.removeprefix("sweep.") in OF_GRID and not is_off:
            raise UserError(f"{key}={value} applies to sweeps only; add -m: {as_multirun()}")
        if key in groups and value.startswith("["):
            raise UserError(f"{key}={value} is a list; choose a single name, or sweep: -m {key}={value.strip('[]')}")


def refuse_grid_settings(sweep: DictConfig) -> None:
    """Exit, before a job of another sweeper starts, if a setting is given that only the grid sweeper supports."""
    name = HydraConfig.get().runtime.choices.get("hydra/sweeper")
    for key in OF_GRID if name != "grid" else ():
        if sweep[key] != getattr(SweepConfig(), key):
            exit_with_error(f"sweep.{key} is not used by hydra/sweeper={name}; use hydra/sweeper=grid")


def as_multirun() -> str:
    """Return the command as typed, turned into a sweep."""
    program, *arguments = sys.argv
    return shlex.join(["python", program, "-m", *arguments])


def format_error(error: Exception) -> str:
    """Format an error in a job: a sentence, or the end of its traceback (all of it with HYDRA_FULL_ERROR=1)."""
    if FRIENDLY_ERRORS not in os.environ:
        return "".join(traceback.format_exception(error))
    sentence = f"{error}" if isinstance(error, UserError | Diverged) else f"{type(error).__name__}: {error}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note not in sentence)
    frames = "" if isinstance(error, UserError | Diverged) else last_frames(error)
    return f"{sentence}{notes}\n{frames}".rstrip()


def last_frames(error: Exception) -> str:
    """Format the last frames of an error's traceback; none where Hydra raised it, since its code is not at fault."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_from_hydra = modules[-1].partition(".")[0] in ("hydra", "omegaconf")
    return "" if is_from_hydra else "".join(traceback.format_tb(error.__traceback__)[-LAST_FRAMES:])


def explain(error: BaseException) -> str:
    """Explain an error of Hydra or OmegaConf, with the valid choices."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        extra = "; optuna is an extra: pip install -e '.[optuna]' in the program's folder" if name == "optuna" else ""
        valid = f"choose from {format_names(error.options)}{extra}"
        return f"unknown choice {group}={name}{nearest(name, error.options)}; {valid}"
    if (swept := re.match(r"Ambiguous value for argument '(.*)'", str(error))) is not None:
        return f"{swept[1]} has several values; use -m to sweep over them: {as_multirun()}"
    if (added := ADDED.search(str(error))) is not None:
        override = added["override"].replace(": ", "=")
        return f"+{override}: drop the +; {override.partition('=')[0]} already has a value"
    inner = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    merged = re.match(r"Error merging override (.*)", str(error))
    key, override = getattr(inner, "full_key", None), "" if merged is None else merged[1]
    if override and not isinstance(key, str):  # an index in a list
        key = override.lstrip("+").partition("=")[0]
    if isinstance(key, str) and sibling_keys(key):
        return explain_setting(inner, key.partition("[")[0], override)
    return " ".join(str(error if key is None else inner).partition("full_key:")[0].split())


def explain_setting(error: BaseException, key: str, override: str) -> str:
    """Explain an error of OmegaConf about the key of a setting.

    Args:
        override: as typed; empty where the value comes from a file.
    """
    if key in MOVED:
        return f"{key} is no longer a setting; use {MOVED[key]}"
    if "not in" in str(error):
        elsewhere = [name for name, _, _ in settings(Config()) if name.rpartition(".")[2] == key.rpartition(".")[2]]
        if elsewhere:
            return f"unknown setting {key} (did you mean {format_names(elsewhere)}?)"
        siblings, (group, dot, _) = sibling_keys(key), key.rpartition(".")
        return f"unknown setting {key}{nearest(key, siblings, group + dot)}; valid: {format_names(siblings)}"
    types = {name: str(item.type).removesuffix(" | None") for name, item, _ in settings(Config())}
    if override.startswith("~"):
        return f"{override}: a setting cannot be removed; set {key}=VALUE"
    typed = override or f"{key}={getattr(error, 'value', '')}"
    if key in types:
        return f"{typed}: must be {FORMS[types[key]]}"
    return f"{typed}: {key} is a group of settings: {format_names(sibling_keys(f'{key}.'))}"


def sibling_keys(key: str) -> list[str]:
    """Return every valid key at the level of this key."""
    level: Any = Config()
    prefix = ""
    for name in key.split(".")[:-1]:
        level, prefix = getattr(level, name, None), f"{prefix}{name}."
    return [f"{prefix}{item.name}" for item in fields(level)] if is_dataclass(level) else []


def current_job(composed: DictConfig, config: Config) -> "Job":
    """Describe the job that is running, of the config that was composed."""
    from sweeper.runs.run import Job

    hydra = HydraConfig.get()
    files = {
        "config.yaml": OmegaConf.to_yaml(composed),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }
    command = shlex.join(["python", "train.py", *hydra.overrides.task])
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    return Job(command, files, preset_labels(config, dict(hydra.runtime.choices), folders))


def preset_labels(config: Config, typed: dict[str, str], folders: Sequence[Path]) -> dict[str, str]:
    """Return for each group the preset that equals its settings, the typed one if there are several.

    Args:
        config: the config.
        typed: the presets that were composed, by group.
        folders: configuration folders, which have a folder of presets for each group.
    """
    labels = {}
    for item in (item for item in fields(Config) if "help" not in item.metadata):
        settings = {key: value for key, value in asdict(getattr(config, item.name)).items() if value is not None}
        found = [sorted((folder / item.name).glob("*.yaml")) for folder in reversed(folders)]
        files = {file.stem: file for files in found for file in files}  # Hydra takes the first folder's
        names = sorted(files, key=lambda name: name != typed.get(item.name))  # mostly spares reading the others
        equal = next((name for name in names if preset_settings(files[name]) == settings), None)
        if equal is not None:
            labels[item.name] = equal
    return labels


@cache
def preset_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a preset's file that are not null."""
    content = OmegaConf.to_container(OmegaConf.load(file))
    settings = content if isinstance(content, dict) else {}
    return {str(key): value for key, value in settings.items() if key != "defaults" and value is not None}

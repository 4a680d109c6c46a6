"""The command line of train.py: Hydra's, with readable errors."""

import io
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import asdict, fields
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config import Config, settings
from sweeper.display import exit_with_error, fold
from sweeper.errors import (
    FRIENDLY_ERRORS,
    Diverged,
    UserError,
    explain_memory,
    format_error,
    innermost_package,
    last_frames,
    reason_of,
    release_frames,
)
from sweeper.explain import CONF, explain, is_of_a_choice
from sweeper.runs.job import Job
from sweeper.runs.naming import NAMES, name_of
from sweeper.typed import extensions, rewrite

log = logging.getLogger(__name__)


def register_schema() -> None:
    """Register the types of all settings and the help page with Hydra."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="hydra/help", name="sweeper", node={"app_name": "train.py", "template": help_text()})
    remove_optuna_plugin(store)


def load_extensions(arguments: Sequence[str]) -> None:
    """Load the files of `extend=...`, whose choices and settings Hydra then composes like those of conf/.

    Args:
        arguments: of train.py.

    Raises:
        UserError: see sweeper.runs.extensions.load.
    """
    completed = "-sc" in arguments or "--shell-completion" in arguments  # then the command line is in a variable
    files = extensions(os.environ.get("COMP_LINE", "").split() if completed else arguments)
    if not files:
        return
    from sweeper.runs.extensions import LOADED, load  # imports torch

    with suppress(UserError) if completed else nullcontext():
        load(files)
    register_schema()
    store = ConfigStore.instance()
    for choice in (choice for extension in LOADED.values() for choice in extension.choices if choice.preset):
        store.store(group=choice.entry.group, name=choice.entry.name, node=dict(choice.preset), provider="extend")


def help_text() -> str:
    """Return the page that `python train.py --help` prints; Hydra fills in the groups."""
    width = max(len(key) for key, _, _ in settings(Config()))
    meanings = "\n".join(
        f"  {key:<{width}}  {item.metadata['help']}{default_text(key, value)}"
        for key, item, value in settings(Config())
    )
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

Hydra's own flags: python train.py --hydra-help
Tab completion: eval "$$(python train.py -sc install=bash)"
"""


def default_text(key: str, value: Any) -> str:
    """Return the end of a setting's description: its default. The settings of a choice have those of its file."""
    group, dot, _ = key.partition(".")
    if (dot and group != "sweep") or value is None or value in ("", []):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f" [default: {text}]".replace("$", "$$")


def remove_optuna_plugin(store: ConfigStore) -> None:
    """Remove the defaults of hydra-optuna-sweeper, where it is installed: conf/ has a sweeper of the same name."""
    Plugins.instance()  # imports all plugins, which store their defaults first
    sweepers = store.repo["hydra"]["sweeper"]
    for name in ("optuna.yaml", "sampler"):
        sweepers.pop(name, None)


def run_with_friendly_errors(main: Callable[[], None]) -> None:
    """Call a Hydra entry point; an error that a user can cause ends in a sentence and exit status 1.

    The arguments are rewritten to what Hydra reads.

    HYDRA_FULL_ERROR=1 in the environment asks for tracebacks. Without it, this function sets it for Hydra, which then
    raises its exceptions instead of printing them.
    """
    if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
        load_extensions(sys.argv[1:])
        sys.argv[1:] = rewrite(sys.argv[1:])
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = os.environ[FRIENDLY_ERRORS] = "1"
    try:
        with friendly_errors(), folded_help() if {"--help", "-h"} & set(sys.argv[1:]) else nullcontext():
            load_extensions(sys.argv[1:])
            sys.argv[1:] = rewrite(sys.argv[1:])
            main()
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "0"
        del os.environ[FRIENDLY_ERRORS]


@contextmanager
def folded_help() -> Iterator[None]:
    """Print the help page as wide as the terminal: further lines of a setting begin below its description."""
    page, stdout = io.StringIO(), sys.stdout
    try:
        with redirect_stdout(page):
            yield
    finally:
        for line in page.getvalue().splitlines():
            described = re.match(r"  \S+ {2,}", line)
            print(fold(line, stdout, described.end() - 2 if described else 2), file=stdout)


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
        if isinstance(error, OSError) and innermost_package(error) == "hydra":  # which makes hydra.run.dir
            if error.filename is None:  # of os.getcwd
                exit_with_error("the working directory was removed; change to another one")
            exit_with_error(f"output_dir={error.filename} cannot be written: {error.strerror}")
        if memory := explain_memory(error):
            exit_with_error(memory)
        if is_of_a_choice(error):
            exit_with_error(explain(error))
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
            yield
        return
    try:
        yield
    except Exception as error:
        log.error("failed: %s: %s", *name_and_reason(error))
        release_frames(error)
        if sweep.fail_fast:
            sys.exit(1)
        raise


def name_and_reason(error: Exception) -> tuple[str, str]:
    """Return the name of the run that failed, its overrides where it has none, and why it failed."""
    run_ids = [note for note in getattr(error, "__notes__", ()) if note in NAMES.get()]
    if run_ids:
        return name_of(run_ids[0]).text, reason_of(error, run_ids[0])
    changed = [override for override in HydraConfig.get().overrides.task if not override.startswith("sweep.")]
    return " ".join(changed), format_error(error)


def current_job(composed: DictConfig, config: Config) -> Job:
    """Describe the job that is running, of the config that was composed."""
    hydra = HydraConfig.get()
    files = {
        "config.yaml": OmegaConf.to_yaml(composed),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }
    overrides = [override for override in hydra.overrides.task if is_of_run(override)]
    command = shlex.join(["python", "train.py", *config_flags(hydra), *overrides])
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    return Job(command, files, preset_labels(config, dict(hydra.runtime.choices), folders))


def is_of_run(override: str) -> bool:
    """Return whether a run by itself takes an override: of the settings of a sweep, it takes only sweep.reuse."""
    key = override.lstrip("+").partition("=")[0]
    return key == "sweep.reuse" or key.partition(".")[0] != "sweep"


def config_flags(hydra: Any) -> list[str]:
    """Return the flags that choose other configuration files than conf/ and its config.yaml.

    Args:
        hydra: Hydra's node of a config.
    """
    folders = {source.provider: source.path for source in hydra.runtime.config_sources if source.schema == "file"}
    flags = ["--config-dir", folders["command-line"]] if "command-line" in folders else []
    if "main" in folders and Path(folders["main"]) != CONF:
        flags += ["--config-path", folders["main"]]
    return flags + (["--config-name", hydra.job.config_name] if hydra.job.config_name != "config" else [])


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
        presets = {name: partial(preset_settings, file) for name, file in files.items()}
        presets |= {name: partial(not_null, node) for name, node in stored_presets(item.name) if name not in files}
        names = sorted(presets, key=lambda name: name != typed.get(item.name))  # mostly spares reading the others
        equal = next((name for name in names if presets[name]() == settings), None)
        if equal is not None:
            labels[item.name] = equal
    return labels


@cache
def preset_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a preset's file that are not null."""
    return not_null(OmegaConf.load(file))


def not_null(preset: Any) -> dict[str, Any]:
    """Return the settings of a preset that are not null."""
    content = OmegaConf.to_container(preset)
    settings = content if isinstance(content, dict) else {}
    return {str(key): value for key, value in settings.items() if key != "defaults" and value is not None}


def stored_presets(group: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield the presets of a group that no file has, those of extensions, with their names."""
    for name, stored in ConfigStore.instance().repo.get(group, {}).items():
        yield name.removesuffix(".yaml"), stored.node

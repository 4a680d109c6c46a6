"""The command line of train.py: Hydra's, its errors as sentences."""

import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config import Config, help_text, settings
from sweeper.errors import SENTENCES, Diverged, UserError, choices, leave, nearest

log = logging.getLogger(__name__)

LAST_FRAMES = 2  # of a traceback, in a sweep's output; train.log has all


def register_schema() -> None:
    """Give Hydra the types of all settings and the help page."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(group="hydra/help", name="sweeper", node={"app_name": "train.py", "template": help_text()})
    adapt_optuna(store)


def adapt_optuna(store: ConfigStore) -> None:
    """Give Hydra's Optuna plugin, where it is installed, defaults that fit the runs here.

    A run returns its best validation accuracy, which is to be high; one that diverges is one failed trial; and with a
    fixed seed the same command has the same trials and finds those that are finished.
    """
    Plugins.instance()  # imports all plugins, which store their own defaults first
    stored = store.repo["hydra"]["sweeper"]
    if "optuna.yaml" in stored:
        stored["optuna.yaml"].node.update({"direction": "maximize", "n_jobs": 1, "max_failure_rate": 1.0})
        stored["sampler"]["tpe.yaml"].node.seed = 0


def run_with_sentences(main: Callable[[], None]) -> None:
    """Call a Hydra entry point; what a user can cause ends in one sentence and exit status 1.

    HYDRA_FULL_ERROR=1 in the environment asks for tracebacks. Without it, this sets it for Hydra, which then hands its
    exceptions over instead of printing them.
    """
    if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = os.environ[SENTENCES] = "1"
    try:
        with sentences():
            main()
    finally:
        os.environ["HYDRA_FULL_ERROR"] = "0"
        del os.environ[SENTENCES]


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a user can cause into one sentence on standard error and exit status 1."""
    try:
        yield
    except (UserError, Diverged) as error:
        leave(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        leave(explain(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        leave(f"{type(error).__name__}: {' '.join(str(error).split())}; HYDRA_FULL_ERROR=1 shows where")


@contextmanager
def job_errors(*, fail_fast: bool) -> Iterator[None]:
    """What becomes of an error in the job that is running.

    A single run leaves with the sentence, before Hydra adds a line. A job of a sweep says at once what went wrong and
    in which run, and the others go on; with `fail_fast` it stops its sweep.
    """
    if HydraConfig.get().mode == RunMode.RUN:
        with sentences() if SENTENCES in os.environ else nullcontext():
            refuse_what_a_sweep_means(HydraConfig.get().overrides.task)
            yield
        return
    try:
        yield
    except Exception as error:
        changed = [override for override in HydraConfig.get().overrides.task if not override.startswith("sweep.")]
        log.error("failed: %s: %s", " ".join(changed), told(error))
        if fail_fast:
            sys.exit(1)
        raise


def refuse_what_a_sweep_means(overrides: list[str]) -> None:
    """Raise UserError where a single run was asked for what only a sweep does, such as printing its plan."""
    groups = [item.name for item in fields(Config) if "help" not in item.metadata]
    for key, _, value in (override.partition("=") for override in overrides):
        if key in ("sweep.dry_run", "sweep.exclude", "sweep.zip") and value not in ("false", "[]"):
            raise UserError(f"{key} is for sweeps, which need -m: {with_m()}")
        if key in groups and value.startswith("["):
            raise UserError(f"{key}={value} is a list: name one, or several with -m as {key}={value.strip('[]')}")


def with_m() -> str:
    """The command as typed, as a sweep."""
    program, *arguments = sys.argv
    return shlex.join(["python", program, "-m", *arguments])


def told(error: Exception) -> str:
    """An error in a job: a sentence, or the last lines of its traceback (HYDRA_FULL_ERROR=1: all of them)."""
    if SENTENCES not in os.environ:
        return "".join(traceback.format_exception(error))
    sentence = f"{error}" if isinstance(error, UserError | Diverged) else f"{type(error).__name__}: {error}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note not in sentence)
    frames = [] if isinstance(error, UserError | Diverged) else traceback.format_tb(error.__traceback__)[-LAST_FRAMES:]
    return f"{sentence}{notes}\n{''.join(frames)}".rstrip()


def explain(error: BaseException) -> str:
    """Hydra's or OmegaConf's complaint about what was typed, with the valid choices."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        extra = "; optuna is an extra: pip install -e '.[optuna]' in the program's folder" if name == "optuna" else ""
        return f"there is no {group}={name}{nearest(name, error.options)}; choose from {choices(error.options)}{extra}"
    if (swept := re.match(r"Ambiguous value for argument '(.*)'", str(error))) is not None:
        return f"{swept[1]} names several values, which needs -m: {with_m()}"
    inner = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(inner, "full_key", None)
    if key is None or not keys_beside(key):  # not of ours
        return " ".join(str(error if key is None else inner).partition("full_key:")[0].split())
    if "not in" in str(inner):
        valid = keys_beside(key)
        elsewhere = [name for name, _, _ in settings(Config()) if name.rpartition(".")[2] == key.rpartition(".")[2]]
        if elsewhere:
            return f"there is no setting {key}; there is {choices(elsewhere)}"
        group, dot, _ = key.rpartition(".")
        where = f"{group} has" if group else "there are"
        return f"there is no setting {key}{nearest(key, valid, group + dot)}; {where} {choices(valid)}"
    kinds = {name: item.type for name, item, _ in settings(Config())}
    return f"{key} takes {kinds.get(key, 'another kind of value')}: {str(inner).splitlines()[0]}"


def keys_beside(key: str) -> list[str]:
    """Every valid key at the level of this one."""
    level: Any = Config()
    prefix = ""
    for name in key.split(".")[:-1]:
        level, prefix = getattr(level, name, None), f"{prefix}{name}."
    return [f"{prefix}{item.name}" for item in fields(level)] if is_dataclass(level) else []


def hydra_files(config: DictConfig) -> dict[str, str]:
    """What Hydra would write into .hydra/ of the job that is running, by file name."""
    hydra = HydraConfig.get()
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }


def command() -> str:
    """The command that repeats the job that is running by itself."""
    return shlex.join(["python", "train.py", *HydraConfig.get().overrides.task])

"""Checks of a command before Hydra starts what it asks for: settings that would have no effect are refused."""

from dataclasses import fields
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config import Config, SweepConfig, validate
from sweeper.display import exit_with_error
from sweeper.errors import UserError
from sweeper.garbage import collect_again
from sweeper.interpolations import raw_values, refuse_unstable
from sweeper.typed import as_multirun

# Settings that have an effect on any run, under each sweeper; under another one than these, those of `OTHERS`.
HONORED = {
    "grid": {item.name for item in fields(SweepConfig)},
    "optuna": {"reuse", "name", "dry_run", "max_retries", "fail_fast"},
}
OTHERS = {"reuse", "fail_fast"}
# Settings of Hydra that would move or make folders, their only values here, and what to set instead.
UNUSED = {
    "run.dir": (".", "runs are in output_dir/runs: set output_dir=FOLDER"),
    "sweep.dir": ("${output_dir}/sweeps", "sweeps are in output_dir/sweeps: set output_dir=FOLDER and sweep.name=NAME"),
    "sweep.subdir": (".", "runs are in output_dir/runs: set output_dir=FOLDER"),
    "output_subdir": (None, "a run's config is in its folder, in .hydra: set output_dir=FOLDER"),
    "job.chdir": (None, "paths are relative to the working directory: set output_dir=FOLDER"),
}


class Checks(Callback):
    """Hydra calls this before a run or a sweep starts. It drops exceptions of callbacks, so this ends the process."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        self.check(config, refuse_sweep_overrides)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        collect_again()
        HydraConfig.instance().set_config(config)  # what ${hydra:...} refers to, as in a job
        OmegaConf.set_readonly(config.hydra, False)  # again: launchers write there
        self.check(config, refuse_unused_sweep_settings)

    def check(self, config: DictConfig, of_mode: Any) -> None:
        try:
            refuse_lists_of_choices(config)
            refuse_dotted_choices(config)
            refuse_repeated_groups(config)
            refuse_unused_folders(config)
            of_mode(config)
            refuse_unstable(raw_values(config), in_sweep=of_mode is refuse_unused_sweep_settings)
        except UserError as error:
            exit_with_error(str(error))
        except (HydraException, OmegaConfBaseException):
            pass  # a value of a wrong type, which is reported where the config is read


def overrides_of(config: DictConfig, kind: str) -> list[Override]:
    """Return the overrides of a command, parsed: kind is "task", or "hydra" for those of Hydra's own node."""
    parser = OverridesParser.create()
    texts = OmegaConf.to_container(config.hydra.overrides[kind], resolve=False)
    return [parser.parse_override(str(text)) for text in texts or ()]


def refuse_lists_of_choices(config: DictConfig) -> None:
    """Check that no group is given a list: Hydra would merge its choices into one, or leave some out.

    Raises:
        UserError: one is.
    """
    groups = {"experiment", *(item.name for item in fields(Config) if "help" not in item.metadata)}
    for override in overrides_of(config, "task"):
        value = override.value()
        choices = value.list if isinstance(value, ChoiceSweep) else [value]
        for names in (item for item in choices if isinstance(item, list) and override.key_or_group in groups):
            key, text = override.key_or_group, ",".join(map(str, names))
            raise UserError(f"{key}=[{text}] is a list; choose a single name, or sweep: -m {key}={text}")


def refuse_repeated_groups(config: DictConfig) -> None:
    """Check that a group whose settings are given as a dict is given nothing else: of both, a sweep would use the last.

    Raises:
        UserError: it is.
    """
    overrides = overrides_of(config, "task")
    keys = [override.key_or_group for override in overrides]
    for override in overrides:
        key, value = override.key_or_group, override.value()
        choices = value.list if isinstance(value, ChoiceSweep) else [value]
        if any(isinstance(choice, dict) for choice in choices) and keys.count(key) > 1:
            raise UserError(f"{override.input_line}: {key} is given twice; write its settings as {key}.SETTING=VALUE")


def refuse_dotted_choices(config: DictConfig) -> None:
    """Check that a launcher or a sweeper is not chosen as a setting.

    Raises:
        UserError: one is.
    """
    for override in overrides_of(config, "hydra"):
        key, typed = override.key_or_group, str(override.input_line)
        if key in ("hydra.launcher", "hydra.sweeper"):
            right = typed.replace(".", "/", 1)
            raise UserError(f"{typed}: the choice of a group has a slash; write {right}")


def refuse_unused_folders(config: DictConfig) -> None:
    """Check that Hydra's settings of folders are this program's: a run's folder follows from its settings.

    Raises:
        UserError: one is not.
    """
    for key, (only, instead) in UNUSED.items():
        group, _, name = f"hydra.{key}".rpartition(".")
        value = OmegaConf.to_container(OmegaConf.select(config, group), resolve=False)[name]  # type: ignore[index,call-overload]
        if value != only and not (key == "job.chdir" and value is False):
            raise UserError(f"hydra.{key}={value} is not used here; {instead}")


def refuse_sweep_overrides(config: DictConfig) -> None:
    """Check that a single run has no overrides that only a sweep can honor, such as printing its plan.

    Raises:
        UserError: it has, or one is out of its range.
    """
    sweep = OmegaConf.to_object(config.sweep)
    validate(sweep, "sweep.")
    for override in overrides_of(config, "task"):
        group, _, key = override.key_or_group.partition(".")
        value = override.value()
        given = ([key] if key else [*value] if isinstance(value, dict) else []) if group == "sweep" else []
        if any(name != "reuse" and getattr(sweep, name) != getattr(SweepConfig(), name) for name in given):
            raise UserError(f"{override.input_line} applies to sweeps only; add -m: {as_multirun()}")
    for override in overrides_of(config, "hydra"):
        if override.key_or_group.startswith(("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")):
            raise UserError(f"{override.input_line} applies to sweeps only; add -m: {as_multirun()}")


def refuse_unused_sweep_settings(config: DictConfig) -> None:
    """Check that the sweeper honors every setting of `sweep` that is given.

    Raises:
        UserError: it does not.
    """
    name = str(config.hydra.runtime.choices.get("hydra/sweeper"))
    sweep = OmegaConf.to_object(config.sweep)
    for key in (item.name for item in fields(SweepConfig) if item.name not in HONORED.get(name, OTHERS)):
        if getattr(sweep, key) != getattr(SweepConfig(), key):
            raise UserError(f"sweep.{key} is not used by hydra/sweeper={name}; use hydra/sweeper=grid")

"""The typed schema of a run: its own settings, its groups (sweeper.groups), and how values are read and checked.

The YAML files in conf/ give the values, and these classes the types. This module imports neither torch nor Hydra.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import UserError
from sweeper.groups import (
    ActivationConfig,
    ArchitectureConfig,
    AugmentationConfig,
    AveragingConfig,
    CoursesConfig,
    DataConfig,
    DropoutConfig,
    InitConfig,
    LossConfig,
    MixingConfig,
    ModelConfig,
    NormConfig,
    OptimizerConfig,
    SchedulerConfig,
    TaskConfig,
    ViewsConfig,
)
from sweeper.ranges import DEVICE, Check, above, at_least, between, group, inside, listing, one_of, setting

LONGEST_NAME = 100  # characters of a sweep's name, which is also a folder name
MOST_BYTES = 200  # of the same name; file systems take 255
# What does not determine a run, besides where its images come from.
NOT_IDENTITY = ("sweep", "device", "threads", "compile", "output_dir", "checkpoint_minutes", "extend", "verbose")
PATHS = ("data.root", "data.cache", "model.weights", "loss.teacher", "output_dir")


@dataclass
class SweepConfig:
    """How the runs of a sweep are handled; none of it changes a run."""

    reuse: str = setting(
        "finished runs to reuse: same_code, any, none", "same_code", one_of("same_code", "any", "none")
    )
    name: str | None = setting(
        "name of the sweep and of its folder in outputs/sweeps/; null: derived from the overrides",
        check=Check(
            f"at most {LONGEST_NAME} letters, digits, dots, - and _ ({MOST_BYTES} bytes), the first a letter or digit",
            lambda name: (
                re.fullmatch(r"\w[\w.-]*", name) is not None
                and len(name) <= LONGEST_NAME
                and len(name.encode()) <= MOST_BYTES
            ),
        ),
    )
    design: str = setting(
        "combinations to run: product, one_at_a_time, leave_one_out, screen",
        "product",
        one_of("product", "one_at_a_time", "leave_one_out", "screen"),
    )
    order: str = setting("longest: longest runs first; seeds: seed by seed", "longest", one_of("longest", "seeds"))
    precision: float | None = setting(
        "add seeds until each effect on test_acc is known to +- this; null: fixed seeds", None, above(0)
    )
    max_seeds: int | None = setting("maximum number of seeds with sweep.precision; null: 20", None, at_least(4))
    exclude: list[dict[str, Any]] = listing("combinations to exclude, such as [{model:cnn,activation:selu}]")
    zip: list[list[str]] = listing("swept keys that vary together, such as [[model,optimizer]]")
    dry_run: bool = setting("print the plan and stop", False)
    max_retries: int = setting("maximum number of retries of unfinished runs", 1, at_least(0))
    fail_fast: bool = setting("stop at the first run that fails", False)
    wait: bool = setting("wait for the runs; false (Slurm only): submit them and return", True)


@dataclass
class Config:
    """One run."""

    task: TaskConfig = group(TaskConfig)
    data: DataConfig = group(DataConfig)
    model: ModelConfig = group(ModelConfig)
    optimizer: OptimizerConfig = group(OptimizerConfig)
    scheduler: SchedulerConfig = group(SchedulerConfig)
    activation: ActivationConfig = group(ActivationConfig)
    norm: NormConfig = group(NormConfig)
    dropout: DropoutConfig = group(DropoutConfig)
    architecture: ArchitectureConfig = group(ArchitectureConfig)
    init: InitConfig = group(InitConfig)
    augmentation: AugmentationConfig = group(AugmentationConfig)
    mixing: MixingConfig = group(MixingConfig)
    loss: LossConfig = group(LossConfig)
    averaging: AveragingConfig = group(AveragingConfig)
    courses: CoursesConfig = group(CoursesConfig)
    views: ViewsConfig = group(ViewsConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    epochs: int = setting("number of epochs", 30, at_least(1))
    batch_size: int = setting("images per batch", 64, at_least(2))
    seed: int = setting("seed of initial weights, split, shuffling, augmentation and dropout", 0, between(0, 2**63 - 1))
    grad_clip: float | None = setting("maximum gradient norm; null: no clipping", None, above(0))
    selective_backprop: float | None = setting(
        "fraction of each batch to train on, the images with the largest losses; null: all", None, inside(0, 1)
    )
    autocast: str | None = setting("bfloat16: mixed precision; null: float32", None, one_of("bfloat16"))
    select: str | None = setting(
        "validation metric that selects the best epoch: val_acc, val_loss, val_balanced_acc, val_macro_f1; of "
        "segmentation val_miou, val_loss, val_pixel_acc; null: the first",
        None,
        one_of("val_acc", "val_loss", "val_balanced_acc", "val_macro_f1", "val_miou", "val_pixel_acc"),
    )
    patience: int | None = setting("early-stopping patience, in epochs; null: never stop early", None, at_least(1))
    checkpoint_minutes: float = setting("minutes between checkpoints within an epoch", 5.0, at_least(0))
    device: str = setting("auto (a GPU if available), cpu or cuda", "auto", DEVICE)
    threads: int | None = setting("CPU threads; null: torch's default", None, at_least(1))
    compile: bool = setting("compile the model with torch.compile (about a minute at startup; meant for GPUs)", False)
    output_dir: str = setting("folder for runs and summaries", "outputs")
    extend: list[str] = listing("Python files with choices of your own, such as extend=my_tricks.py")
    verbose: bool = setting("print a line with all measures for every epoch, in sweeps too, and no live display", False)


def settings(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yield every setting of a config object as (dotted key, its field, its value), groups after the run's own."""
    fields = dataclasses.fields(config)
    for item in (item for item in fields if "help" in item.metadata):
        yield prefix + item.name, item, getattr(config, item.name)
    for item in (item for item in fields if "help" not in item.metadata):
        yield from settings(getattr(config, item.name), f"{prefix}{item.name}.")


def from_plain(values: dict[str, Any], config: Any = None) -> Config:
    """Return the config that `asdict` turned into these values."""
    config = Config() if config is None else config
    for key, value in values.items():
        before = getattr(config, key)
        setattr(config, key, from_plain(value, before) if dataclasses.is_dataclass(before) else copy.deepcopy(value))
    return cast(Config, config)


def as_recorded(config: Any) -> dict[str, Any]:
    """Return a config or a group as plain values, without the settings of extensions that are null.

    So the record of a run that uses no extension can be read without it.
    """
    plain = asdict(config)
    for key, item, value in settings(config):
        if value is None and item.metadata.get("added"):
            *groups, name = key.split(".")
            del (plain[groups[0]] if groups else plain)[name]
    return plain


def to_config(config: DictConfig | dict[str, Any]) -> Config:
    """Convert a composed or recorded config to the dataclasses.

    Raises:
        OmegaConfBaseException: a key or a type is not in the schema.
    """
    plain = OmegaConf.to_container(config) if isinstance(config, DictConfig) else config
    merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), plain))
    assert isinstance(merged, Config)
    return merged


def validate_text(key: str, value: str, item: dataclasses.Field[Any]) -> None:
    """Check a text for what is never meant: nothing, Python's None, and a home folder that no shell has replaced.

    Raises:
        UserError: it is one of these.
    """
    check, is_nullable = item.metadata["check"], re.search("None|Any", str(item.type)) is not None
    null = f"write {key}=null" if is_nullable else "it needs a value"
    if value == "None" and (is_nullable or check is None):
        raise UserError(f"{key}=None: None is written null; {null}")
    if value == "" and not key.endswith(".name") and check is None:
        raise UserError(f"{key}= is empty; {null}")
    if key in PATHS and value.startswith("~"):
        raise UserError(f"{key}={value}: ~ is not replaced here; write {key}={Path(value).expanduser()}")


def validate(config: Any, prefix: str = "") -> None:
    """Check every value of a config, or of the group with this prefix, against its range.

    Raises:
        UserError: a value is out of its range; the sentence names the setting and the range.
    """
    for key, item, value in settings(config, prefix):
        check: Check | None = item.metadata["check"]
        chosen = key.removesuffix(".name")
        if isinstance(value, str):
            validate_text(key, value, item)
        if value == "" and chosen != key and check is None:
            raise UserError(f"{chosen} is required: choose {chosen}=NAME; a group cannot be removed with ~{chosen}")
        if value == [] and key not in ("sweep.exclude", "sweep.zip", "extend"):
            raise UserError(f"{key}=[] must have at least one value")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{key}={number} is not a finite number")
            if number is not None and check is not None and not check.holds(number):
                kind = "invalid" if isinstance(number, str) else "out of range"
                raise UserError(f"{key}={number} is {kind}: must be {check.text}")

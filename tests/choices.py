"""Every choice there is, from the registries in the code and the presets in conf/: a new one needs no test table."""

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf
from processes import REPOSITORY

from sweeper.config import from_plain
from sweeper.data.cache import Cached
from sweeper.data.sources import DATASETS
from sweeper.errors import UserError
from sweeper.runs.fingerprint import REGISTRIES
from sweeper.runs.fingerprint import STEPS as STEP_REGISTRIES
from sweeper.runs.spec import check_shared_settings
from sweeper.training import build

CONF = REPOSITORY / "conf"


def registry(path: str) -> Mapping[str, Any]:
    """Return the registry that runs/fingerprint.py names so, such as `models/layers.ACTIVATIONS`."""
    module, _, name = path.partition(".")
    functions: Mapping[str, Any] = getattr(importlib.import_module(f"sweeper.{module.replace('/', '.')}"), name)
    return functions


# group -> its functions by name. Groups of steps are not among them: steps combine, and the presets have no name.
CHOICES = {group: registry(path) for group, (path, _) in REGISTRIES.items() if group != "select"} | {"data": DATASETS}
STEPS = {group: registry(path) for group, path in STEP_REGISTRIES.items()}
GROUPS = (*CHOICES, *STEPS)
EPOCHS = 6  # of the small runs that take every choice

# Settings that a choice may need in a small run; the first are taken with which it is not refused.
BASES: tuple[dict[str, str], ...] = (
    {},
    {"norm": "batch"},
    {"dropout": "light"},
    {"batch_size": "32"},
    {"model": "cnn"},
    {"model": "cnn_pool", "norm": "batch"},
    {"model": "resnet18", "norm": "batch"},
    {"model": "resnet18", "norm": "batch", "model.stem": "imagenet"},
    {"model": "airbench", "model.widths": "[8,8]"},
    {"model": "torchvision"},
    {"task": "segmentation", "data": "segmentation_folder", "model": "unet", "norm": "batch"},
    {"task": "segmentation", "data": "segmentation_folder"},
)
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def presets(group: str) -> dict[str, dict[str, Any]]:
    """Return the presets of a group: the settings in each file of conf/<group>/, by the file's name."""
    return {name: dict(settings) for name, settings in read_presets(group).items()}


@cache
def read_presets(group: str) -> dict[str, dict[str, Any]]:
    return {path.stem: settings_in(path) for path in sorted((CONF / group).glob("*.yaml"))}


@cache
def overridden(model: str) -> dict[str, str]:
    """Return the presets of other groups that a model's preset chooses, by group."""
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{model}.yaml"))
    pairs = [item for entry in content.get("defaults", []) for item in entry.items()]
    return {key.removeprefix("override /").partition("@")[0]: value for key, value in pairs}


def settings_in(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}


def needs(choice: str, given: Mapping[str, str]) -> dict[str, str] | None:
    """Return the settings that a choice needs beside those given, of a multilayer perceptron where no model is given.

    Returns:
        One of BASES; None where the choice is refused with each of them that agrees with the given settings.
    """
    own = dict([choice.split("=")])
    for base in BASES:
        if all(given.get(key, value) == value for key, value in base.items()):
            case = {"model": "mlp"} | base | dict(given) | own
            if not is_refused(tuple(sorted(case.items()))):
                return base
    return None


@cache
def baseline() -> dict[str, str]:
    """Return the preset of each group in the baseline run."""
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    return {key: value for item in content["defaults"] if isinstance(item, dict) for key, value in item.items()}


@cache
def is_refused(case: tuple[tuple[str, str], ...]) -> bool:
    """Return whether a small run is refused before training; composed without Hydra, which takes longer than all else.

    Trained weights are not read.
    """
    chosen = baseline() | overridden(dict(case)["model"]) | dict(case)
    config = from_plain(
        {"batch_size": 16, "epochs": EPOCHS} | {group: presets(group)[chosen[group]] for group in GROUPS}
    )
    config.data.val_size = 24
    settings = OmegaConf.from_dotlist([f"{key}={value}" for key, value in case if key not in GROUPS])
    config = from_plain(cast(dict[str, Any], OmegaConf.to_container(settings)), config)
    source: Any = None
    cached = Cached(source, CONF, "", ["ant", "bee", "cat"], (3, 16, 16), 120, 30)
    try:
        check_shared_settings(config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "pretrained_state", lambda model: {})
            build.check(config, build.choose_all(config), cached)
    except UserError:
        return True
    return False

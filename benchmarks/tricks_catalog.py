"""All tricks there are, found in the registries and in the presets of conf/, so a new trick needs no table."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sweeper.choice import is_off, keyword_only
from sweeper.config import Config, settings
from sweeper.runs.fingerprint import REGISTRIES, STEPS
from sweeper.training.task_checks import task_of_model

REPOSITORY = Path(__file__).parent.parent
CONF = REPOSITORY / "conf"
MODEL = "cnn"  # that tricks are measured on, where they apply to it
WHEN = "# When: "  # begins the first line of a preset's file
NOT_TRICKS = ("select",)  # chooses an epoch, not how to train

# Tricks that are settings of every run, or of a group whatever its choice: their description is that of the setting.
COMMON = {
    "loss.label_smoothing=0.1": "for long training of networks that overfit; expect less with mixing",
    "loss.class_weights=balanced": "if imbalanced classes should count equally",
    "optimizer.decay_norm_and_bias=false": "with weight decay and a norm; sources disagree, so compare both",
    "optimizer.bias_lr_factor=8": "in short training with batch norm, as in airbench",
    "optimizer.layer_decay=0.75": "for fine-tuning: earlier layers keep more of their trained weights",
    "selective_backprop=0.5": "for networks whose backward pass takes most of the time, and data with many easy images",
    "grad_clip=1.0": "if the loss jumps or diverges",
    "autocast=bfloat16": "on a GPU; a CPU may be slower with it",
}


@dataclass(frozen=True)
class Trick:
    """A choice, a step or a setting.

    Attributes:
        overrides: what chooses it, such as {"optimizer": "lion"} or {"augmentation.erasing": "0.5", ...}.
        text: what it does, with its source.
        when: when it should help.
        values: the settings of a preset.
        presets: of a step, the presets that have it on.
    """

    group: str
    overrides: Mapping[str, str]
    text: str
    when: str
    values: Mapping[str, Any] = field(default_factory=dict)
    presets: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.overrides.items())


def is_pixelwise(trick: Trick) -> bool:
    """Return whether a choice is of segmentation: its cost is not compared with that of classifying images."""
    if trick.group == "model":
        name = presets("model").get(trick.overrides.get("model", ""), {}).get("name")
        return name is not None and task_of_model(str(name)) == "segmentation"
    return trick.name == "task=segmentation"


def registry(path: str) -> Mapping[str, Any]:
    """Return the registry with a name of runs/fingerprint.py, such as `models/layers.ACTIVATIONS`."""
    module, _, name = path.partition(".")
    functions: Mapping[str, Any] = getattr(importlib.import_module(f"sweeper.{module.replace('/', '.')}"), name)
    return functions


def presets(group: str) -> dict[str, dict[str, Any]]:
    """Return the settings in each file of conf/<group>/, by the file's name."""
    found = {}
    for path in sorted((CONF / group).glob("*.yaml")):
        content: Any = OmegaConf.to_container(OmegaConf.load(path))
        found[path.stem] = {key: value for key, value in content.items() if key != "defaults"}
    return found


def when_of(group: str, preset: str) -> str:
    """Return when a preset should help, from the first line of its file.

    Raises:
        ValueError: the file does not begin so.
    """
    path = CONF / group / f"{preset}.yaml"
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith(WHEN):
        raise ValueError(f"{path} must begin with a line `{WHEN}<when the trick should help>.`")
    return first.removeprefix(WHEN)


def first_paragraph(function: Any) -> str:
    """Return the first paragraph of a docstring.

    Raises:
        ValueError: there is none.
    """
    if not function.__doc__:
        raise ValueError(f"{function.__module__}.{function.__name__} needs a docstring: what it does, and its paper")
    return " ".join(function.__doc__.partition("\n\n")[0].split())


def as_override(value: Any) -> str:
    return re.sub(r"\s", "", str(value)) if not isinstance(value, bool) else str(value).lower()


def choices_of(group: str) -> list[Trick]:
    """Return the presets of a group whose choices have names, in the order of the registry."""
    functions = registry(REGISTRIES[group][0])
    order = list(functions)
    found = []
    for preset, values in sorted(presets(group).items(), key=lambda item: order.index(item[1]["name"])):
        own = {key: value for key, value in values.items() if key != "name"}
        text = first_paragraph(functions[values["name"]])
        found.append(Trick(group, {group: preset}, text, when_of(group, preset), own))
    return found


def steps_of(group: str) -> list[Trick]:
    """Return the steps of a group whose choices combine, with the values of the preset that has fewest, and presets."""
    on = {
        preset: {key: value for key, value in values.items() if not is_off(value)}
        for preset, values in presets(group).items()
    }
    found, alone = [], []
    for step, function in registry(STEPS[group]).items():
        having = sorted((len(on[preset]), preset) for preset in on if set(keyword_only(function)) & set(on[preset]))
        if not having:
            raise ValueError(f"no preset in conf/{group} has the step {step}")
        names = [preset for _, preset in having]
        values = {key: value for key, value in on[names[0]].items() if key in keyword_only(function)}
        alone += [names[0]] if values == on[names[0]] else []
        overrides = {f"{group}.{key}": as_override(value) for key, value in values.items()}
        found.append(Trick(group, overrides, first_paragraph(function), when_of(group, names[0]), presets=tuple(names)))
    for preset, values in on.items():
        if preset not in alone:
            text = "Several steps together." if values else f"No {'course' if group == 'courses' else 'step'}."
            found.append(Trick(group, {group: preset}, text, when_of(group, preset), values))
    return found


def common_settings() -> list[Trick]:
    """Return the tricks that are settings of every run or of every choice."""
    meanings = {key: item.metadata["help"] for key, item, _ in settings(Config())}
    found = []
    for override, when in COMMON.items():
        key, _, value = override.partition("=")
        found.append(Trick("settings", {key: value}, sentence(meanings[key]), f"{when}."))
    return found


@cache
def catalog() -> dict[str, list[Trick]]:
    """Return all tricks by group."""
    named = [group for group in REGISTRIES if group not in NOT_TRICKS]
    groups = {group: choices_of(group) for group in named} | {group: steps_of(group) for group in STEPS}
    return groups | {"settings": common_settings()}


@cache
def defaults() -> dict[str, str]:
    """Return the preset of each group in the baseline run of conf/config.yaml."""
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    return {key: value for item in content["defaults"] if isinstance(item, dict) for key, value in item.items()}


def is_baseline(trick: Trick) -> bool:
    """Return whether a trick is what the others of its group are compared with."""
    baseline = defaults() | {"model": MODEL}
    return all(baseline.get(key) == value for key, value in trick.overrides.items())


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].removesuffix('.')}."

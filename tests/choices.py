"""Every choice there is, from the registries in the code and the presets in conf/: a new one needs no test table."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from processes import REPOSITORY

from sweeper.data.sources import DATASETS
from sweeper.runs.fingerprint import REGISTRIES
from sweeper.runs.fingerprint import STEPS as STEP_REGISTRIES

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
# Settings without which a choice is refused in a small run.
NEEDS = {
    "norm=ghost_batch": {"norm.ghost_size": "4"},
    "architecture=blur_pool": {"model": "cnn"},
    "architecture=squeeze_excitation": {"model": "cnn_pool"},
    "architecture=weight_standardization": {"model": "cnn", "norm": "batch"},
    "architecture=resnet_rs": {"model": "resnet18", "model.stem": "imagenet"},
    "norm=own": {"model": "torchvision"},
    "activation=own": {"model": "torchvision"},
    "init=whitening": {"model": "airbench", "model.widths": "[8,8]"},
    "init=airbench": {"model": "airbench", "model.widths": "[8,8]"},
    "architecture=fixed_scale": {"model": "cnn", "norm": "batch"},
    "architecture=airbench": {"model": "cnn", "norm": "batch"},
    "model=airbench": {"model.widths": "[8,8]"},
    "model=timm": {"model.arch": "test_resnet"},
    "experiment=airbench94": {"model.widths": "[8,8]"},
    "experiment=airbench_small": {"model.widths": "[8,8]"},
    "experiment=airbench94_muon": {"model.widths": "[8,8]"},
    "courses=early_dropout": {"model": "mlp", "dropout": "heavy"},
    "courses=late_dropout": {"model": "mlp_deep", "dropout": "light"},
    "courses=layer_freezing": {"model": "cnn"},
    "courses=gradual_unfreezing": {"model": "cnn_pool"},
    "courses=progressive_resizing": {"model": "resnet18"},
    "courses=first_bias_freezing": {"model": "cnn"},
}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def presets(group: str) -> dict[str, dict[str, Any]]:
    """Return the presets of a group: the settings in each file of conf/<group>/, by the file's name."""
    return {path.stem: settings_in(path) for path in sorted((CONF / group).glob("*.yaml"))}


def settings_in(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}

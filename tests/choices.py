"""Every choice there is, from the registries in the code and the presets in conf/: a new one needs no test table."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support import REPOSITORY

from sweeper.cli import register_schema
from sweeper.config import Config, to_config
from sweeper.data.sources import DATASETS
from sweeper.runs.fingerprint import REGISTRIES

CONF = REPOSITORY / "conf"


def registry(path: str) -> Mapping[str, Any]:
    """Return the registry that runs/fingerprint.py names so, such as `models/layers.ACTIVATIONS`."""
    module, _, name = path.partition(".")
    functions: Mapping[str, Any] = getattr(importlib.import_module(f"sweeper.{module.replace('/', '.')}"), name)
    return functions


# group -> its functions by name. Augmentation is not among them: its steps combine.
CHOICES: dict[str, Mapping[str, Any]] = {"data": DATASETS} | {
    group: registry(path) for group, (path, _) in REGISTRIES.items() if (CONF / group).is_dir()
}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def presets(group: str) -> dict[str, dict[str, Any]]:
    """Return the presets of a group: the settings in each file of conf/<group>/, by the file's name."""
    return {path.stem: settings_in(path) for path in sorted((CONF / group).glob("*.yaml"))}


def settings_in(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "defaults"}


def composed(*overrides: str) -> Config:
    """Compose a run's config, as train.py does."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(compose("config", overrides=list(overrides)))

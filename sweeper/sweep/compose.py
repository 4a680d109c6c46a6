"""Composition of the configs of a sweep's jobs, as Hydra does it, without composing the same groups twice."""

import copy
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweeper import config as own_settings
from sweeper import groups as group_settings
from sweeper.config import Config, from_plain, to_config
from sweeper.errors import UserError
from sweeper.files import read_json, write_json
from sweeper.interpolations import raw_values, refuse_unstable
from sweeper.runs.extensions import loaded_texts
from sweeper.sweep.expand import Job
from sweeper.sweep.recombine import Groups, Recombiner, Whole

OF_HYDRA = "${hydra:"  # the beginning of an interpolation
SCHEMA = [Path(str(module.__file__)) for module in (own_settings, group_settings)]
SEED = re.compile(r"seed=(0|[1-9]\d{0,17})")


@dataclass(frozen=True)
class Composed:
    """The config of a job, and the preset that each group is composed from."""

    config: Config
    presets: dict[str, str]


class Composer:
    """Composes jobs.

    Groups are composed by Hydra, once for each preset (sweeper.sweep.recombine) or each combination of them. Plain
    values such as `optimizer.lr=0.1` are set on top, as Hydra does it; any other override is composed by Hydra.
    `remember` reads the configs of an earlier plan.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader: ConfigLoader = loader
        self.master = master
        self.by_groups: dict[Groups, Whole] = {}
        self.interpolations: dict[Groups, list[str]] = {}
        self.remembered: dict[str, dict[str, Any]] = {}
        self.composed: dict[str, dict[str, Any]] = {}
        self.parser = OverridesParser.create(config_loader=loader)
        self.parse = cache(self.parser.parse_override)
        self.is_group = cache(lambda name: bool(loader.get_group_options(name)))
        self.of_groups = cache(self.by_hydra)
        self.recombine = Recombiner(loader, master, self.parse, self.of_groups)

    def __call__(self, job: Job) -> Composed:
        """Return a new copy of a job's config.

        Raises:
            UserError: the job would be a sweep within a sweep.
            HydraException, OmegaConfBaseException: Hydra cannot compose it.
        """
        text = json.dumps(job)
        if text not in self.composed:
            self.composed[text] = self.remembered.get(text) or asdict(self.compose(job))
        saved = self.composed[text]
        return Composed(from_plain(saved["config"]), dict(saved["presets"]))

    def compose(self, job: Job) -> Composed:
        groups, values, is_simple = self.split(job)
        if not is_simple or any(OF_HYDRA in text for text in job):
            return as_composed(self.by_hydra(tuple(job)))
        if groups not in self.by_groups:
            self.by_groups[groups] = self.recombine(groups) or self.of_groups(groups)
        if groups not in self.interpolations:
            self.interpolations[groups] = [*raw_values(self.by_groups[groups][0]).values()]
        interpolations = self.interpolations[groups]
        if any(OF_HYDRA in text for text in interpolations):  # Hydra's own config, which each job has by itself
            return as_composed(self.by_hydra(tuple(job)))
        if (seed := seed_of(job)) and not any("seed" in text for text in interpolations):
            composed = self([text for text in job if text != seed[0]])
            composed.config.seed = int(seed[1])
            return composed
        whole, presets = copy.deepcopy(self.by_groups[groups])
        try:
            for override in values:
                OmegaConf.update(whole, override.key_or_group, override.value(), merge=True)
            config = OmegaConf.to_object(whole)
        except OmegaConfBaseException:
            return as_composed(self.by_hydra(tuple(job)))  # whose error names the override
        assert isinstance(config, Config)
        return Composed(config, presets)

    def split(self, job: Job) -> tuple[Groups, list[Override], bool]:
        """Split a job into choices of groups and plain values, and return whether it consists only of these."""
        overrides = [self.parse(text) for text in job]
        values = [item for item in overrides if item.package is None and not self.is_group(item.key_or_group)]
        groups = tuple(text for text, item in zip(job, overrides, strict=True) if item not in values)
        return groups, values, all(item.type == OverrideType.CHANGE for item in overrides)

    def by_hydra(self, job: tuple[str, ...]) -> Whole:
        return compose_whole(self.loader, self.master, job)

    def remember(self, file: Path) -> None:
        """Read the configs that `save` wrote, unless their sources have changed."""
        saved = read_json(file) or {}
        if saved.get("sources") == self.sources():
            self.remembered = saved["configs"]

    def save(self, file: Path) -> None:
        """Write the configs for the next plan."""
        interpolations = chain.from_iterable(self.interpolations.values())
        if any(
            OF_HYDRA in text for text in interpolations
        ):  # what they refer to may change, and so may an interpolation
            return
        configs = {job: config for job, config in self.composed.items() if "${" not in job}
        write_json(file, {"sources": self.sources(), "configs": configs})

    def sources(self) -> str:
        """Hash the sources of a config besides the job: YAML files, schema, versions, Hydra's overrides."""
        hydra = self.master.hydra
        parts = [version("hydra-core"), version("omegaconf")]
        parts += [path.read_text(encoding="utf-8") for path in SCHEMA]
        parts += [*hydra.overrides.hydra, str(hydra.job.config_name), *(text for _, _, text in loaded_texts())]
        for source in hydra.runtime.config_sources:
            files = sorted(Path(source.path).rglob("*.yaml")) if source.schema == "file" else []
            parts += [str(path) for path in files] + [
                path.read_text(encoding="utf-8", errors="replace") for path in files
            ]
        named = {name for part in parts for name in re.findall(r"oc\.env:\s*(\w+)", part)}
        parts += [f"{name}={os.environ.get(name)}" for name in sorted(named)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compose_whole(loader: ConfigLoader, master: DictConfig, job: tuple[str, ...]) -> Whole:
    """Return Hydra's composition of a job without the node `hydra`, and the preset of each group."""
    composed = loader.load_sweep_config(master, list(job))
    if OmegaConf.select(composed, "hydra.sweeper.params") != master.hydra.sweeper.params:
        raise UserError("an experiment that defines its own sweep cannot be swept over; run it separately")
    choices = composed.hydra.runtime.choices.items()
    presets = {str(group): str(preset) for group, preset in choices if hasattr(Config(), str(group))}
    values = raw_values(composed)
    refuse_unstable(values, in_sweep=True)
    if any(OF_HYDRA in value for value in values.values()):
        HydraConfig.instance().set_config(composed)  # what they refer to, until the next job is composed
    with open_dict(composed):
        del composed["hydra"]
    return composed, presets


def seed_of(job: Job) -> re.Match[str] | None:
    """Return the override of the seed where nothing else in the job refers to it."""
    texts = [text for text in job if "seed" in text]
    return SEED.fullmatch(texts[0]) if len(texts) == 1 else None


def as_composed(whole: Whole) -> Composed:
    config, presets = whole
    return Composed(to_config(config), presets)

"""The config of every job of a sweep, as Hydra composes it, without composing the same thing twice."""

import copy
import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweeper import config as schema
from sweeper.config import Config, from_plain, to_config
from sweeper.errors import UserError
from sweeper.files import read_json, write_json
from sweeper.sweep.expand import Job

PARALLEL_FROM = 100  # combinations of groups, for which starting processes pays


class Composer:
    """Composes jobs.

    Groups are composed by Hydra, once for each combination of them. Plain values such as `optimizer.lr=0.1` are set on
    top, as Hydra does it; whatever else there is takes Hydra's whole way. `remember` takes configs of an earlier plan.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader: ConfigLoader = loader
        self.master = master
        self.composed: dict[tuple[str, ...], DictConfig] = {}
        self.remembered: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.parser = OverridesParser.create(config_loader=loader)
        self.parse = cache(self.parser.parse_override)
        self.is_group = cache(lambda name: bool(loader.get_group_options(name)))

    def __call__(self, job: Job) -> Config:
        """The config of a job.

        Raises:
            UserError: the job would be a sweep within a sweep.
            HydraException, OmegaConfBaseException: Hydra cannot compose it.
        """
        text = json.dumps(job)
        if text not in self.asked:
            self.asked[text] = self.remembered.get(text) or asdict(self.compose(job))
        return from_plain(self.asked[text])  # a new one, since plans fill in what follows from the images

    def compose(self, job: Job) -> Config:
        groups, values, is_simple = self.split(job)
        if not is_simple:
            return to_config(self.by_hydra(tuple(job)))
        if groups not in self.composed:
            self.composed[groups] = self.by_hydra(groups)
        config = copy.deepcopy(self.composed[groups])
        try:
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            composed = OmegaConf.to_object(config)
        except OmegaConfBaseException:
            return to_config(self.by_hydra(tuple(job)))  # whose error names the override
        assert isinstance(composed, Config)
        return composed

    def split(self, job: Job) -> tuple[tuple[str, ...], list[Override], bool]:
        """The job's choices of groups, its values, and whether it consists of such alone."""
        overrides = [self.parse(text) for text in job]
        values = [one for one in overrides if one.package is None and not self.is_group(one.key_or_group)]
        groups = tuple(text for text, one in zip(job, overrides, strict=True) if one not in values)
        return groups, values, all(one.type == OverrideType.CHANGE for one in overrides)

    def compose_groups(self, jobs: Sequence[Job]) -> None:
        """Where jobs have many combinations of groups that are new, compose these on all cores."""
        new = [job for job in jobs if json.dumps(job) not in self.remembered]
        needed = list(dict.fromkeys(groups for groups, _, is_simple in map(self.split, new) if is_simple))
        if len(needed) >= PARALLEL_FROM:
            cores = joblib.cpu_count()
            shares = joblib.Parallel(n_jobs=cores)(
                joblib.delayed(compose_share)(self.loader, self.master, Singleton.get_state(), needed[core::cores])
                for core in range(cores)
            )
            self.composed |= {groups: config for share in shares for groups, config in share.items()}

    def by_hydra(self, job: tuple[str, ...]) -> DictConfig:
        return compose_whole(self.loader, self.master, job)

    def remember(self, file: Path) -> None:
        """Take the configs that `save` wrote, unless something that they follow from has changed."""
        saved = read_json(file) or {}
        if saved.get("follows_from") == self.follows_from():
            self.remembered = saved["configs"]

    def save(self, file: Path) -> None:
        kept = {text: config for text, config in self.asked.items() if "${" not in text}  # which may mean another value
        write_json(file, {"follows_from": self.follows_from(), "configs": kept})

    def follows_from(self) -> str:
        """A hash of all that a config follows from besides the job: YAML files, schema, versions, Hydra's overrides."""
        hydra = self.master.hydra
        parts = [version("hydra-core"), version("omegaconf"), Path(schema.__file__).read_text()]
        parts += [*hydra.overrides.hydra, str(hydra.job.config_name)]
        for source in hydra.runtime.config_sources:
            files = sorted(Path(source.path).rglob("*.yaml")) if source.schema == "file" else []
            parts += [str(path) for path in files] + [path.read_text() for path in files]
        named = {name for part in parts for name in re.findall(r"oc\.env:\s*(\w+)", part)}
        parts += [f"{name}={os.environ.get(name)}" for name in sorted(named)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def compose_whole(loader: ConfigLoader, master: DictConfig, job: tuple[str, ...]) -> DictConfig:
    """Hydra's composition of a job, less its own node."""
    composed = loader.load_sweep_config(master, list(job))
    if OmegaConf.select(composed, "hydra.sweeper.params") != master.hydra.sweeper.params:
        raise UserError("an experiment that is a sweep by itself cannot be one value of another: start it alone")
    with open_dict(composed):
        del composed["hydra"]
    return composed


def compose_share(
    loader: ConfigLoader, master: DictConfig, singletons: dict[Any, Any], jobs: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], DictConfig]:
    """`compose_whole` for many jobs in another process, less those that fail, as they will again in the first one."""
    setup_globals()
    Singleton.set_state(singletons)
    composed = {}
    for job in jobs:
        with suppress(Exception):
            composed[job] = compose_whole(loader, master, job)
    return composed

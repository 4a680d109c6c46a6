"""Combinations of presets from compositions that differ in one preset each, where Hydra composes nothing else.

A product of five models, five activations and four norms has 100 combinations, but only 12 presets that are not those
of the first combination. A preset that only sets values of its own group changes that group alone; so the groups of
any combination are those of compositions in which they were chosen one at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from sweeper.config import Config

Whole = tuple[DictConfig, dict[str, str]]  # a composed config, and the preset of each group
Groups = tuple[str, ...]  # overrides that choose presets
GROUPS = [item.name for item in fields(Config) if "help" not in item.metadata]


class Recombiner:
    """Makes the config of a combination of presets from those of others.

    Args:
        loader, master: Hydra's loader, and the config of the sweep.
        parse: from the text of an override to the override.
        compose: from overrides that choose presets to Hydra's composition, cached.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        master: DictConfig,
        parse: Callable[[str], Override],
        compose: Callable[[Groups], Whole],
    ) -> None:
        self.loader = loader
        self.master = master
        self.parse = parse
        self.compose = compose
        self.firsts: dict[tuple[Groups, tuple[str, ...]], Groups] = {}
        self.has_fixed_defaults = cache(self.has_fixed_defaults_)
        self.is_plain = cache(self.is_plain_)
        self.changes_only = cache(self.changes_only_)

    def __call__(self, groups: Groups) -> Whole | None:
        """Return the config of a combination; None where only Hydra can tell it.

        Raises:
            HydraException, OmegaConfBaseException: Hydra cannot compose one of the other combinations.
        """
        plain = {self.parse(text).key_or_group: text for text in groups if self.is_plain(text)}
        fixed = tuple(text for text in groups if not self.is_plain(text))
        if len(plain) + len(fixed) < len(groups):
            return None  # a group is chosen twice
        first = self.firsts.setdefault((fixed, tuple(plain)), groups)
        changed = [(name, text) for name, text in plain.items() if text not in first]
        if len(changed) < 2 or not self.has_fixed_defaults(first):
            return None
        parts = {name: with_choice(first, groups, text) for name, text in changed}
        if not all(self.changes_only(first, part, name) for name, part in parts.items()):
            return None
        whole, presets = self.compose(first)
        whole, presets = whole.copy(), dict(presets)
        with open_dict(whole):
            for name, part in parts.items():
                config, of_part = self.compose(part)
                whole[name] = config._get_node(name)
                presets[name] = of_part[name]
        return whole, presets

    def load(self, path: str) -> ConfigResult | None:
        found = next((source for source in self.loader.get_sources() if source.is_config(path)), None)
        return None if found is None else found.load_config(path)

    def is_plain_(self, text: str) -> bool:
        """Return whether the override chooses a preset that only sets values of its own group."""
        override = self.parse(text)
        name, preset = override.key_or_group, override.value()
        if override.package is not None or name not in GROUPS or not isinstance(preset, str):
            return False
        loaded = self.load(f"{name}/{preset}")
        return loaded is not None and "defaults" not in loaded.config and not loaded.header.get("package")

    def has_fixed_defaults_(self, groups: Groups) -> bool:
        """Return whether no defaults list of a combination refers to the choice of another group."""
        overrides = [*self.master.hydra.overrides.hydra, *groups]
        found = self.loader.compute_defaults_list(self.master.hydra.job.config_name, overrides, RunMode.RUN)
        loaded = (self.load(item.config_path) for item in found.defaults if item.config_path is not None)
        return not any("${" in str(as_plain(item.config).get("defaults")) for item in loaded if item is not None)

    def changes_only_(self, first: Groups, part: Groups, name: str) -> bool:
        """Return whether two combinations differ in one group alone."""
        sides = []
        for groups in (first, part):
            config, presets = self.compose(groups)
            others = {key: value for key, value in as_plain(config).items() if key != name}
            sides.append((others, {key: value for key, value in presets.items() if key != name}))
        return sides[0] == sides[1]


def with_choice(first: Groups, groups: Sequence[str], text: str) -> Groups:
    """Return the first combination with one choice of another one, which has the same groups in the same order."""
    return tuple(text if other == text else own for own, other in zip(first, groups, strict=True))


def as_plain(config: Any) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=False)
    return dict(plain)

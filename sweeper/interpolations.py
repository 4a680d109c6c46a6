"""Interpolations whose value depends on when or where they are resolved, which the parts of a sweep do differently."""

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import UserError

OF_TIME = re.compile(r"\$\{now:[^{}]*\}")
OF_A_JOB = re.compile(r"\$\{hydra:\s*(?:job\.num|job\.id|runtime\.output_dir)\s*\}")


def raw_values(config: DictConfig) -> dict[str, str]:
    """Return the values of a config that have interpolations, unresolved, by dotted key; not those of Hydra's node."""
    found: dict[str, str] = {}

    def collect(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                collect(f"{key}.{name}" if key else str(name), inner)
        elif "${" in str(value):
            found[key] = str(value)

    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    collect("", {key: value for key, value in plain.items() if key != "hydra"})
    return found


def refuse_unstable(values: Mapping[str, str], *, in_sweep: bool) -> None:
    """Check that none of the `raw_values` depends on the job, or in a sweep on the time.

    Raises:
        UserError: one does.
    """
    for key, value in values.items():
        if found := OF_A_JOB.search(value):
            raise UserError(f"{key}={value}: {found[0]} differs from job to job and has no effect on a run; remove it")
        if in_sweep and (found := OF_TIME.search(value)):
            raise UserError(
                f"{key}={value}: in a file, {found[0]} differs from job to job; type it, which sets one time for all: "
                f"'{key}={value}'"
            )

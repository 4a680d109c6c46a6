"""A job that requests a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """A job that requests a run.

    Attributes:
        command: the command that repeats the run.
        hydra_files: the files that Hydra would write into .hydra/, by name.
        labels: the preset of each group, see sweeper.runs.spec.RunSpec.
    """

    command: str
    hydra_files: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

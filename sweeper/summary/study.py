"""What effects compare: the runs that have ended, their settings and results, the baseline, the datasets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from sweeper.errors import UserError
from sweeper.summary.columns import ROOT, chooser_of, format_value
from sweeper.summary.effect_measures import METRICS, Runs
from sweeper.summary.pairing import Change
from sweeper.summary.together import Together
from sweeper.summary.tuning import Configuration

ENDED = ("finished", "diverged", "failed")  # states of the runs that comparisons count
CHANCE = ("test_acc", "test_balanced_acc")  # measures whose chance level is known: 1 / number of classes


@dataclass(frozen=True, kw_only=True)
class Method:
    """How runs are compared.

    Attributes:
        tuned: settings that are set to each configuration's best value instead of being compared, see
            sweeper.summary.tuning.
        measures: names of METRICS, by which runs are compared; none: the usual ones of the tasks of the runs.
        is_anytime: whether p and intervals stay valid when seeds are added after looking at results.
        precision: the sweep.precision that chose the number of seeds; None if there was none.
        is_chance: whether diverged runs count as chance accuracy instead of being left out.

    Raises:
        UserError: the chance level is not known for any of the measures.
    """

    tuned: Sequence[str] = ()
    measures: Sequence[str] = ()
    is_anytime: bool = False
    precision: float | None = None
    is_chance: bool = False

    def __post_init__(self) -> None:
        if self.is_chance and self.measures and not set(self.measures) & {*CHANCE}:
            raise UserError(f"--diverged-as-chance affects only {' and '.join(CHANCE)}; add one of them with --measure")

    @property
    def fixed_width(self) -> float | None:
        """The precision; None with --anytime, whose intervals are valid for any number of seeds."""
        return None if self.is_anytime else self.precision


@dataclass(frozen=True)
class Study:
    """The runs and settings that are compared, and the method.

    Attributes:
        settings: of finished, diverged and failed runs, see sweeper.summary.axes.settings_of.
        runs: their results.
        finished, diverged, failed: rows of these runs.
        scored: rows of the diverged runs that count as chance accuracy.
        baseline: for each axis the value that its others are compared with.
        datasets: for each dataset, its name.
        method: how runs are compared.
        chosen: for each row the configuration for which a tuned setting was chosen; empty without any.
        together: what changes with an axis, see sweeper.summary.together.
    """

    settings: pd.DataFrame
    runs: Runs
    finished: set[int]
    diverged: set[int]
    failed: set[int]
    scored: set[int]
    baseline: Mapping[str, Any]
    datasets: Mapping[Any, str]
    method: Method
    chosen: Mapping[int, Configuration] = field(default_factory=dict)
    together: Together = field(default_factory=dict)

    def change(self, axis: str, value: Any, base: Any) -> Change:
        """Return the change of an axis, with what changes with it."""
        others = self.together.get(axis, {})
        return Change(axis, value, base, others.get(value, ()), others.get(base, ()))

    @property
    def finished_settings(self) -> pd.DataFrame:
        return self.settings[[row in self.finished for row in self.settings.index]]

    @cached_property
    def users(self) -> dict[str, set[Any]]:
        """For each axis that is a setting of a group's choice, the choices that use it: a run of theirs has a value."""
        groups = {axis: chooser_of(axis) for axis in self.baseline}
        return {
            axis: {*self.settings.loc[self.settings[axis].notna(), group]}
            for axis, group in groups.items()
            if group != axis and group in self.settings and axis in self.settings
        }

    def known(self, metric: str) -> set[int]:
        """Return the rows of the runs that can be compared by a metric."""
        rows = self.finished | (self.scored if metric in CHANCE else set())
        return {row for row in rows if METRICS[metric].is_known(self.runs, row)}


def name_datasets(ended: pd.DataFrame, settings: pd.DataFrame) -> dict[Any, str]:
    """Return a name for each dataset, with its folder, or digits of its fingerprint, where two have one name."""
    if "data" not in settings:
        return {None: ""}
    names = ended["data"] if "data" in ended else settings["data"]
    if ROOT in ended:
        names = names.where(ended[ROOT].isna(), names.map(str) + " " + ended[ROOT].map(str))
    found: dict[Any, str] = {}
    for data, name in zip(settings["data"], names[settings.index].map(str), strict=True):
        found[data] = min(found.get(data, name), name)
    often = Counter(found.values())
    return {
        data: name if often[name] == 1 else f"{name} {format_value('data.fingerprint', data)}"
        for data, name in sorted(found.items(), key=lambda item: (item[1], str(item[0])))
    }

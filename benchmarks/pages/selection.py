"""The runs of a section of a page: their tables, effects and figures, all by the project's own functions."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.pages.records import SWEEPS, Records
from benchmarks.pages.tables import comparisons_table, markdown
from sweeper.errors import UserError
from sweeper.summary.average import groups
from sweeper.summary.axes import settings_of
from sweeper.summary.best import adjust
from sweeper.summary.columns import (
    best_val,
    format_mean,
    format_override,
    is_missing,
    measured,
    scores,
    setting_columns,
    text_cells,
)
from sweeper.summary.effects import Effects, effects
from sweeper.summary.inference import Comparison, corrected
from sweeper.summary.step_choices import with_step_choices
from sweeper.summary.study import Method
from sweeper.summary.table import lay_out, require_columns
from sweeper.summary.table import where as select

USUAL = ("runs", "best_val_acc", "best_epoch", "test_acc", "convergence_epoch", "train_seconds")
STEP = "step"  # the only setting of runs whose configurations are compared as wholes, see `Selection.steps`


@dataclass(frozen=True)
class Selection:
    """Some runs of a study.

    Attributes:
        frame: their rows, best validation result first, without the column SWEEPS.
        records: of the study.
        precision: the sweep.precision that chose their seeds; None if there was none.
        baseline: value by axis that others are compared with, where it is not the default's.
        is_anytime: whether comparisons stay valid when seeds are added after a look.
    """

    frame: pd.DataFrame
    records: Records
    precision: float | None = None
    baseline: tuple[tuple[str, Any], ...] = ()
    is_anytime: bool = False

    @classmethod
    def of_sweep(cls, records: Records | None, *names: str) -> "Selection | None":
        """Return the runs of sweeps, of none named all; None where there are none."""
        if records is None:
            return None
        cells = [str(cell).split() if isinstance(cell, str) else [] for cell in records.runs[SWEEPS]]
        found = [[text.partition("=")[::2] for text in texts] for texts in cells]
        chosen = [not names or any(name in names for name, _ in sweeps) for sweeps in found]
        precisions = {float(width) for sweeps in found for name, width in sweeps if name in names and width}
        frame = records.runs[chosen].drop(columns=SWEEPS)
        if frame.empty:
            return None
        frame = frame.sort_values([best_val(frame), "run_id"], ascending=[False, True], na_position="last")
        return cls(frame.reset_index(drop=True), records, min(precisions, default=None))

    @property
    def is_timed(self) -> bool:
        """Whether the runs have seconds: they were not trained beside other load."""
        return bool(self.frame["train_seconds"].notna().any())

    def where(self, *conditions: str) -> "Selection":
        """Return those that meet all conditions `column=value`."""
        return replace(self, frame=select(self.frame, conditions).reset_index(drop=True))

    def against(self, **baseline: Any) -> "Selection":
        """Return the same runs with a baseline value of axes, whose dots are written as two underscores."""
        return replace(self, baseline=tuple((name.replace("__", "."), value) for name, value in baseline.items()))

    @property
    def settings(self) -> pd.DataFrame:
        """What `effects` compares, with the choices of steps as axes of their own."""
        finished = self.frame[self.frame["state"] == "finished"]
        return with_step_choices(settings_of(finished), finished["presets"].tolist())

    @property
    def like_baseline(self) -> "Selection":
        """The runs of the baseline itself, in a design of single changes the recipe that is changed."""
        settings, recipe = self.settings, self.effects.baseline
        same = [all(settings[axis][row] == value for axis, value in recipe.items()) for row in settings.index]
        return replace(self, frame=self.frame.loc[settings.index[same]].reset_index(drop=True))

    @property
    def of_views(self) -> "Selection":
        """Each run twice, with its accuracy for the plain test images and for their views, as an axis `views`."""
        plain = self.frame.assign(views="none")
        views = self.frame.assign(test_acc=self.frame["test_acc_views"], run_id=self.frame["run_id"] + "-views")
        both = pd.concat([plain, views], ignore_index=True)
        both = both.drop(columns=[name for name in both if str(name).startswith("views.")])
        return replace(self, frame=both, baseline=(("views", "none"),))

    def has(self, *conditions: str) -> bool:
        """Return whether finished runs meet all conditions.

        Raises:
            UserError: there is no such column.
        """
        require_columns(self.frame, [condition.partition("=")[0] for condition in conditions])
        try:
            return len(self.numbers(f"test_{scores(self.frame)[0]}", *conditions)) > 0
        except UserError:
            return False

    def table(self, *columns: str, more: Sequence[str] = ()) -> str:
        """Return a Markdown table, a row for each configuration: these settings, USUAL, and more columns."""
        score = scores(self.frame)[0]
        names = [*columns, *(name.replace("acc", score) for name in USUAL), *more]
        is_averaged = len(self.configurations) < len(self.frame)
        known = [name for name in names if name in self.frame or (name == "runs" and is_averaged)]
        known = [name for name in known if name != "train_seconds" or self.is_timed]
        shown, _ = lay_out(self.frame, over="seed" if is_averaged else None, columns=known)
        return markdown(text_cells(shown))

    @cached_property
    def configurations(self) -> list[pd.DataFrame]:
        """The runs of each configuration."""
        settings = [name for name in setting_columns(self.frame) if name != "seed"]
        return groups(self.frame, [*settings, "code"])

    def mean(self, column: str, *conditions: str) -> str:
        """Return mean ± standard deviation of a column over the finished runs that meet conditions."""
        values = self.numbers(column, *conditions)
        return format_mean(column, float(values.mean()), float(values.std()) if len(values) > 1 else None)

    def numbers(self, column: str, *conditions: str) -> "pd.Series[float]":
        frame = select(self.frame, conditions)
        return pd.to_numeric(frame.loc[frame["state"] == "finished", column]).dropna().astype(float)

    @property
    def seeds(self) -> int:
        return int(self.frame["seed"].nunique())

    @property
    def metric(self) -> str:
        """The metric that ranks these runs, such as accuracy."""
        return measured(self.frame)

    @cached_property
    def best_configuration(self) -> "Selection":
        """The runs of the best configuration, compared over the same validation splits, the best first."""
        adjusted = adjust(self.frame)
        rows = np.flatnonzero(adjusted.configuration_of == int(np.nanargmax(adjusted.configurations)))
        ordered = sorted(rows, key=lambda row: -float(adjusted.runs[row]))
        return replace(self, frame=self.frame.loc[ordered].reset_index(drop=True))

    @cached_property
    def best(self) -> dict[str, Any]:
        """The best run of the best configuration, with the plain `mean` of the configuration."""
        chosen = self.best_configuration.frame
        best = {str(name): value for name, value in chosen.iloc[0].items()}
        return best | {"mean": float(chosen[best_val(chosen)].mean())}

    @property
    def highest(self) -> dict[str, Any]:
        """The run with the highest validation result."""
        return {str(name): value for name, value in self.frame.iloc[0].items()}

    @property
    def luck(self) -> dict[str, int]:
        """How many configurations have their highest validation accuracy with the same seed, and the test accuracy."""
        several = [runs for runs in self.configurations if len(runs) > 1]
        seeds = {
            name: [{*runs["seed"][runs[name] == runs[name].max()]} for runs in several]
            for name in ("best_val_acc", "test_acc")
        }
        number = {seed: sum(seed in found for found in seeds["best_val_acc"]) for seed in {*self.frame["seed"]}}
        seed = max(sorted(number), key=lambda seed: number[seed])
        test = sum(seed in found for found in seeds["test_acc"])
        return {"seed": int(seed), "val": number[seed], "test": test, "configurations": len(several)}

    @property
    def is_old(self) -> bool:
        """Whether version 0.1 trained the runs, whose records name no version of torch."""
        return bool(self.frame["torch"].isna().all())

    @property
    def about(self) -> str:
        """What the runs were trained on, and with, as list items."""
        images = self.frame[["val_images", "test_images"]].dropna().astype(int).drop_duplicates().to_numpy().tolist()
        splits = "; ".join(f"{val:,} images to select the epoch, {test:,} test images" for val, test in images)
        torch = ", ".join(sorted(map(str, self.frame["torch"].dropna().unique())))
        return f"- **Machine:** {self.devices}; torch {torch}.\n- **Split:** {splits}."

    @property
    def devices(self) -> str:
        """What the runs were trained on."""
        facts = [json.loads(machine) for machine in self.frame["machine"].dropna()]
        if not facts and (self.frame["device_type"] == "cuda").all():
            return "a GPU that several runs shared"  # whose speed is no fact of a machine
        threads = {device: sorted({fact[2] for fact in facts if fact[1] == device}) for _, device, *_ in facts}
        return "; ".join(
            f"{device}, {' or '.join(map(str, numbers))} {'thread' if numbers == [1] else 'threads'}"
            for device, numbers in sorted(threads.items())
        )

    @property
    def hours(self) -> dict[str, str]:
        """The time that the runs took, and that of as many seeds of every combination of their values."""
        seconds = float(self.frame["train_seconds"].sum())
        values = (max(1, self.settings[axis].nunique(dropna=False)) for axis in self.effects.baseline)
        product = seconds / len(self.frame) * math.prod(values) * self.seeds
        is_gpu = bool((self.frame["device_type"] == "cuda").all())
        return {
            "spent": f"{seconds / 3600:,.1f} hours",
            "product": f"{product / 3600:,.0f} hours",
            "what": "training on a GPU" if is_gpu else "training",
        }

    def values(self, column: str) -> list[Any]:
        """Return the values of a setting from the smallest, null last."""
        found = [None if is_missing(value) else value for value in self.frame[column].unique()]
        return sorted(found, key=lambda value: (value is None, value))

    def of_seeds(self, number: int) -> "Selection":
        """Return the runs with the first seeds."""
        return replace(self, frame=self.frame[self.frame["seed"] < number].reset_index(drop=True))

    @property
    def anytime(self) -> "Selection":
        """The same runs, compared by intervals and p that stay valid when seeds are added after a look."""
        return replace(self, is_anytime=True)

    @cached_property
    def effects(self) -> Effects:
        """The comparisons of these runs, as `python -m sweeper effects` makes them."""
        method = Method(precision=self.precision, is_anytime=self.is_anytime)
        return effects(self.frame, dict(self.baseline), method=method, correctness=self.records.correctness)

    def main(self, axis: str | None = None) -> list[Comparison]:
        """Return the comparisons by what decides, of one axis or of all."""
        names = [f"test_{score}" for score in scores(self.frame)]
        found = [one for one in self.effects.comparisons if one.metric in names]
        return [one for one in found if axis is None or one.changes[0].axis == axis]

    def effect(self, axis: str, value: Any, metric: str | None = None) -> Comparison | None:
        """Return the comparison of a value by a measure, by default the one that decides; None if there is none."""
        metric = metric or f"test_{scores(self.frame)[0]}"
        for one in self.effects.comparisons:
            change = one.changes[0]
            if (one.metric, change.axis) == (metric, axis) and format_override(change.value) == format_override(value):
                return one
        return None

    def effects_table(self, *axes: str) -> str:
        """Return the comparisons of axes as a Markdown table; of none named, those of all."""
        return comparisons_table([one for axis in axes or (None,) for one in self.main(axis)])

    def steps(self, *conditions: Sequence[str]) -> list[Comparison]:
        """Compare configurations as wholes, each with the one before it; see `compared_as_wholes`.

        Args:
            conditions: of each configuration.
        """
        return compared_as_wholes([select(self.frame, condition) for condition in conditions], self.records)

    def after(self, before: "Selection") -> Comparison:
        """Compare the only configuration of these runs with that of others of the study as wholes."""
        (found,) = compared_as_wholes([before.frame, self.frame], self.records)
        return found


def compared_as_wholes(frames: Sequence[pd.DataFrame], records: Records) -> list[Comparison]:
    """Compare configurations as wholes, each with the one before it, however many settings differ.

    Args:
        frames: the runs of each configuration.
        records: of the study.

    Returns:
        A comparison for each configuration but the first, corrected for all of them.
    """
    settings = setting_columns(pd.concat(frames))
    shared = [name for name in ("seed", "data", "data.fingerprint", "torch", "device_type") if name in frames[0]]
    found = []
    for number, (before, after) in enumerate(itertools.pairwise(frames), start=2):
        pair = pd.concat([before.assign(**{STEP: number - 1}), after.assign(**{STEP: number})])
        results = [name for name in pair if name not in settings and name != STEP]
        pair = pair[[STEP, *shared, *(name for name in results if name not in shared)]].assign(code=None)
        compared = effects(pair.reset_index(drop=True), {STEP: number - 1}, correctness=records.correctness).comparisons
        found += [one for one in compared if one.metric == "test_acc"]
    return corrected(found)

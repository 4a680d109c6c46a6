"""The effects on one dataset: its axes, their baseline, and all comparisons of its finished runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import pandas as pd

from sweeper.runs.scores import CLASSIFICATION, SCORES
from sweeper.summary.axes import (
    axes_of,
    choose_baselines,
    find_value,
    settings_of,
    stands_for,
    values_of,
    without_implied,
    without_slots,
)
from sweeper.summary.blocks import shorten
from sweeper.summary.columns import CODE_OF, format_override, scores
from sweeper.summary.comparisons import compare_all
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_measures import Runs, as_number, usual_measures
from sweeper.summary.inference import Comparison
from sweeper.summary.other_images import Correctness
from sweeper.summary.outside_screen import without_outside
from sweeper.summary.pairing import unmatched
from sweeper.summary.remarks import ended_apart, limits, never_finished, remarks
from sweeper.summary.screened_effects import compare_screened, describe_screen, find_screens
from sweeper.summary.step_choices import with_step_choices
from sweeper.summary.study import CHANCE, ENDED, Method, Study
from sweeper.summary.together import Together, merge_together
from sweeper.summary.tuning import tune
from sweeper.summary.typed_presets import Presets


@dataclass(frozen=True)
class Prepared:
    """The runs of a dataset that ended.

    Attributes:
        data, name: the dataset, and how it is called.
        results: of the runs.
        settings: of those that count, see sweeper.summary.axes.settings_of.
        finished, diverged, failed, scored: see sweeper.summary.study.Study.
        axes: that vary among the runs that can be compared.
        together: what changes with an axis.
        never: sentences on values with which no run finished.
        notes: sentences on what was left out.
    """

    data: Any
    name: str
    results: Runs
    settings: pd.DataFrame
    finished: set[int]
    diverged: set[int]
    failed: set[int]
    scored: set[int]
    axes: list[str]
    together: Together
    never: list[str]
    notes: list[str]

    @property
    def compared(self) -> pd.DataFrame:
        """The settings of the runs that can be compared."""
        return self.settings.loc[sorted(self.finished | self.scored)]

    @cached_property
    def values(self) -> dict[str, list[Any]]:
        """The values of each axis, and of what changes with one."""
        found = {axis: values_of(self.compared, axis) for axis in self.axes}
        for axis, others in self.together.items():
            for value in found[axis]:
                for name, cell in others[value]:
                    found.setdefault(name, []).append(cell)
        return found


@dataclass(frozen=True)
class Result:
    """What was found on a dataset.

    Attributes:
        name: of the dataset.
        measures: by which its runs are compared.
        baseline: for each axis the value that its others are compared with.
        comparisons, interactions, notes: see sweeper.summary.effects.Effects.
        alone: sentences on what has no pair.
        is_stale: whether there would be pairs without stale code.
    """

    name: str
    measures: Sequence[str]
    baseline: dict[str, Any] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    is_stale: bool = False


def prepare(
    ended: pd.DataFrame,
    data: Any,
    name: str,
    method: Method,
    given: Mapping[str, Any],
    options: ConvergenceOptions,
    correctness: Correctness | None,
    presets: Presets,
) -> Prepared:
    """Return the runs of a dataset, their axes, and what changes together.

    Args:
        ended: a row for each run.
        data, name: the dataset.
        method, options, correctness: see sweeper.summary.effects.effects.
        given: baseline value by axis.
        presets: those that were typed, for sentences.
    """
    ended = ended.reset_index(drop=True)
    finished, diverged, failed = ({*ended.index[ended["state"] == state]} for state in ENDED)
    scored = score_chance(ended, diverged) if method.is_chance and has_accuracies(ended) else set()
    settings = with_step_choices(settings_of(ended), ended["presets"].tolist(), {*method.tuned, *given})
    settings, notes = without_outside(settings, ended["run_id"].tolist(), axes_of(settings))
    finished, diverged, failed, scored = (rows & {*settings.index} for rows in (finished, diverged, failed, scored))
    usable = sorted(finished | scored)
    varying = axes_of(settings.loc[usable])
    settings, axes, together, apart = merge_together(settings, usable, varying, given, method.tuned)
    never = never_finished(settings, usable, diverged, presets) + ended_apart(apart, diverged, presets)
    diverged, failed, scored = (rows - {*apart} for rows in (diverged, failed, scored))
    results = Runs(ended, options, correctness)
    return Prepared(data, name, results, settings, finished, diverged, failed, scored, axes, together, never, notes)


def check_values(given: Mapping[str, Any], tables: Sequence[Prepared]) -> None:
    """Check that runs have the baseline values that are given, on some dataset.

    Raises:
        UserError: none has one.
    """
    for axis, value in given.items():
        find_value(axis, value, [cell for table in tables for cell in table.values.get(axis, ())])


def compare_dataset(table: Prepared, method: Method, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Result:
    """Compare the runs of a dataset.

    Args:
        table: the runs.
        method: how they are compared; settings that do not vary here are not tuned here.
        given: baseline value by axis, of which those that occur here are used.
        defaults: see sweeper.summary.effects.effects.

    Raises:
        UserError: the grids of a tuned setting differ in size.
    """
    measures = method.measures or usual_measures(table.results.frame)
    idle = [axis for axis in method.tuned if axis not in table.axes]
    tuned, notes, settings = [axis for axis in method.tuned if axis in table.axes], [*table.notes], table.settings
    is_chance = method.is_chance and has_accuracies(table.results.frame)
    notes += ["--diverged-as-chance has no effect: no accuracies"] if method.is_chance and not is_chance else []
    method = replace(method, measures=measures, tuned=tuned, is_chance=is_chance)
    compared = [axis for axis in table.axes if axis not in method.tuned]
    if not table.axes:
        return Result(table.name, measures, notes=[*notes, "no setting varies, so nothing is compared"])
    here = {
        axis: value
        for axis, value in given.items()
        if any(stands_for(format_override(value), cell) for cell in table.values.get(axis, ()))
    }
    notes += [
        f"--baseline {axis}={format_override(value)} does not occur"
        for axis, value in given.items()
        if axis not in here and not (axis in settings and stands_for(format_override(value), settings[axis].iloc[0]))
    ]
    notes += [f"--tune {axis} does not vary" for axis in idle]
    base, beside = choose_baselines(table.compared, compared, here, defaults, table.together)
    notes += describe_beside([table.results.column("run_id")[row] for row in beside])
    settings = without_slots(settings, base)
    settings = without_implied(settings, table.axes)
    settings, chosen, choices = tune(settings, table.results, table.finished, table.failed, method.tuned, compared)
    notes += choices
    study = Study(
        settings,
        table.results,
        *(table.finished, table.diverged, table.failed, table.scored),
        base,
        {table.data: table.name},
        method,
        chosen,
        table.together,
    )
    bounds, screening = limits(study), find_screens(study).get(table.data)
    if screening is not None:
        notes += describe_screen(screening, table.name)
        if not screening.is_confounded:
            screened = compare_screened(study, screening, table.data)
            return Result(table.name, measures, base, screened, [], [*notes, *bounds])
    comparisons = compare_all(study, [(axis,) for axis in compared])
    crossed = compare_all(study, list(combinations(compared, 2)), least_seeds=2)
    changes = {(it.changes[0].axis, it.changes[0].value) for it in comparisons}
    alone = unmatched(study.finished_settings, base, changes, table.together)
    if not comparisons:
        retrained = [name for name in map(str, settings) if name.startswith(CODE_OF)]
        again = replace(study, settings=settings.drop(columns=retrained))
        is_stale = bool(table.results.frame["stale"].eq(True).any() and compare_all(again, [(it,) for it in compared]))
        reasons = [] if screening is None else describe_screen(screening, table.name)
        return Result(table.name, measures, base, notes=[*notes, *alone], alone=[*reasons, *alone], is_stale=is_stale)
    notes += [*remarks(study, comparisons), *table.never, *bounds, *alone]
    return Result(table.name, measures, base, comparisons, crossed, notes)


def describe_beside(run_ids: Sequence[str]) -> list[str]:
    """Name the runs beside a design of single changes."""
    if not run_ids:
        return []
    what = "1 run that changes" if len(run_ids) == 1 else f"{len(run_ids)} runs that change"
    return [
        f"the others are single changes of the baseline, which was chosen without {what} several of its settings: "
        f"{shorten(run_ids)}"
    ]


def has_accuracies(frame: pd.DataFrame) -> bool:
    """Return whether runs are of classification, whose chance level is known."""
    return SCORES[CLASSIFICATION] in scores(frame)


def score_chance(ended: pd.DataFrame, diverged: set[int]) -> set[int]:
    """Set the accuracies of diverged runs to chance, in place; return the rows with a known number of classes.

    Args:
        ended: a row for each run.
        diverged: rows of the diverged runs.
    """
    counts = list(map(as_number, ended["num_classes"].tolist()))
    scored = {row for row in diverged if counts[row]}
    for name in CHANCE:
        pairs = enumerate(zip(ended[name].tolist(), counts, strict=True))
        ended[name] = [1 / count if row in scored and count else value for row, (value, count) in pairs]
    return scored

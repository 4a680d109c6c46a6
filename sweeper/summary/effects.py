"""Which training trick helps, and by how much: pairs of finished runs that differ in a single setting."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pandas as pd

from sweeper.summary.axes import (
    CODE_OF,
    axes_of,
    choose_baselines,
    settings_of,
    without_implied,
    without_slots,
)
from sweeper.summary.blocks import unpaired_seeds
from sweeper.summary.columns import format_override
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_measures import METRICS, Runs, as_number, usual_measures
from sweeper.summary.gather import Skipped
from sweeper.summary.inference import Comparison, compare, corrected
from sweeper.summary.other_images import Correctness
from sweeper.summary.outcomes import count_among
from sweeper.summary.outside_screen import without_outside
from sweeper.summary.pairing import Change, Corner, Difference, Stratum, cell_columns, differences, strata, unmatched
from sweeper.summary.remarks import limits, never_finished, remarks
from sweeper.summary.screened_effects import compare_screened, describe_screen, find_screens
from sweeper.summary.step_choices import with_step_choices
from sweeper.summary.study import CHANCE, ENDED, Method, Study, name_datasets, without_datasets
from sweeper.summary.tuning import check_tuned, doubts_of, tune
from sweeper.summary.typed_presets import Presets, typed_presets
from sweeper.sweep.baseline import config_defaults

COMMAND = "python train.py -m activation=relu,selu seed=0,1,2,3,4"
OLD = "of version 0.1"  # reason for leaving a run out


@dataclass(frozen=True)
class Effects:
    """The comparisons of the finished runs.

    Attributes:
        baseline: for each axis the value that its others are compared with.
        runs: number of finished runs.
        left_out: for each reason, how many runs do not count.
        comparisons: each value of each axis, by each metric, on each dataset.
        interactions: each two of these changes that were crossed, by each metric, on each dataset.
        never: sentences on values with which no run finished.
        notes: sentences on how curves were read and on what could not be compared.
        nothing: sentences on why there are no comparisons and how to get some; None if there are.
        method: how runs were compared.
        options: how learning curves were read.
        presets: those that were typed for values of axes, for sentences.
    """

    baseline: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str | None = None
    method: Method = field(default_factory=Method)
    options: ConvergenceOptions = field(default_factory=ConvergenceOptions)
    presets: Presets = field(default_factory=dict)


def with_usual_measures(method: Method, frame: pd.DataFrame) -> Method:
    """Return the method with the measures that the runs of the frame are compared by."""
    return replace(method, measures=method.measures or usual_measures(frame))


def effects(
    frame: pd.DataFrame,
    baseline: Mapping[str, Any] | None = None,
    *,
    method: Method | None = None,
    correctness: Correctness | None = None,
    defaults: Mapping[str, Any] | None = None,
    skipped: Skipped | None = None,
    options: ConvergenceOptions | None = None,
) -> Effects:
    """Compare every value of every setting that varies with its baseline value, and every two such that were crossed.

    Args:
        frame: a row for each run, as `sweeper.summary.gather.gather` returns it, in any order.
        baseline: values to compare with, by axis, as they are or as text; an axis that is left out has its value of
            `defaults` where that occurs, or the most common.
        method: how runs are compared; None: the defaults.
        correctness: which test images the runs got right, for the intervals for other test images; None: none of these.
        defaults: the values of the baseline run; None for those of conf/.
        skipped: the folders that have no row.
        options: how learning curves were read.

    Raises:
        UserError: the baseline names an axis or a value that the finished runs do not have; a tuned setting does not
            vary, or its grids differ in size.
    """
    method, skipped, options = (
        with_usual_measures(method or Method(), frame),
        skipped or Skipped(),
        options or ConvergenceOptions(),
    )
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items())) | left_out_folders(skipped)
    if runs < 2:
        what = "there are no runs" if frame.empty else "one run is finished" if runs else "no run is finished"
        return nothing(f"nothing to compare: {what}", sweep_over("a trick and seeds"), runs, left_out, skipped)
    ended = frame[frame["state"].isin(ENDED)].sort_values("run_id").reset_index(drop=True)
    finished, diverged, failed = ({*ended.index[ended["state"] == state]} for state in ENDED)
    scored = score_chance(ended, diverged) if method.is_chance else set()
    results = Runs(ended, options, correctness)
    settings = with_step_choices(settings_of(ended), ended["presets"].tolist(), {*method.tuned, *(baseline or {})})
    settings, outside = without_outside(settings, ended["run_id"].tolist(), axes_of(settings))
    finished, diverged, failed, scored = (rows & {*settings.index} for rows in (finished, diverged, failed, scored))
    usable = sorted(finished | scored)
    axes = axes_of(settings.loc[usable])
    never = never_finished(settings, usable, diverged)
    if not axes:
        what = f"nothing to compare: the {runs} finished runs differ only in seed and data"
        return nothing(
            ". ".join([what, *never]), sweep_over("another trick" if never else "a trick"), runs, left_out, skipped
        )
    check_tuned(method.tuned, axes, baseline or {})
    compared = [axis for axis in axes if axis not in method.tuned]
    defaults = config_defaults() if defaults is None else defaults
    base = choose_baselines(settings.loc[usable], compared, baseline or {}, defaults)
    settings = without_slots(settings, base)
    settings = without_implied(settings, axes)
    notes = [*outside, *([skipped.old_runs] if skipped.old else [])]
    settings, chosen, choices = tune(settings, results, finished, failed, method.tuned, compared)
    notes += choices
    study = Study(
        settings, results, finished, diverged, failed, scored, base, name_datasets(ended, settings), method, chosen
    )
    screens = find_screens(study)
    screened = []
    for data, screening in screens.items():
        screened += compare_screened(study, screening, data)
        notes += describe_screen(screening, study.datasets[data])
    bounds = limits(study)
    how: dict[str, Any] = {"method": method, "options": options, "presets": typed_presets(ended)}
    study = without_datasets(study, [data for data, screening in screens.items() if not screening.is_confounded])
    if not study.datasets:
        return Effects(base, runs, left_out, screened, [], never, notes + bounds, **how)
    comparisons = compare_all(study, [(axis,) for axis in compared])
    crossed = compare_all(study, list(combinations(compared, 2)), least_seeds=2)
    changes = {comparison.changes[0] for comparison in comparisons}
    alone = unmatched(study.finished_settings, base, changes)
    comparisons = [*screened, *comparisons]
    if not comparisons:
        retrained = [name for name in map(str, settings) if name.startswith(CODE_OF)]
        again = replace(study, settings=settings.drop(columns=retrained))
        only_stale = ended["stale"].eq(True).any() and compare_all(again, [(axis,) for axis in compared])
        remedy = "Rerun the sweep to retrain stale runs." if only_stale else sweep_over("one trick at a time")
        confounded = [line for data in screens for line in describe_screen(screens[data], study.datasets[data])]
        return nothing(". ".join(["no comparable pairs", *confounded, *alone]), remedy, runs, left_out, skipped)
    notes += [*remarks(study, comparisons), *never, *bounds, *alone]
    return Effects(base, runs, left_out, comparisons, crossed, never, notes, **how)


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


def left_out_folders(skipped: Skipped) -> dict[str, int]:
    """Return for each reason how many folders have no row."""
    folders = {OLD: skipped.old, "copies": skipped.copies, "unreadable": skipped.unreadable}
    return {reason: len(names) for reason, names in folders.items() if names}


def nothing(what: str, remedy: str, runs: int, left_out: dict[str, int], skipped: Skipped) -> Effects:
    """Return no comparisons, the reason, and a remedy."""
    others = {reason: number for reason, number in left_out.items() if reason != OLD}
    also = (f" ({format_counts(others)})" if others else "") + (f"; {skipped.old_runs}" if skipped.old else "")
    return Effects(runs=runs, left_out=left_out, nothing=f"{what}{also}. {remedy}")


def sweep_over(what: str) -> str:
    """Return the remedy where a sweep would give comparisons."""
    return f"Sweep over {what}, for example: {COMMAND}"


def format_counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in numbers.items())


def compare_all(study: Study, plans: Sequence[tuple[str, ...]], least_seeds: int = 1) -> list[Comparison]:
    """Compare every value of one axis, or every two values of two, that has pairs.

    Returns:
        The comparisons in order of metric, dataset, axis and value, corrected within each metric and dataset; without
        those of fewer seeds.
    """
    by_data: dict[Any, dict[tuple[str, ...], list[Stratum]]] = {data: {} for data in study.datasets}
    for axes in plans:
        for stratum in strata(study.settings, axes, study.baseline):
            if len(axes) == 1 or len(stratum.corners) > 1:  # of one axis, those without a pair are named
                by_data[stratum.data].setdefault(axes, []).append(stratum)
    found: list[Comparison] = []
    for metric in study.method.measures:
        known = study.known(metric)
        for data, of_axes in by_data.items():
            table = [
                comparison
                for axes, groups in of_axes.items()
                for comparison in compare_values(study, metric, data, axes, groups, known)
            ]
            found += corrected([comparison for comparison in table if comparison.seeds >= least_seeds])
    return found


def compare_values(
    study: Study, metric: str, data: Any, axes: tuple[str, ...], found: Sequence[Stratum], known: set[int]
) -> list[Comparison]:
    """Compare every value of an axis, or every two values of two, on one dataset."""
    base = tuple(study.baseline[axis] for axis in axes)
    names, paired = cell_columns(study.settings, axes), [stratum for stratum in found if len(stratum.corners) > 1]
    own = [name for name in map(str, study.settings) if name.startswith(tuple(f"{axis}." for axis in axes))]

    def doubts(pairs: Sequence[Difference]) -> str:
        rows = {row for pair in pairs for row in (*pair.rows, *pair.base_rows)}
        chosen = {id(one): one for row in rows if (one := study.chosen.get(row)) is not None}
        return doubts_of(chosen.values(), study.method.tuned)

    def alone(pairs: Sequence[Difference], corner: Corner) -> list[str]:
        """Return the seeds of the pairs' cells that have a run of one side only, see unpaired_seeds."""
        if len(axes) > 1:
            return []
        sides = {side: f"{axes[0]}={format_override(side[0])}" for side in (corner, base)}
        seeds, cells = {pair.seed for pair in pairs}, {pair.cell for pair in pairs}
        lone: dict[Any, set[str]] = {}
        for stratum in found:
            if stratum.seed not in seeds and stratum.cell in cells:
                lone.setdefault(stratum.seed, set()).update(sides[side] for side in sides if side in stratum.corners)
        return unpaired_seeds({seed: had for seed, had in lone.items() if had}, list(sides.values()))

    return [
        compare(
            metric,
            tuple(map(Change, axes, values, base)),
            pairs,
            names=names,
            baseline=study.baseline,
            runs=study.runs,
            data=study.datasets[data],
            own=[name for name in own if name not in axes],
            doubts=doubts,
            unpaired=alone(pairs, values),
            diverged=count_among(paired, values, base, study.diverged),
            failed=count_among(paired, values, base, study.failed),
            is_scored=bool(study.scored) and metric in CHANCE,
            is_anytime=study.method.is_anytime,
            precision=study.method.fixed_width,
        )
        for values, pairs in differences(paired, METRICS[metric], study.runs, base, known).items()
    ]

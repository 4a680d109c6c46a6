"""Which training trick helps, and by how much: pairs of finished runs that differ in a single setting."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pandas as pd

from sweeper.summary.axes import (
    CODE_OF,
    axes_of,
    choose_baselines,
    config_defaults,
    format_override,
    settings_of,
    sort_key,
    without_slots,
)
from sweeper.summary.columns import format_value, is_implied
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_measures import METRICS, USUAL, Runs
from sweeper.summary.gather import Skipped
from sweeper.summary.inference import Comparison, compare, corrected
from sweeper.summary.other_images import Correctness
from sweeper.summary.outcomes import count_diverged
from sweeper.summary.pairing import Change, Stratum, cell_columns, differences, strata, unmatched
from sweeper.summary.screened_effects import compare_screened, describe_screen, find_screens
from sweeper.summary.tuning import check_tuned, tune

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
        notes: sentences on how curves were read and on what could not be compared.
        nothing: sentences on why there are no comparisons and how to get some; None if there are.
        is_anytime: whether p and intervals stay valid when seeds are added after a look.
        options: how learning curves were read.
    """

    baseline: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str | None = None
    is_anytime: bool = False
    options: ConvergenceOptions = field(default_factory=ConvergenceOptions)


@dataclass(frozen=True)
class Study:
    """The runs, settings and measures of a comparison.

    Attributes:
        settings: of finished and diverged runs, see sweeper.summary.axes.settings_of.
        runs: their results.
        finished: rows of the finished runs.
        baseline: for each axis the value that its others are compared with.
        datasets: for each dataset, its name.
        is_anytime: see Effects.
        measures: names of the metrics.
    """

    settings: pd.DataFrame
    runs: Runs
    finished: set[int]
    baseline: Mapping[str, Any]
    datasets: Mapping[Any, str]
    is_anytime: bool
    measures: Sequence[str]

    @property
    def finished_settings(self) -> pd.DataFrame:
        return self.settings[[row in self.finished for row in self.settings.index]]


def effects(
    frame: pd.DataFrame,
    baseline: Mapping[str, Any] | None = None,
    *,
    tuned: Sequence[str] = (),
    is_anytime: bool = False,
    measures: Sequence[str] = tuple(USUAL),
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
        tuned: settings that every configuration has at its best value instead of being compared, see
            sweeper.summary.tuning.
        is_anytime: whether p and intervals stay valid when seeds are added after a look at the results.
        measures: names of METRICS, by which runs are compared.
        correctness: which test images the runs got right, for the intervals for other test images; None: none of these.
        defaults: the values of the baseline run; None for those of conf/.
        skipped: the folders that have no row.
        options: how learning curves were read.

    Raises:
        UserError: the baseline names an axis or a value that the finished runs do not have; a tuned setting does not
            vary, or its grids differ in size.
    """
    skipped, options = skipped or Skipped(), options or ConvergenceOptions()
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items()))
    left_out |= {OLD: len(skipped.old)} if skipped.old else {}
    left_out |= {"unreadable": len(skipped.unreadable)} if skipped.unreadable else {}
    if runs < 2:
        what = "there are no runs" if frame.empty else "one run is finished" if runs else "no run is finished"
        return nothing(f"nothing to compare: {what}", sweep_over("a trick and seeds"), runs, left_out, skipped)
    ended = frame[frame["state"].isin(["finished", "diverged"])].sort_values("run_id").reset_index(drop=True)
    finished = {row for row, state in enumerate(ended["state"]) if state == "finished"}
    results, settings = Runs(ended, options, correctness), settings_of(ended)
    axes = axes_of(settings.loc[sorted(finished)])
    if not axes:
        what = f"nothing to compare: the {runs} finished runs differ only in seed and data"
        return nothing(what, sweep_over("a trick"), runs, left_out, skipped)
    check_tuned(tuned, axes, baseline or {})
    compared = [axis for axis in axes if axis not in tuned]
    defaults = config_defaults() if defaults is None else defaults
    base = choose_baselines(settings.loc[sorted(finished)], compared, baseline or {}, defaults)
    settings = without_slots(settings, base)
    implied = [name for name in map(str, settings) if name not in axes and is_implied(settings, name)]
    settings = settings.drop(columns=implied)
    notes = [skipped.old_runs] if skipped.old else []
    if tuned:
        settings, choices = tune(settings, results, finished, tuned, compared)
        notes += choices
    study = Study(settings, results, finished, base, name_datasets(ended, settings), is_anytime, measures)
    screens = find_screens(settings, results, finished, base, study.datasets)
    screened = []
    for data, screening in screens.items():
        name = study.datasets[data]
        screened += compare_screened(screening, results, name, is_anytime=is_anytime)
        notes += describe_screen(screening, name)
    study = without_datasets(study, screens)
    if not study.datasets:
        return Effects(base, runs, left_out, screened, [], notes, is_anytime=is_anytime, options=options)
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
        return nothing(". ".join(["no comparable pairs", *alone]), remedy, runs, left_out, skipped)
    notes += [*remarks(study), *alone]
    return Effects(base, runs, left_out, comparisons, crossed, notes, is_anytime=is_anytime, options=options)


def without_datasets(study: Study, left_out: Collection[Any]) -> Study:
    """Return a study of the other datasets."""
    if not left_out:
        return study
    datasets = {data: name for data, name in study.datasets.items() if data not in left_out}
    settings = study.settings
    kept = settings[[data in datasets for data in settings["data"]]] if "data" in settings else settings.iloc[:0]
    return replace(study, settings=kept, datasets=datasets, finished=study.finished & {*kept.index})


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


def name_datasets(ended: pd.DataFrame, settings: pd.DataFrame) -> dict[Any, str]:
    """Return a name for each dataset, with digits of its fingerprint where two have one name."""
    if "data" not in settings:
        return {None: ""}
    names = ended["data"] if "data" in ended else settings["data"]
    found: dict[Any, str] = {}
    for data, name in zip(settings["data"], names[settings.index].map(str), strict=True):
        found[data] = min(found.get(data, name), name)
    often = Counter(found.values())
    return {
        data: name if often[name] == 1 else f"{name} {format_value('data.fingerprint', data)}"
        for data, name in sorted(found.items(), key=lambda item: (item[1], str(item[0])))
    }


def compare_all(study: Study, plans: Sequence[tuple[str, ...]], least_seeds: int = 1) -> list[Comparison]:
    """Compare every value of one axis, or every two values of two, that has pairs.

    Returns:
        The comparisons in order of metric, dataset, axis and value, corrected within each metric and dataset; without
        those of fewer seeds.
    """
    by_data: dict[Any, dict[tuple[str, ...], list[Stratum]]] = {data: {} for data in study.datasets}
    for axes in plans:
        for stratum in strata(study.settings, axes):
            if len(stratum.corners) > 1:
                by_data[stratum.data].setdefault(axes, []).append(stratum)
    found: list[Comparison] = []
    for metric in study.measures:
        known = {row for row in study.finished if METRICS[metric].is_known(study.runs, row)}
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
    names = cell_columns(study.settings, axes)
    own = [name for name in map(str, study.settings) if name.startswith(tuple(f"{axis}." for axis in axes))]
    return [
        compare(
            metric,
            tuple(map(Change, axes, values, base)),
            pairs,
            names=names,
            runs=study.runs,
            data=study.datasets[data],
            own=[name for name in own if name not in axes],
            diverged=count_diverged(found, values, base, study.finished),
            is_anytime=study.is_anytime,
        )
        for values, pairs in differences(found, METRICS[metric], study.runs, base, known).items()
    ]


def remarks(study: Study) -> list[str]:
    """Describe why finished runs are left out of some comparisons, and what limits the results."""
    lines, settings, frame = [], study.finished_settings, study.runs.frame.loc[sorted(study.finished)]
    for name in study.measures:
        if name in ("epochs_to_level", "epochs_to_target"):
            continue  # missing where mean_val_acc is missing; often not requested
        what = "a learning curve" if name == "mean_val_acc" else name
        lacking = sum(not METRICS[name].is_known(study.runs, row) for row in study.finished)
        lines += [f"{lacking} finished {'run' if lacking == 1 else 'runs'} without {what}"] if lacking else []
    for axis in study.baseline:
        own = [name for name in map(str, settings) if name.startswith(f"{axis}.") and not is_implied(settings, name)]
        lines += [f"{axis}: runs that differ only in {', '.join(own)} are averaged and count as one"] if own else []
        never = sorted({*study.settings[axis].dropna()} - {*settings[axis].dropna()}, key=sort_key)
        lines += [f"{axis}={', '.join(map(format_override, never))}: no run finished, all diverged"] if never else []
    if images := count_test_images(study):
        lines.append(f"Intervals are for these {images} test images and do not cover the choice of other test images")
    if stale := int(frame["stale"].eq(True).sum()):
        lines.append(f"{stale} of the finished runs are stale; pairs share all code except that of the compared choice")
    if "data.val_size" in frame and frame["data.val_size"].eq(0).any():
        lines.append("Runs with data.val_size=0 selected their best epoch on test images: their test_acc is optimistic")
    return lines


def count_test_images(study: Study) -> str:
    """Return how many test images each dataset has, as text; empty where that was not recorded."""
    counts: dict[str, str] = {}
    for row in sorted(study.finished & {*study.settings.index}):
        number = study.runs.number("test_images", row)
        data = study.settings["data"][row] if "data" in study.settings else None
        counts |= {study.datasets[data]: f"{number:,.0f}"} if number else {}
    several = len(study.datasets) > 1
    return " and ".join(f"{number} ({data})" if several else number for data, number in sorted(counts.items()))

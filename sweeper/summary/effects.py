"""Which training trick helps, and by how much: pairs of finished runs that differ in a single setting."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from sweeper.errors import UserError, format_names
from sweeper.summary.axes import axes_of, check_axes, choose_baselines, settings_of
from sweeper.summary.columns import format_override, scores
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_measures import MAIN, METRICS
from sweeper.summary.effects_of_dataset import Prepared, Result, check_values, compare_dataset, has_accuracies, prepare
from sweeper.summary.gather import Skipped
from sweeper.summary.inference import Comparison
from sweeper.summary.other_images import Correctness
from sweeper.summary.pairing import unmatched
from sweeper.summary.study import CHANCE, ENDED, Method, name_datasets
from sweeper.summary.tuning import check_tuned
from sweeper.summary.typed_presets import Presets, shown, typed_presets, typed_values
from sweeper.sweep.baseline import config_defaults

COMMAND = "python train.py -m activation=relu,selu seed=0,1,2,3,4"
OLD = "of version 0.1"  # reason for leaving a run out


@dataclass(frozen=True)
class Effects:
    """The comparisons of the finished runs.

    Attributes:
        baselines: of each dataset, for each axis the value that its others are compared with.
        runs: number of finished runs.
        left_out: for each reason, how many runs do not count.
        comparisons: each value of each axis, by each metric, on each dataset.
        interactions: each two of these changes that were crossed, by each metric, on each dataset.
        never: sentences on values with which no run finished.
        notes: sentences on how curves were read and on what could not be compared.
        nothing: sentences on why there are no comparisons and how to get some; None if there are.
        method: how runs were compared.
        options: how learning curves were read.
        main: the measure that decides, of each task of the compared runs.
    """

    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str | None = None
    method: Method = field(default_factory=Method)
    options: ConvergenceOptions = field(default_factory=ConvergenceOptions)
    main: str = MAIN[0]

    @property
    def baseline(self) -> dict[str, Any]:
        """The value of each axis that all datasets share on which it varies."""
        found: dict[str, list[Any]] = {}
        for baseline in self.baselines.values():
            for axis, value in baseline.items():
                found.setdefault(axis, []).append(value)
        return {axis: values[0] for axis, values in found.items() if all(value == values[0] for value in values)}

    @property
    def is_one_baseline(self) -> bool:
        """Whether no axis has another baseline on another dataset."""
        return all(axis in self.baseline for baseline in self.baselines.values() for axis in baseline)


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

    Each dataset is a table of its own: its axes, their baseline and the correction are those of its runs.

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
            vary, or its grids differ in size; diverged runs shall count as chance, and no chance level is known; no
            run has a measure.
    """
    method, skipped, options = method or Method(), skipped or Skipped(), options or ConvergenceOptions()
    given = dict(baseline or {})
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items())) | left_out_folders(skipped)
    if runs < 2:
        what = "there are no runs" if frame.empty else "one run is finished" if runs else "no run is finished"
        return nothing(f"nothing to compare: {what}", sweep_over("a trick and seeds"), runs, left_out, skipped)
    ended = frame[frame["state"].isin(ENDED)].sort_values("run_id").reset_index(drop=True)
    every = settings_of(ended)
    names = name_datasets(ended, every)
    keys = every["data"].tolist() if "data" in every else [None] * len(ended)
    presets = typed_presets(ended)
    tables = [
        prepare(ended[[key == data for key in keys]], data, name, method, given, options, correctness, presets)
        for data, name in names.items()
    ]
    if method.is_chance and not any(has_accuracies(table.results.frame) for table in tables):
        raise UserError(f"--diverged-as-chance affects only {' and '.join(CHANCE)}, which no run here has")
    check_measures(method.measures, tables)
    varying = sorted({axis for table in tables for axis in table.values})
    if varying:
        check_tuned(method.tuned, varying, given)
        check_axes(given, varying)
        check_values(given, tables)
    defaults = config_defaults() if defaults is None else defaults
    results = [compare_dataset(table, method, given, defaults) for table in tables]
    notes = [*([skipped.old_runs] if skipped.old else []), *merge_notes(names.values(), [it.notes for it in results])]
    never = merge_notes(names.values(), [table.never for table in tables])
    compared = [result for result in results if result.comparisons]
    if not compared:
        return nothing(*why_nothing(ended, every, runs, results, never), runs, left_out, skipped)
    main = [
        f"test_{score}"
        for table, result in zip(tables, results, strict=True)
        if result.comparisons
        for score in scores(table.results.frame)
    ]
    order = list(dict.fromkeys(name for result in results for name in result.measures))

    def by_measure(comparison: Comparison) -> int:
        return order.index(comparison.metric)

    return Effects(
        {result.name: result.baseline for result in compared},
        runs,
        left_out,
        sorted((with_typed_names(it, presets) for result in results for it in result.comparisons), key=by_measure),
        sorted((with_typed_names(it, presets) for result in results for it in result.interactions), key=by_measure),
        never,
        notes,
        method=replace(method, measures=order),
        options=options,
        main=" and ".join(dict.fromkeys(main)),
    )


def check_measures(names: Sequence[str], tables: Sequence[Prepared]) -> None:
    """Check that some run has each of these measures of the test images.

    Raises:
        UserError: none has, such as test_acc in segmentation.
    """
    known = [
        name
        for name in dict.fromkeys((*METRICS, *names))
        if name.startswith("test_")
        and any(METRICS[name].is_known(table.results, row) for table in tables for row in table.finished)
    ]
    if lacking := [name for name in names if name.startswith("test_") and name not in known]:
        raise UserError(f"--measure {lacking[0]}: no run here has it; they have {format_names(known)}")


def with_typed_names(comparison: Comparison, presets: Presets) -> Comparison:
    """Return the comparison with the presets that were typed for its values; a file has the settings."""
    changes = [
        replace(it, typed=(shown(it.axis, it.value, presets), shown(it.axis, it.baseline, presets)))
        if it.axis in presets and not (it.others or it.base_others)
        else it
        for it in comparison.changes
    ]
    held = tuple(typed_values(axis, values, presets) for axis, values in comparison.held)
    named = {
        f"{axis}={format_override(value)}": shown(axis, value, presets) for axis in presets for value in presets[axis]
    }
    parts = tuple(replace(part, name=named.get(part.name, part.name)) for part in comparison.parts)
    return replace(comparison, changes=tuple(changes), typed_held=held, parts=parts)


def merge_notes(names: Iterable[str], of_datasets: Sequence[Sequence[str]]) -> list[str]:
    """Return the notes on all datasets; where there are several, each begins with the datasets that it is about."""
    merged: dict[str, list[str]] = {}
    for name, notes in zip(names, of_datasets, strict=True):
        for note in notes:
            merged.setdefault(note.removeprefix(f"{name}: ") if len(of_datasets) > 1 else note, []).append(name)
    return [f"{', '.join(of)}: {note}" if len(of_datasets) > 1 else note for note, of in merged.items()]


def why_nothing(
    ended: pd.DataFrame, settings: pd.DataFrame, runs: int, results: Sequence[Result], never: Sequence[str]
) -> tuple[str, str]:
    """Return why no dataset has comparisons, and a remedy.

    Args:
        ended: the runs that ended, on all datasets.
        settings: of these.
        runs: how many are finished.
        results: of each dataset.
        never: sentences on values with which no run finished.
    """
    finished = settings[(ended["state"] == "finished").to_numpy()]
    axes = axes_of(finished)
    if not axes:
        what = f"nothing to compare: the {runs} finished runs differ only in seed and data"
        return ". ".join([what, *never]), sweep_over("another trick" if never else "a trick")
    alone = merge_notes([result.name for result in results], [result.alone for result in results])
    if not alone:  # each dataset has one value
        alone = unmatched(finished, choose_baselines(finished, axes, {}, {})[0], ())
    remedy = "Rerun the sweep to retrain stale runs." if any(it.is_stale for it in results) else ""
    return ". ".join(["no comparable pairs", *alone]), remedy or sweep_over("one trick at a time")


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

"""Which training trick helps, and by how much: finished runs that differ in one setting alone, compared in pairs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pandas as pd

from sweeper.summary.axes import CODE_OF, axes_of, choose_baselines, config_defaults, settings_of, without_slots
from sweeper.summary.columns import is_implied
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.gather import Skipped
from sweeper.summary.inference import METRICS, Comparison, compare, corrected
from sweeper.summary.pairing import bounds_of, differences, unmatched

COMMAND = "python train.py -m activation=relu,selu seed=0,1,2"
OLD = "of version 0.1"  # a reason to be left out


@dataclass(frozen=True)
class Effects:
    """The comparisons of the finished runs.

    Attributes:
        baseline: for each axis the value that its others are compared with.
        runs: number of finished runs.
        left_out: for each reason, how many runs do not count.
        comparisons: each value of each axis, by each metric.
        interactions: each two of them that were crossed, by each metric.
        notes: sentences on how curves were read and on what could not be compared.
        nothing: sentences that explain why there are no comparisons, and how to get some; None where there are.
    """

    baseline: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    interactions: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str | None = None


def effects(
    frame: pd.DataFrame,
    baseline: Mapping[str, Any] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    skipped: Skipped | None = None,
    options: ConvergenceOptions | None = None,
) -> Effects:
    """Compare every value of every setting that varies with its baseline value, and every two such that were crossed.

    Args:
        frame: a row for each run, as `sweeper.summary.gather.gather` returns it, in any order.
        baseline: values to compare with, by axis, as they are or as text; an axis that is left out has its value of
            `defaults` where that occurs, or the most common.
        defaults: the values of the baseline run; None for those of conf/.
        skipped: the folders that have no row.
        options: how learning curves were read.

    Raises:
        UserError: the baseline names an axis or a value that the finished runs do not have.
    """
    skipped = skipped or Skipped()
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items()))
    left_out |= {OLD: len(skipped.old)} if skipped.old else {}
    left_out |= {"unreadable": len(skipped.unreadable)} if skipped.unreadable else {}
    notes = (options or ConvergenceOptions()).captions + ([skipped.old_runs] if skipped.old else [])
    if runs < 2:
        what = "there are no runs" if frame.empty else "one run is finished" if runs else "no run is finished"
        return nothing(f"nothing to compare: {what}", sweep_over("a trick and seeds"), runs, left_out, skipped)
    finished = frame[frame["state"] == "finished"].sort_values("run_id").reset_index(drop=True)
    settings = settings_of(finished)
    axes = axes_of(settings)
    if not axes:
        what = f"nothing to compare: the {runs} finished runs differ in no setting but seed and data"
        return nothing(what, sweep_over("a trick"), runs, left_out, skipped)
    base = choose_baselines(settings, axes, baseline or {}, config_defaults() if defaults is None else defaults)
    settings = without_slots(settings, base)
    settings = settings.drop(
        columns=[name for name in map(str, settings) if name not in base and is_implied(settings, name)]
    )

    comparisons: list[Comparison] = []
    interactions: list[Comparison] = []
    for metric in METRICS:
        comparisons += corrected(compare_all(finished, settings, base, metric, [(axis,) for axis in axes]))
        crossed = compare_all(finished, settings, base, metric, list(combinations(axes, 2)))
        interactions += corrected([comparison for comparison in crossed if comparison.seeds > 1])
    alone = unmatched(settings, base, {comparison.changes[0] for comparison in comparisons})
    if not comparisons:
        retrained = settings.drop(columns=[name for name in map(str, settings) if name.startswith(CODE_OF)])
        only_stale = finished["stale"].eq(True).any() and any(
            compare_all(finished, retrained, base, metric, [(axis,) for axis in axes]) for metric in METRICS
        )
        remedy = "Rerun the sweep to retrain stale runs." if only_stale else sweep_over("one trick at a time")
        return nothing(". ".join(["no comparable pairs", *alone]), remedy, runs, left_out, skipped)
    notes += [*remarks(finished, settings, axes), *alone]
    return Effects(base, runs, left_out, comparisons, interactions, notes)


def nothing(what: str, remedy: str, runs: int, left_out: dict[str, int], skipped: Skipped) -> Effects:
    """Return no comparisons, the reason why, and what would give some."""
    others = {reason: number for reason, number in left_out.items() if reason != OLD}
    also = (f" ({format_counts(others)})" if others else "") + (f"; {skipped.old_runs}" if skipped.old else "")
    return Effects(runs=runs, left_out=left_out, nothing=f"{what}{also}. {remedy}")


def sweep_over(what: str) -> str:
    """Return the remedy where a sweep would give comparisons."""
    return f"Sweep over {what}, for example: {COMMAND}"


def format_counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in numbers.items())


def compare_all(
    finished: pd.DataFrame,
    settings: pd.DataFrame,
    baseline: Mapping[str, Any],
    metric: str,
    plans: Sequence[tuple[str, ...]],
) -> list[Comparison]:
    """Compare every value of one axis, or every two values of two, that has pairs, in order of axis and value."""
    bounds = [bounds_of(value) for value in finished[metric]]
    known = settings[[not math.isnan(low) for low, _ in bounds]]
    return [
        compare(metric, changes, pairs)
        for axes in plans
        for changes, pairs in differences(known, bounds, baseline, axes).items()
    ]


def remarks(finished: pd.DataFrame, settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """Describe what keeps finished runs out of some comparisons, and what limits their numbers."""
    lines = []
    for metric in ("test_acc", "convergence_epoch"):
        lacking = sum(math.isnan(bounds_of(value)[0]) for value in finished[metric])
        lines += [f"{lacking} finished {'run' if lacking == 1 else 'runs'} without {metric}"] if lacking else []
    for axis in axes:
        own = [name for name in map(str, settings) if name.startswith(f"{axis}.")]
        lines += [f"{axis}: runs that differ only in {', '.join(own)} count as one, their mean"] if own else []
    if stale := int(finished["stale"].eq(True).sum()):
        lines.append(f"{stale} of the finished runs are stale; pairs agree in all code but the compared choice")
    if "data.val_size" in finished and finished["data.val_size"].eq(0).any():
        lines.append("runs with data.val_size=0 selected their best epoch on test images: their test_acc is optimistic")
    return lines

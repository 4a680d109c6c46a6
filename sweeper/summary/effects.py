"""Which training trick helps, and by how much: finished runs that differ in one setting alone, compared in pairs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pandas as pd

from sweeper.summary.axes import axes_of, choose_baselines, config_defaults, settings_of, without_slots
from sweeper.summary.inference import JUDGED, Comparison, corrected, judge
from sweeper.summary.pairing import bounds_of, differences, lonely
from sweeper.summary.table import is_implied

COMMAND = "python train.py -m activation=relu,selu seed=0,1,2"


@dataclass(frozen=True)
class Effects:
    """What the finished runs say.

    Attributes:
        baseline: for each axis the value that its others are compared with.
        runs: how many finished runs there are.
        left_out: for each reason, how many runs do not count.
        comparisons: each value of each axis, by each measure.
        interactions: each two of them that were crossed, by each measure.
        notes: sentences on what could not be compared.
        nothing: the sentence that says why there are no comparisons, and what would give some; None where there are.
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
    unreadable: Sequence[str] = (),
) -> Effects:
    """Compare every value of every setting that varies with its baseline value, and every two such that were crossed.

    Args:
        frame: a row for each run, as `sweeper.summary.table.read_runs` gives it, in any order.
        baseline: values to compare with, by axis, as they are or as text; what is left out is taken from `defaults`
            where it occurs, or is what most runs have.
        defaults: the values of the baseline run; None for those of conf/.
        unreadable: folders that are no runs.

    Raises:
        UserError: the baseline names an axis or a value that the finished runs do not have.
    """
    states = Counter[str]() if frame.empty else Counter(str(state) for state in frame["state"])
    runs = states.pop("finished", 0)
    left_out = dict(sorted(states.items())) | ({"unreadable": len(unreadable)} if unreadable else {})
    if runs < 2:
        what = "one run is finished" if runs else "no run is finished" if left_out else "there are no runs"
        return nothing(what, "a trick and seeds", runs, left_out)
    finished = frame[frame["state"] == "finished"].sort_values("run_id").reset_index(drop=True)
    settings = settings_of(finished)
    axes = axes_of(settings)
    if not axes:
        return nothing(f"the {runs} finished runs differ in no setting but seed and data", "a trick", runs, left_out)
    base = choose_baselines(settings, axes, baseline or {}, config_defaults() if defaults is None else defaults)
    settings = without_slots(settings, base)
    settings = settings.drop(
        columns=[name for name in map(str, settings) if name not in base and is_implied(settings, name)]
    )

    comparisons: list[Comparison] = []
    interactions: list[Comparison] = []
    for measure in JUDGED:
        comparisons += corrected(compare(finished, settings, base, measure, [(axis,) for axis in axes]))
        crossed = compare(finished, settings, base, measure, list(combinations(axes, 2)))
        interactions += corrected([one for one in crossed if one.seeds > 1])
    partnerless = lonely(settings, base, {one.changes[0] for one in comparisons})
    if not comparisons:
        what = f"no two finished runs differ in one setting alone, {', and '.join(partnerless)}"
        return nothing(what, "one trick at a time", runs, left_out)
    return Effects(base, runs, left_out, comparisons, interactions, [*remarks(finished, settings, axes), *partnerless])


def nothing(what: str, sweep_over: str, runs: int, left_out: dict[str, int]) -> Effects:
    """No comparisons, the reason why and the command that would give some."""
    also = f" ({counted(left_out)})" if left_out else ""
    sentence = f"nothing to compare: {what}{also}; sweep over {sweep_over}: {COMMAND}"
    return Effects(runs=runs, left_out=left_out, nothing=sentence)


def counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in numbers.items())


def compare(
    finished: pd.DataFrame,
    settings: pd.DataFrame,
    baseline: Mapping[str, Any],
    measure: str,
    plans: Sequence[tuple[str, ...]],
) -> list[Comparison]:
    """Every value of one axis, or every two values of two, that has pairs, in order of axis and value."""
    bounds = [bounds_of(value) for value in finished[measure]]
    known = settings[[not math.isnan(low) for low, _ in bounds]]
    reading = JUDGED[measure].reading
    if reading is not None and reading in finished:
        known = known.assign(**{reading: finished[reading].astype(object).where(finished[reading].notna(), None)})
    return [
        judge(measure, changes, found)
        for axes in plans
        for changes, found in differences(known, bounds, baseline, axes).items()
    ]


def remarks(finished: pd.DataFrame, settings: pd.DataFrame, axes: Sequence[str]) -> list[str]:
    """What keeps finished runs out of some comparisons, and what their numbers do not say."""
    lines = []
    for measure in ("test_acc", "convergence_epoch"):
        lacking = sum(math.isnan(bounds_of(value)[0]) for value in finished[measure])
        lines += [f"{lacking} finished {'run' if lacking == 1 else 'runs'} without {measure}"] if lacking else []
    for measure, judged in JUDGED.items():
        if judged.reading in finished and finished[judged.reading].dropna().nunique() > 1:
            lines.append(f"{measure} is compared between runs of equal {judged.reading}")
    for axis in axes:
        own = [name for name in map(str, settings) if name.startswith(f"{axis}.")]
        lines += [f"{axis}: runs that differ in {', '.join(own)} alone count as one, their mean"] if own else []
    if stale := int(finished["stale"].eq(True).sum()):
        lines.append(f"{stale} of the finished runs are stale; a pair was trained by the same code")
    if "data.val_size" in finished and finished["data.val_size"].eq(0).any():
        lines.append("runs with data.val_size=0 chose their best epoch on test images: their test_acc is optimistic")
    return lines

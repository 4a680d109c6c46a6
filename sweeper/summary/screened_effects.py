"""Comparisons of screened tricks: the contrasts of each seed in place of pairs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeper.summary.axes import format_override
from sweeper.summary.effect_measures import Runs
from sweeper.summary.inference import Comparison, compare, corrected
from sweeper.summary.pairing import DECIMALS, Change, Difference
from sweeper.summary.screening import Screening, Trick, screen

METRIC = "test_acc"


def find_screens(
    settings: pd.DataFrame,
    runs: Runs,
    finished: Collection[int],
    baseline: Mapping[str, Any],
    datasets: Collection[Any],
) -> dict[Any, Screening]:
    """Return the screens whose runs are no pairs, by their dataset.

    Args:
        settings: of finished and diverged runs, see sweeper.summary.axes.settings_of.
        runs: their results.
        finished: rows of the finished runs.
        baseline: for each axis the value that its others are compared with.
        datasets: all datasets.
    """
    found = {}
    for data in datasets:
        part = settings[settings["data"] == data] if "data" in settings else settings
        known = {row: runs.number(METRIC, row) if row in finished else None for row in part.index}
        screening = screen(part, pd.Series(known, dtype=float), baseline)
        if screening is not None and not screening.is_full and any(screening.effects.values()):
            found[data] = screening
    return found


def compare_screened(screening: Screening, runs: Runs, data: str, *, is_anytime: bool) -> list[Comparison]:
    """Compare every trick on and off; a seed's mean over its runs with and without is its contrast.

    Args:
        screening: of the runs of one dataset.
        runs: their results.
        data: the dataset's name.
        is_anytime: see Comparison.
    """
    table = []
    for trick in screening.effects:
        differences = [
            Difference(round(on - off, DECIMALS), seed, (), (row,), (base_row,))
            for seed in screening.effects[trick]
            for row, base_row in zip(screening.on[trick][seed], screening.off[trick][seed], strict=True)
            if (on := runs.number(METRIC, row)) is not None and (off := runs.number(METRIC, base_row)) is not None
        ]
        change = Change(*trick[0])
        table.append(
            compare(METRIC, (change,), differences, runs=runs, data=data, is_anytime=is_anytime, is_screen=True)
        )
    return corrected(table)


def describe_screen(screening: Screening, data: str) -> list[str]:
    """Return sentences on what the effects of a screen are, which seeds are left out, and what changes together."""
    tricks = list(screening.effects)
    seeds = screening.on[tricks[0]]
    number = 2 * len(next(iter(seeds.values())))
    lines = [
        f"{data}: a screen of {len(tricks)} tricks with {number} runs per seed; each effect is averaged over the "
        "other tricks; interactions are not estimated"
    ]
    for seed, lacking in screening.left_out.items():
        missing = f"{lacking} of its runs {'is' if lacking == 1 else 'are'} missing"
        lines.append(f"{data}: seed {format_override(seed)} is left out, {missing}")
    return lines + [f"{data}: {name_changes(trick)} change together" for trick in tricks if len(trick) > 1]


def name_changes(trick: Trick) -> str:
    changes: Sequence[str] = [f"{axis}={format_override(value)}" for axis, value, _ in trick]
    return f"{', '.join(changes[:-1])} and {changes[-1]}"

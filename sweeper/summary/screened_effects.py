"""Comparisons of screened tricks: the contrasts of each seed in place of pairs."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from sweeper.errors import UserError
from sweeper.summary.columns import format_override, scores
from sweeper.summary.effect_measures import usual_measures
from sweeper.summary.inference import Comparison, compare, corrected
from sweeper.summary.outcomes import Tally
from sweeper.summary.pairing import DECIMALS, Difference
from sweeper.summary.screening import Screening, Trick, screen
from sweeper.summary.study import Study


def find_screens(study: Study) -> dict[Any, Screening]:
    """Return the screens whose runs do not form pairs, by dataset."""
    metric = main_of(study)
    found, known = {}, study.known(metric)
    for data in study.datasets:
        part = rows_of(study.settings, data)
        results = {row: study.runs.number(metric, row) if row in known else None for row in part.index}
        screening = screen(part, pd.Series(results, dtype=float), study.baseline)
        if screening is not None and not screening.is_full and any(screening.effects.values()):
            found[data] = screening
    return found


def main_of(study: Study) -> str:
    """Return the measure that decides, of the task of the runs."""
    return f"test_{scores(study.runs.frame)[0]}"


def rows_of(settings: pd.DataFrame, data: Any) -> pd.DataFrame:
    """Return the settings of the runs on a dataset."""
    return settings[settings["data"] == data] if "data" in settings else settings


def compare_screened(study: Study, screening: Screening, data: Any) -> list[Comparison]:
    """Compare every trick on and off; a seed's mean over its runs with and without is its contrast.

    Args:
        study: the runs of all datasets.
        screening: of the runs of one dataset.
        data: the dataset.

    Returns:
        None of a confounded screen.

    Raises:
        UserError: other measures than test_acc are asked for.
    """
    metric = main_of(study)
    if others := [name for name in study.method.measures if name not in usual_measures(study.runs.frame)]:
        raise UserError(f"--measure {others[0]}: the tricks of a screen are compared by {metric} only; drop --measure")
    if screening.is_confounded:
        return []
    table, runs, settings = [], study.runs, rows_of(study.settings, data)
    for trick in screening.effects:
        differences = [
            Difference(round(on - off, DECIMALS), seed, (), (row,), (base_row,))
            for seed in screening.effects[trick]
            for row, base_row in zip(screening.on[trick][seed], screening.off[trick][seed], strict=True)
            if (on := runs.number(metric, row)) is not None and (off := runs.number(metric, base_row)) is not None
        ]
        change = study.change(*trick[0])
        sides = [settings.index[settings[change.axis] == value] for value in (change.value, change.baseline)]
        comparison = compare(
            metric,
            (change,),
            differences,
            runs=runs,
            data=study.datasets[data],
            diverged=tally(sides, study.diverged),
            failed=tally(sides, study.failed),
            is_scored=bool(study.scored),
            is_screen=True,
            is_anytime=study.method.is_anytime,
            precision=study.method.fixed_width,
        )
        table.append(comparison)
    return corrected(table)


def tally(sides: Sequence[Collection[int]], counted: Collection[int]) -> Tally:
    """Count the runs that ended in a certain way, with and without a trick, over all seeds of a screen."""
    on, off = (sum(row in counted for row in side) for side in sides)
    return Tally(on, len(sides[0]), off, len(sides[1]))


def describe_screen(screening: Screening, data: str) -> list[str]:
    """Return sentences on what the effects of a screen are, which seeds are left out, and what changes together."""
    tricks = list(screening.effects)
    seeds = screening.on[tricks[0]]
    number = 2 * len(next(iter(seeds.values())))
    if screening.is_confounded:
        return [
            f"{data}: {len(tricks)} tricks in {number} runs per seed, in which a trick's effect cannot be told from "
            "interactions of others, so none is estimated; compare all runs of the screen, without --where"
        ]
    lines = [
        f"{data}: a screen of {len(tricks)} tricks with {number} runs per seed; each effect is averaged over the "
        "other tricks; interactions are not estimated"
    ]
    for seed, lacking in screening.left_out.items():
        if seed in seeds:
            other = number - lacking
            runs = f"{other} {'run' if other == 1 else 'runs'}"
            lines.append(f"{data}: seed {format_override(seed)}: left out {runs} of other code or environment")
            continue
        missing = f"{lacking} of its runs {'is' if lacking == 1 else 'are'} missing"
        lines.append(f"{data}: seed {format_override(seed)} is left out, {missing}")
    return lines + [f"{data}: {name_changes(trick)} change together" for trick in tricks if len(trick) > 1]


def name_changes(trick: Trick) -> str:
    changes: Sequence[str] = [f"{axis}={format_override(value)}" for axis, value, _ in trick]
    return f"{', '.join(changes[:-1])} and {changes[-1]}"

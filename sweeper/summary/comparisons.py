"""The comparisons of a study: of every value of one axis, or every two values of two, that has pairs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sweeper.summary.blocks import unpaired_seeds
from sweeper.summary.columns import format_override
from sweeper.summary.effect_measures import METRICS
from sweeper.summary.held import held_by
from sweeper.summary.inference import Comparison, compare, corrected
from sweeper.summary.outcomes import count_among
from sweeper.summary.pairing import (
    Corner,
    Difference,
    Stratum,
    at_own,
    cell_columns,
    compared_values,
    contrasts,
    differences,
    own_axes,
    strata,
)
from sweeper.summary.study import CHANCE, Study
from sweeper.summary.tuning import doubts_of


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
    contrasted = {values: contrasts(paired, values, base, known) for values in compared_values(paired, base)}

    def doubts(pairs: Sequence[Difference]) -> str:
        rows = {row for pair in pairs for row in (*pair.rows, *pair.base_rows)}
        chosen = {id(one): one for row in rows if (one := study.chosen.get(row)) is not None}
        return doubts_of(chosen.values(), study.method.tuned)

    def alone(pairs: Sequence[Difference], corner: Corner) -> list[str]:
        """Return the seeds of the pairs' cells that have a run of one side only, see unpaired_seeds."""
        if len(axes) > 1:
            return []
        cells, sides = {pair.cell for pair in pairs}, (corner, base)
        here = [stratum for stratum in found if stratum.cell in cells]
        signed = {id(stratum): [rows for rows, _ in one] for stratum, one in contrasted[corner]}
        both = {stratum.seed for stratum in here if all(signed.get(id(stratum), [()]))}
        seeds = both | {pair.seed for pair in pairs}  # of a pair without a result, the run's end is counted
        lone: dict[Any, set[int]] = {}
        for stratum in (stratum for stratum in here if stratum.seed not in seeds):
            had = signed.get(id(stratum), [stratum.corners.get(side, ()) for side in sides])
            lone.setdefault(stratum.seed, set()).update(index for index, rows in enumerate(had) if rows)
        if not any(lone.values()):
            return []
        counted = ([row for pair in pairs for row in pair.rows], [row for pair in pairs for row in pair.base_rows])
        points = [at_own(study.settings, own_axes(axes, study.baseline), rows) or "" for rows in counted]
        texts = [f"{axes[0]}={format_override(side[0])}{at}" for side, at in zip(sides, points, strict=True)]
        return unpaired_seeds({seed: [texts[index] for index in had] for seed, had in lone.items() if had}, texts)

    return [
        compare(
            metric,
            tuple(study.change(*sides) for sides in zip(axes, values, base, strict=True)),
            pairs,
            names=names,
            held=partial(held_by, names=names, baseline=study.baseline, users=study.users),
            runs=study.runs,
            data=study.datasets[data],
            own=[name for name in own if name not in axes],
            doubts=doubts,
            unpaired=alone(pairs, values),
            diverged=count_among(ends, study.diverged),
            failed=count_among(ends, study.failed),
            is_scored=bool(study.scored) and metric in CHANCE,
            is_anytime=study.method.is_anytime,
            precision=study.method.fixed_width,
        )
        for values, ends in contrasted.items()
        if (pairs := differences(ends, METRICS[metric], study.runs, known))
    ]

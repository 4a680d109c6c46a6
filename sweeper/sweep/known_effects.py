"""Current estimates of the effects of a design, from the finished runs of its plan, with one observation per seed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sweeper.files import number
from sweeper.runs.directory import flat_settings
from sweeper.runs.scores import score_in
from sweeper.runs.states import State, state_of
from sweeper.sweep.baseline import center, choose_baseline, config_defaults, most_common, typed_value
from sweeper.sweep.designs import Row, contrasts
from sweeper.sweep.expand import Axis
from sweeper.sweep.notation import SHOWN_AS, is_crossed
from sweeper.sweep.plan import Planned
from sweeper.sweep.precision import half_width, rounding_of, spread_of


@dataclass(frozen=True)
class Effect:
    """The current estimate of an effect on test_acc.

    Attributes:
        name: such as `norm=batch vs. norm=none`.
        differences: of each seed whose runs are finished, the mean over its pairs.
        diverged: number of seeds in which a run diverged.
        rounding: standard deviation of a difference that is due to the number of test images.
        is_average: whether a seed has several pairs, which differ from each other in other swept settings.
    """

    name: str
    differences: tuple[float, ...]
    diverged: int
    rounding: float
    is_average: bool

    @property
    def is_known(self) -> bool:
        """Whether it has an interval. If a run diverged, the seeds in which none did would be a biased selection."""
        return not self.diverged and len(self.differences) > 1

    @property
    def spread(self) -> float:
        return spread_of(self.differences, self.rounding)

    @property
    def half_width(self) -> float:
        return half_width(self.spread, len(self.differences))


def effects_of(plan: Sequence[Planned], factors: Sequence[Axis], design: str) -> list[Effect]:
    """Estimate every effect of a design, for each dataset, from the seeds whose runs are finished.

    Effects without a pair of two different runs, because of exclusions or duplicates, are left out. A run whose model
    lacks the slot of a factor has the baseline's value of it, as in `effects`.
    """
    sizes = [len(axis.values) for axis in factors]
    runs = [planned for planned in plan if planned.run_id]
    results = {planned.run_id: read_result(planned) for planned in runs}
    baselines = baselines_of([planned for planned in runs if isinstance(results[planned.run_id], float)], factors)
    blocks: dict[tuple[str, ...], dict[int, dict[Row, Planned]]] = {}
    for planned in runs:
        row = tuple(
            usual if own is None else own for own, usual in zip(row_of(planned, factors), baselines, strict=True)
        )
        data = tuple(text for text in planned.overrides if is_crossed(text) and key_of(text) != "seed")
        blocks.setdefault(data, {}).setdefault(planned.config.seed, {})[row] = planned
    found = []
    for data, seeds in blocks.items():
        ran = list(dict.fromkeys(row for cells in seeds.values() for row in cells))
        for contrast in contrasts(design, sizes, baselines, ran):
            values = factors[contrast.factor].values
            name = f"{' '.join(values[contrast.value])} vs. {' '.join(values[contrast.baseline])}"
            rows = [(ran[one], ran[other]) for one, other in contrast.pairs]
            pairs = [
                [(cells[one], cells[other]) for one, other in rows if one in cells and other in cells]
                for cells in seeds.values()
            ]
            found.append(measure(f"{' '.join(data)}: {name}" if len(blocks) > 1 else name, pairs, results))
    return [effect for effect in found if effect.differences or effect.diverged]


def baselines_of(finished: Sequence[Planned], factors: Sequence[Axis]) -> list[int]:
    """Return the index of each factor's value with which its others are compared, as `effects` chooses it.

    A run counts for the factors whose slots its model has.

    Args:
        finished: the runs from which effects are estimated.
        factors: of the design.
    """
    rows = {planned.run_id: row_of(planned, factors) for planned in finished}
    used = list(rows.values())
    defaults, named = config_defaults(), list[str]()
    values: list[list[Any]] = []
    for position, axis in enumerate(factors):
        runs = {rows[planned.run_id][position]: planned for planned in finished}
        setting, cells = deciding_setting(axis, [runs.get(index) for index in range(len(axis.values))], defaults)
        named.append(setting)
        values.append(cells)

    def ran(position: int, rows: Iterable[tuple[int | None, ...]]) -> list[Any]:
        known = [values[position][index] for row in rows if (index := row[position]) is not None]
        return known or values[position]

    usual = [most_common(ran(position, {*used})) for position in range(len(factors))]
    chosen = center(
        tuple(usual[position] if index is None else values[position][index] for position, index in enumerate(row))
        for row in used
    ) or [choose_baseline(key, ran(position, used), defaults) for position, key in enumerate(named)]
    return [cells.index(cell) for cells, cell in zip(values, chosen, strict=True)]


def deciding_setting(axis: Axis, runs: Sequence[Planned | None], defaults: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the setting that decides the baseline of an axis, and its value for each of the axis's values.

    It is the key that was typed, or the setting that tables have in its place, see `SHOWN_AS`. The keys of a zip vary
    together; the first by name that has a default decides.

    Args:
        runs: one with each value; None where no run has it.
        defaults: see `sweeper.sweep.baseline.config_defaults`.
    """
    keys = [key.lstrip("+") for key in axis.keys]
    key = min(keys, key=lambda name: (name not in defaults, name))
    if key in SHOWN_AS:
        specs = [run.spec for run in runs if run is not None and run.spec is not None]
        cells = [flat_settings(spec.effective).get(SHOWN_AS[key]) for spec in specs]
        if len({*cells}) == len(axis.values):
            return SHOWN_AS[key], cells
    typed = [texts[keys.index(key)].partition("=")[2] for texts in axis.values]
    return key, [typed_value(text, defaults.get(key)) for text in typed]


def row_of(planned: Planned, factors: Sequence[Axis]) -> tuple[int | None, ...]:
    """Return the index of each factor's value in a run; None where its model lacks the slot."""
    assert planned.spec is not None
    overrides, missing = {*planned.overrides}, {*planned.spec.missing_slots}
    return tuple(
        next(index for index, texts in enumerate(axis.values) if {*texts} <= overrides)
        if {re.split("[.=]", key.lstrip("+"))[0] for key in axis.keys} - missing
        else None
        for axis in factors
    )


def key_of(override: str) -> str:
    return override.partition("=")[0]


def read_result(planned: Planned) -> float | State:
    """Return a run's test accuracy, or the metric of its task, or its state where it is not finished."""
    state = state_of(planned.record)
    result = planned.record.result() or {}
    accuracy = number(result.get(f"test_{score_in(result)}"))
    return accuracy if state is State.FINISHED and accuracy is not None else state


def measure(
    name: str, seeds: Sequence[Sequence[tuple[Planned, Planned]]], results: Mapping[str, float | State]
) -> Effect:
    """Estimate an effect.

    Args:
        seeds: the pairs of each seed, the run with the value first.
        results: of each run, see `read_result`.
    """
    differences: list[float] = []
    diverged = 0
    rounding = 0.0
    is_average = False
    for pairs in seeds:
        compared = [(one, other) for one, other in pairs if "" != one.run_id != other.run_id != ""]
        found = [(results[one.run_id], results[other.run_id]) for one, other in compared]
        known = [one - other for one, other in found if isinstance(one, float) and isinstance(other, float)]
        diverged += any(State.DIVERGED in pair for pair in found)
        is_average |= len(compared) > 1
        if known and len(known) == len(found):
            assert compared[0][0].spec is not None
            rounding = rounding_of(1 / compared[0][0].spec.num_test, len(compared))
            differences.append(fmean(known))
    return Effect(name, tuple(differences), diverged, rounding, is_average)


def format_effect(effect: Effect, precision: float) -> str:
    """Format an effect as a line, ± the precision where it was reached, else ± the half-width."""
    if not effect.is_known:
        finished = f"finished in {len(effect.differences)} seeds, diverged in {effect.diverged}"
        return f"{effect.name}: no interval ({finished})"
    mean, reached = fmean(effect.differences), effect.half_width <= precision
    width = precision if reached else effect.half_width
    result = "not significant"
    if abs(mean) > width:
        result = ("helps" if mean > 0 else "hurts") + (" on average" if effect.is_average else "")
    return f"{effect.name}: {mean:+z.4f} ± {width:.4f}, {result}{'' if reached else '; precision not reached'}"

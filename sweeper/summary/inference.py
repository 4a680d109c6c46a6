"""The statistics of a comparison: mean difference, interval, p. A seed is one observation.

Pairs with the same seed share split, order and often most of their settings, so they are not independent: a second axis
without any effect would double their number and lower p. So the pairs of each seed are averaged, and the tests are over
seeds (Ibragimov and Mueller, 2010).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sweeper.summary.anytime import anytime_p, confidence_sequence
from sweeper.summary.blocks import Cell, complete_blocks
from sweeper.summary.columns import MODEL
from sweeper.summary.cost import Cost, cost_of
from sweeper.summary.effect_measures import MAIN, METRICS, TARGETS, Runs, one_epoch
from sweeper.summary.held import Held
from sweeper.summary.intervals import (
    Interval,
    fixed_width,
    holm,
    holm_levels,
    mean_of,
    new_model_interval,
    rounding_floor,
    spread_of,
    t_interval,
    t_test,
    within,
)
from sweeper.summary.other_images import ImageVariance, Pair, for_other_images
from sweeper.summary.outcomes import Tally, count_limited, count_reached
from sweeper.summary.pairing import DECIMALS, Change, Difference
from sweeper.summary.parts import Part, agree, opposed, parts_of

LEVEL = 0.05  # of the tests; the intervals cover 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """One change against the baseline, or two for their interaction, by one metric, on one dataset.

    Attributes:
        metric: name of the metric.
        data: the dataset.
        changes: one or two; of two, the difference of the first change's effects with and without the second.
        pairs: number of pairs of runs, or of quadruples, in complete blocks.
        rows, base_rows: of their runs that count as the value, or as the baseline.
        means: over the pairs of each seed, of value - baseline, in the order of the seeds.
        floor: the standard deviation that rounding alone gives `means`; None where it is not known.
        bound: the largest difference that is possible, 1 of accuracies, 2 of their interactions; None: not known.
        higher, lower, tied: pairs in which the value has more of the metric, less, the same.
        models: of the pairs of each model, if there are several, except on the model axis itself.
        axis, parts: another setting whose parts' means differ in sign, else none; of several, one with intervals on
            both sides of 0, then models.
        averaged: settings of the axes' own choices over which runs were averaged.
        doubts: why the values of tuned settings are uncertain; empty where they are not.
        held: other axes that do not have the baseline's value in any pair, see sweeper.summary.held.
        typed_held: the same with presets that were typed; empty where none was.
        left_out: seeds and cells that are not in complete blocks, or have no pair.
        diverged, failed, limited, reached: see sweeper.summary.outcomes.
        is_scored: whether diverged runs count as chance accuracy.
        is_screen: whether the pairs also differ in other settings, balanced only over all runs of a seed.
        is_optimistic: whether test images selected the epochs of some of the runs (data.val_size=0).
        is_anytime: whether p and intervals stay valid when seeds are added after a look.
        precision: the half-width for which the number of seeds was chosen, only with test_acc; None: there is none.
        images: the variance between test images, of test_acc where all of the runs' predictions are there.
        cost: of one change, with test_acc.
        p: two-sided; None with one seed, with a precision, or if all seeds agree to the last digit and the resolution
            is not known.
        corrected: p by Holm's method over all comparisons (or interactions) of the table that have a p.
        level: the Holm-adjusted level of p; LEVEL where there is none.
    """

    metric: str
    data: str
    changes: tuple[Change, ...]
    pairs: int
    means: tuple[float, ...]
    floor: float | None
    higher: int
    lower: int
    tied: int
    rows: tuple[int, ...] = ()
    base_rows: tuple[int, ...] = ()
    bound: float | None = None
    models: tuple[Part, ...] = ()
    axis: str | None = None
    parts: tuple[Part, ...] = ()
    averaged: tuple[str, ...] = ()
    doubts: str = ""
    held: Held = ()
    typed_held: Held = ()
    left_out: tuple[str, ...] = ()
    diverged: Tally | None = None
    failed: Tally | None = None
    limited: Tally | None = None
    reached: Tally | None = None
    is_scored: bool = False
    is_screen: bool = False
    is_optimistic: bool = False
    is_anytime: bool = False
    precision: float | None = None
    images: ImageVariance | None = None
    cost: Cost | None = None
    p: float | None = None
    corrected: float | None = None
    level: float = LEVEL

    @property
    def shown_held(self) -> Held:
        """What is held, as displays name it."""
        return self.typed_held or self.held

    @property
    def seeds(self) -> int:
        return len(self.means)

    @property
    def mean(self) -> float:
        return mean_of(self.means)

    @property
    def spread(self) -> float | None:
        """Standard deviation between the seeds, with n - 1, at least the floor."""
        return spread_of(self.means, self.floor)

    @property
    def interval(self) -> Interval | None:
        """The interval of the mean for this comparison alone."""
        return self.interval_at(LEVEL)

    @property
    def family(self) -> Interval | None:
        """The interval at the Holm-adjusted level of p; it excludes 0 exactly where p is significant."""
        return self.interval_at(self.level)

    @property
    def other_images(self) -> Interval | None:
        """The interval for other test images at the same level, where it is wider by more than a tenth."""
        family = self.uncut_at(self.level)
        if self.images is None or family is None:
            return None
        wider = within(for_other_images(family, self.images, self.level), self.bound)
        return None if wider == self.family else wider

    @property
    def is_significant(self) -> bool:
        if self.precision is not None:
            return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]
        return self.corrected is not None and self.corrected < LEVEL

    @property
    def is_unplanned(self) -> bool:
        """Whether a run diverged that sweep.precision needed: the number of seeds does not follow from the spread."""
        return self.precision is not None and self.diverged is not None and not self.diverged.is_empty

    @property
    def has_chance(self) -> bool:
        """Whether it includes a diverged run, counted as chance accuracy."""
        return self.is_scored and self.diverged is not None and not self.diverged.is_empty

    @property
    def is_precise(self) -> bool:
        """Whether the precision was reached, if there is one."""
        return (
            self.precision is None
            or self.is_unplanned
            or self.uncut_at(LEVEL) == (self.mean - self.precision, self.mean + self.precision)
        )

    @property
    def models_up(self) -> int:
        return sum(model.mean > 0 for model in self.models)

    @property
    def new_model(self) -> Interval | None:
        """The prediction interval for the effect on a new model, never narrower than `family`."""
        family = self.uncut_at(self.level)
        if family is None:
            return None
        low, high = family
        return within(new_model_interval([model.mean for model in self.models], LEVEL, (high - low) / 2), self.bound)

    @property
    def is_cut(self) -> bool:
        """Whether `family` ends where no larger difference is possible."""
        return self.family != self.uncut_at(self.level)

    @property
    def is_vacuous(self) -> bool:
        """Whether `family` is all that is possible since the seeds disagree, not since rounding hides a difference."""
        return self.bound is not None and self.family == (-self.bound, self.bound) and self.higher + self.lower > 0

    def interval_at(self, level: float) -> Interval | None:
        """Return the interval at a level, cut at what is possible."""
        return within(self.uncut_at(level), self.bound)

    def uncut_at(self, level: float) -> Interval | None:
        if self.is_anytime:
            return confidence_sequence(self.means, level, self.floor)
        if self.is_unplanned:
            return None
        if self.precision is not None:
            return fixed_width(self.mean, self.spread, self.seeds, self.precision)
        return t_interval(self.mean, self.spread, self.seeds, level)


def compare(
    metric: str,
    changes: tuple[Change, ...],
    differences: Sequence[Difference],
    *,
    names: Sequence[str] = (),
    held: Callable[[Sequence[Cell]], Held] | None = None,
    runs: Runs | None = None,
    data: str = "",
    own: Sequence[str] = (),
    doubts: Callable[[Sequence[Difference]], str] | None = None,
    unpaired: Sequence[str] = (),
    diverged: Tally | None = None,
    failed: Tally | None = None,
    is_scored: bool = False,
    is_screen: bool = False,
    is_anytime: bool = False,
    precision: float | None = None,
) -> Comparison:
    """Return the statistics of one comparison, its p not yet corrected.

    Args:
        metric: name of the metric.
        changes: one or two.
        differences: of all pairs, or quadruples.
        names: of the settings in a pair's cell.
        held: returns what the pairs' cells hold, see sweeper.summary.held; None: that is not known.
        runs: the results, for the resolution of the metric; None: not known.
        data: the dataset.
        own: settings of the axes' choices; runs that differ in nothing else are averaged.
        doubts: returns why the values of tuned settings in some pairs are uncertain, or an empty text.
        unpaired: the seeds without a pair, and what they lack.
        diverged, failed, is_scored, is_screen, is_anytime: see Comparison.
        precision: see Comparison; ignored by those of other measures, which did not determine the number of seeds.
    """
    blocks = complete_blocks(differences, names)
    seeds: dict[Any, list[float]] = {}
    for pair in blocks.differences:
        seeds.setdefault(pair.seed, []).append(pair.value)
    means = tuple(round(fmean(pairs), DECIMALS) for pairs in seeds.values())
    resolutions = (
        [] if runs is None else [METRICS[metric].resolution(runs, pair.rows[0]) for pair in blocks.differences]
    )
    resolution = max((step for step in resolutions if step is not None), default=None)
    floor = rounding_floor(resolution, 2 ** len(changes), len(blocks.differences) / len(means))
    divided = {
        name: parts_of(name, index, blocks, rounding_floor(resolution, 2 ** len(changes), 1))
        for index, name in enumerate(names)
        if len({cell[index] for cell in blocks.cells}) > 1
    }
    disagreeing = [name for name, parts in divided.items() if not agree([part.mean for part in parts])]
    axis = min(disagreeing, key=lambda name: (not are_opposite(divided[name]), name != MODEL, name), default=None)
    is_main = metric in MAIN and len(changes) == 1
    if not is_main:
        precision = None
    p = anytime_p(means, floor) if is_anytime else t_test(mean_of(means), spread_of(means, floor), len(means))
    rows = sorted({row for pair in blocks.differences for row in pair.rows})
    base_rows = sorted({row for pair in blocks.differences for row in pair.base_rows})
    return Comparison(
        metric,
        data,
        changes,
        pairs=len(blocks.differences),
        means=means,
        floor=floor,
        higher=sum(pair.value > 0 for pair in blocks.differences),
        lower=sum(pair.value < 0 for pair in blocks.differences),
        tied=sum(pair.value == 0 for pair in blocks.differences),
        rows=tuple(rows),
        base_rows=tuple(base_rows),
        bound=bound_of(metric, changes, rows + base_rows, runs),
        models=divided.get(MODEL, ()),
        axis=axis,
        parts=divided[axis] if axis is not None else (),
        averaged=tuple(own) if any(pair.is_average for pair in blocks.differences) else (),
        doubts="" if doubts is None else doubts(blocks.differences),
        held=() if held is None else held(blocks.cells),
        left_out=(*blocks.left_out, *unpaired),
        diverged=diverged,
        failed=failed,
        limited=count_limited(runs, rows, base_rows) if runs is not None and metric in MAIN else None,
        reached=count_reached(runs, rows, base_rows) if runs is not None and metric in TARGETS else None,
        is_scored=is_scored,
        is_screen=is_screen,
        is_optimistic=runs is not None and any(runs.number("data.val_size", row) == 0 for row in (*rows, *base_rows)),
        is_anytime=is_anytime,
        precision=precision,
        images=image_variance_of(blocks.differences, runs) if is_main else None,
        cost=cost_of(blocks.differences, runs, is_screen=is_screen) if is_main and runs is not None else None,
        p=p if precision is None else None,
    )


def bound_of(metric: str, changes: Sequence[Change], rows: Sequence[int], runs: Runs | None) -> float | None:
    """Return the largest difference that is possible: of shares, from 0 to 1, and of epochs, from 1 to the budget.

    A target that is not reached counts as the budget plus one. None where that is not known, and of other results.
    """
    if runs is None:
        return None
    if METRICS[metric].resolution is one_epoch:
        budgets = [runs.number("epochs", row) for row in rows]
        longest = max((budget for budget in budgets if budget is not None), default=0.0)
        return None if None in budgets else 2.0 ** (len(changes) - 1) * max(0.0, longest - (metric not in TARGETS))
    if not METRICS[metric].is_share:
        return None
    values = [runs.number(metric, row) for row in rows]
    is_share = all(value is None or 0 <= value <= 1 for value in values)
    return 2.0 ** (len(changes) - 1) if is_share else None


def image_variance_of(differences: Sequence[Difference], runs: Runs | None) -> ImageVariance | None:
    if runs is None or runs.correctness is None:
        return None
    run_ids = runs.column("run_id")
    pairs = [
        Pair([run_ids[row] for row in pair.rows], [run_ids[row] for row in pair.base_rows], pair.seed)
        for pair in differences
    ]
    return runs.correctness.variance(pairs)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return a table's comparisons with corrected p values, and with the intervals of their parts by model."""
    tested = [comparison.p for comparison in comparisons if comparison.p is not None]
    adjusted, levels = iter(holm(tested)), iter(holm_levels(tested, LEVEL))
    number = sum(len(comparison.models) for comparison in comparisons)
    others = sum(len(comparison.parts) for comparison in comparisons)
    family = []
    for comparison in comparisons:
        p, level = (None, LEVEL) if comparison.p is None else (next(adjusted), next(levels))
        models = tuple(replace(part, family=part_interval(part, comparison, number)) for part in comparison.models)
        parts = tuple(replace(part, family=part_interval(part, comparison, others)) for part in comparison.parts)
        parts = models if comparison.axis == MODEL else parts
        family.append(replace(comparison, models=models, parts=parts, corrected=p, level=level))
    return family


def are_opposite(parts: Sequence[Part]) -> bool:
    """Return whether the intervals of some parts are above 0 and of others below, for these parts alone."""
    intervals = [t_interval(part.mean, part.spread, len(part.means), LEVEL / len(parts)) for part in parts]
    return opposed(intervals)


def part_interval(part: Part, comparison: Comparison, number: int) -> Interval | None:
    """Return the interval of a part's mean that holds simultaneously for a number of parts."""
    if comparison.is_anytime:
        return within(confidence_sequence(part.means, LEVEL / number, part.spread), comparison.bound)
    return within(t_interval(part.mean, part.spread, len(part.means), LEVEL / number), comparison.bound)

"""The cost of a change: time of a training step and number of parameters, from pairs of runs."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from scipy.special import stdtrit

from sweeper.summary.effect_measures import Runs
from sweeper.summary.intervals import Interval
from sweeper.summary.kept_costs import PairCost, combined_spread, pair_cost
from sweeper.summary.pairing import DECIMALS, Difference

CLEAR = 1.1  # factor to which a cost is known that is shown
LEVEL = 0.05  # of the interval of that factor
LARGE = 10  # from this ratio on, a multiple is shown instead of a percentage
CAPTION = (
    "cost: change in seconds per training step, from speeds recorded during training (other load not excluded), over "
    "pairs with the same host, device and number of threads; `python -m sweeper cost SWEEP` measures it"
)
MEASURED_CAPTION = "cost: change in seconds per training step, measured by `python -m sweeper cost`"
UNCERTAIN = "a cost such as ±4%: no difference is clear; it is at most that much either way (95%, each)"
SINGLE = "The cost is of a single pair, which other load may have slowed (`python -m sweeper cost SWEEP` measures it)"
UNSTEADY = (
    "No cost, since the speeds recorded in the pairs disagree by more than a tenth (`python -m sweeper cost SWEEP` "
    "measures it)"
)
Sides = tuple[Sequence[Any], Sequence[Any]]  # the runs of a pair: with the change, without


@dataclass(frozen=True)
class Cost:
    """The cost of a change, as ratios: with the change over without, geometric means over pairs of runs.

    Attributes:
        step_time: of seconds per training step; None where no pair can be compared, or the recorded speeds disagree.
        parameters: of the numbers of parameters; None where they are not recorded.
        memory: of peak memory on a GPU; None where it was not measured.
        pairs: the run IDs of those whose step times can be compared.
        is_measured: whether `step_time` was measured by itself, rather than recorded during training.
        half_width: of the 95% interval of the logarithm of `step_time`: of several recorded pairs by their spread, of a
            measurement the spread of its blocks (of a mean of three medians of seven it is 0.8 of that); else None.
    """

    step_time: float | None = None
    parameters: float | None = None
    memory: float | None = None
    pairs: tuple[Sides, ...] = ()
    is_measured: bool = False
    half_width: float | None = None

    @property
    def is_steady(self) -> bool:
        """Whether `step_time` is known to about CLEAR: other load was the same."""
        return self.half_width is None or self.half_width <= math.log(CLEAR)

    @property
    def interval(self) -> Interval | None:
        """The 95% interval of `step_time`; None where it is of a single recorded pair or unknown."""
        if self.step_time is None or self.half_width is None:
            return None
        factor = math.exp(self.half_width)
        return self.step_time / factor, self.step_time * factor

    @property
    def is_clear(self) -> bool:
        """Whether it shows a difference: not where its interval includes none."""
        return self.step_time is not None and (self.interval is None or not has_one(self.interval))

    @property
    def is_single(self) -> bool:
        """Whether the step time is from the recorded speeds of one pair, which cannot disagree."""
        return self.step_time is not None and not self.is_measured and len(self.pairs) == 1


def cost_of(differences: Sequence[Difference], runs: Runs, *, is_screen: bool = False) -> Cost:
    """Return the cost of a change: as it was measured to about CLEAR, else from the speeds that its runs recorded.

    Args:
        differences: its pairs.
        runs: the results, with the columns costs, images_per_second and machine.
        is_screen: whether the pairs differ in other tricks as well, which only all of them together balance.
    """
    run_ids = runs.column("run_id")
    parameters = ratio_of([(pair.rows, pair.base_rows) for pair in differences], partial(runs.number, "parameters"))

    def sides(pairs: Sequence[Difference]) -> tuple[Sides, ...]:
        return tuple((ids(pair.rows), ids(pair.base_rows)) for pair in pairs)

    def ids(rows: Sequence[int]) -> tuple[Any, ...]:
        return tuple(run_ids[row] for row in rows)

    measured = measured_pairs(differences, runs.column("costs"), is_screen=is_screen)
    if measured:
        costs = [cost for _, cost in measured]
        memory = [cost.memory for cost in costs if cost.memory is not None]
        found = Cost(
            mean_ratio([cost.seconds for cost in costs]),
            parameters,
            mean_ratio(memory) if len(memory) == len(costs) else None,
            sides([pair for pair, _ in measured]),
            is_measured=True,
            half_width=combined_spread([[cost.spread for cost in costs]]),
        )
        if found.is_steady:
            return found

    def step_time(row: int) -> float | None:
        speed, images = runs.number("images_per_second", row), runs.number("batch_size", row)
        return (images or 1) / speed if speed else None

    machines = runs.column("machine")
    comparable = [
        pair
        for pair in differences
        if len(used := {machines[row] for row in (*pair.rows, *pair.base_rows)}) == 1 and None not in used
    ]
    if is_screen and (len(comparable) < len(differences) or len({machines[pair.rows[0]] for pair in comparable}) > 1):
        comparable = []
    logs = log_ratios([(pair.rows, pair.base_rows) for pair in comparable], step_time)
    groups = [pair.seed if is_screen else pair.cell for pair in comparable] if logs else []
    cost = Cost(
        mean_ratio(logs),
        parameters,
        pairs=sides(comparable if logs else ()),
        half_width=half_width_of(logs, groups, is_screen=is_screen),
    )
    return cost if cost.is_steady else replace(cost, step_time=None)


def measured_pairs(
    differences: Sequence[Difference], costs: Sequence[Any], *, is_screen: bool
) -> list[tuple[Difference, PairCost]]:
    """Return the pairs that were measured together, with their costs.

    Of a screen, all pairs of a seed or none.
    """
    found = [
        (pair, cost)
        for pair in differences
        if (cost := pair_cost(([costs[row] for row in pair.rows], [costs[row] for row in pair.base_rows]))) is not None
    ]
    if is_screen:
        every, known = (Counter(pair.seed for pair in pairs) for pairs in (differences, [pair for pair, _ in found]))
        found = [(pair, cost) for pair, cost in found if known[pair.seed] == every[pair.seed]]
    return found


def half_width_of(logs: Sequence[float], groups: Sequence[Hashable], *, is_screen: bool) -> float | None:
    """Return the half-width of the 95% interval of the mean of logarithms of ratios; None for a single one.

    Models may differ in what a change costs them, and pairs of a screen in other tricks. So the spread is that within
    models and other settings, in a screen that of the seeds' means.

    Args:
        logs: of pairs.
        groups: of each pair, its other settings, in a screen its seed.
    """
    members: dict[Hashable, list[float]] = {}
    for group, log in zip(groups, logs, strict=True):
        members.setdefault(group, []).append(log)
    if is_screen:
        members = {None: [fmean(found) for found in members.values()]}
    elif len(members) == len(logs):  # a single seed
        members = {None: list(logs)}
    number = sum(map(len, members.values()))
    freedom = number - len(members)
    if freedom < 1:
        return None
    squares = math.fsum((log - fmean(found)) ** 2 for found in members.values() for log in found)
    return float(stdtrit(freedom, 1 - LEVEL / 2)) * math.sqrt(squares / freedom / number)


def ratio_of(pairs: Sequence[Sides], value: Callable[[Any], float | None]) -> float | None:
    """Return the geometric mean over pairs of a positive number's ratio; None without pairs or where one lacks it."""
    return mean_ratio(log_ratios(pairs, value))


def mean_ratio(logs: Sequence[float]) -> float | None:
    return round(math.exp(fmean(logs)), DECIMALS) if logs else None


def log_ratios(pairs: Sequence[Sides], value: Callable[[Any], float | None]) -> list[float]:
    """Return the logarithm of a positive number's ratio in each pair; none where a run lacks the number.

    Args:
        pairs: the runs with the change and those without; several on a side count as their geometric mean.
        value: the number of a run.
    """
    logs: list[float] = []
    for pair in pairs:
        sides = [[value(run) for run in side] for side in pair]
        known = [[math.log(number) for number in side if number is not None and number > 0] for side in sides]
        if any(len(numbers) < len(side) or not side for numbers, side in zip(known, sides, strict=True)):
            return []
        logs.append(fmean(known[0]) - fmean(known[1]))
    return logs


def format_ratio(ratio: float | None, digits: int = 0, interval: Interval | None = None) -> str:
    """Format a ratio as a change: +4%, x12; ±4% where its interval has no change in it; `-` where it is not known."""
    if ratio is None:
        return "-"
    if interval is not None and has_one(interval):
        limit = math.ceil(round(100 * max(interval[1] - 1, 1 - interval[0]), DECIMALS))
        return f"±{limit}%" if limit else "0%"
    percent = round(100 * (ratio - 1), digits)
    return f"x{ratio:,.0f}" if ratio >= LARGE else f"{percent:+.{digits}f}%" if percent else "0%"


def has_one(interval: Interval) -> bool:
    """Return whether a ratio with this interval may be no change."""
    return interval[0] <= 1 <= interval[1]


def format_cost(cost: Cost | None) -> str:
    return "-" if cost is None else format_ratio(cost.step_time, interval=cost.interval)

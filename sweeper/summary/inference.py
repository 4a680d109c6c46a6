"""Statistics of pairs: mean difference, interval, p, and the result in words. A seed is one observation.

Pairs of one seed share their split and their order, and often most of their settings, so they are not independent: a
second axis without any effect would double their number and lower p. So the mean over each seed's pairs counts, and the
tests are over seeds, which may have different numbers of pairs (Ibragimov and Mueller, 2010).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from sweeper.summary.axes import format_override
from sweeper.summary.pairing import DECIMALS, Change, Difference

LEVEL = 0.05  # of the tests; the intervals cover 1 - LEVEL
MAX_MORE_SEEDS = 100  # beyond this no number of seeds is given


@dataclass(frozen=True)
class Metric:
    """A result by which runs are compared.

    Attributes:
        title: of its table.
        higher, lower: the effect of a value that has more of it, or less, than the baseline.
        more, less: the same of an interaction.
        digits: format of a mean difference.
    """

    title: str
    higher: str
    lower: str
    more: str
    less: str
    digits: str


EPOCHS = ("slower", "faster", "saves fewer epochs", "saves more epochs", "{:+.2f}")
METRICS = {
    "test_acc": Metric("test_acc", "helps", "hurts", "gains more", "gains less", "{:+.4f}"),
    "convergence_epoch": Metric("convergence_epoch, in epochs", *EPOCHS),
    "epochs_to_target": Metric("epochs_to_target, in epochs", *EPOCHS),
}


@dataclass(frozen=True)
class Comparison:
    """One change against the baseline, or two for their interaction, by one metric.

    Attributes:
        changes: one or two; of two, the difference of the first change's effects with and without the second.
        pairs: number of pairs of runs, or of quadruples.
        seeds: number of their seeds.
        mean: over the seeds, of value - baseline, a seed's being the mean over its pairs; None where a run is censored.
        spread: standard deviation between the seeds, with n - 1; None for one seed or where a run is censored.
        interval: of the mean, 1 - LEVEL, Student's t, for this comparison alone; None where `spread` is None or 0.
        higher, lower, tied: pairs in which the value has more of the metric, less, the same; in others it is unknown.
        sign_counts: seeds in which it has more, less, the same; where a run is censored, in most of the pairs.
        censored: runs that never reached their target.
        p: two-sided, of the paired t-test over seeds, or of the sign test where a run is censored or all seeds are
            identical; None with fewer than two seeds of known sign.
        corrected: p by Holm's method over all comparisons (or interactions) of the metric that have a p.
        more_seeds: about how many would make a difference significant that is not; above MAX_MORE_SEEDS: too many.
    """

    metric: str
    changes: tuple[Change, ...]
    pairs: int
    seeds: int
    mean: float | None
    spread: float | None
    interval: tuple[float, float] | None
    higher: int
    lower: int
    tied: int
    sign_counts: tuple[int, int, int]
    censored: int
    p: float | None
    corrected: float | None = None
    more_seeds: int | None = None

    @property
    def words(self) -> str:
        """The result as the end of a sentence."""
        if self.seeds == 1:
            return f"one {'pair' if self.pairs == 1 else 'seed'}: more seeds needed"
        if self.p is None:
            return (
                "only one seed with a known sign: more seeds needed" if any(self.sign_counts) else "no comparable pairs"
            )
        if self.corrected is not None and self.corrected < LEVEL:
            return self.direction()
        if self.higher == self.lower == 0:
            return "not significant: no difference in any pair"
        if self.more_seeds is None:
            return "not significant"
        needed = f">{MAX_MORE_SEEDS}" if self.more_seeds > MAX_MORE_SEEDS else f"~{self.more_seeds}"
        return f"not significant; {needed} more {'seed' if self.more_seeds == 1 else 'seeds'} needed"

    def direction(self) -> str:
        """Return what a significant change does."""
        metric = METRICS[self.metric]
        up = self.sign_counts[0] > self.sign_counts[1] if self.mean is None else self.mean > 0
        if len(self.changes) == 1:
            return metric.higher if up else metric.lower
        value, baseline = (format_override(side) for side in (self.changes[1].value, self.changes[1].baseline))
        return f"{metric.more if up else metric.less} with {value} than with {baseline}"


def compare(metric: str, changes: tuple[Change, ...], differences: Sequence[Difference]) -> Comparison:
    """Return the statistics of one comparison, its p not yet corrected."""
    seeds: dict[Any, list[Difference]] = {}
    for difference in differences:
        seeds.setdefault(difference.seed, []).append(difference)
    censored = len(frozenset[int]().union(*(difference.censored for difference in differences)))
    mean = spread = interval = p = None
    if censored:
        signs = [majority_sign(pairs) for pairs in seeds.values()]
    else:
        means = [round(fmean(pair.low for pair in pairs), DECIMALS) for pairs in seeds.values()]
        signs = [float(np.sign(mean)) for mean in means]
        mean, spread, interval, p = paired_t(means)
    sign_counts = (signs.count(1), signs.count(-1), signs.count(0))
    if p is None and sum(sign_counts) > 1:
        p = sign_test(*sign_counts[:2])
    return Comparison(
        metric,
        changes,
        pairs=len(differences),
        seeds=len(seeds),
        mean=mean,
        spread=spread,
        interval=interval,
        higher=sum(pair.low > 0 for pair in differences),
        lower=sum(pair.high < 0 for pair in differences),
        tied=sum(pair.low == pair.high == 0 for pair in differences),
        sign_counts=sign_counts,
        censored=censored,
        p=p,
    )


def majority_sign(pairs: Sequence[Difference]) -> float | None:
    """Return the sign of most of a seed's pairs: 1 for more than the baseline, -1 for less, 0; None where unknown."""
    known = [pair for pair in pairs if pair.low > 0 or pair.high < 0 or pair.low == pair.high == 0]
    return float(np.sign(sum((pair.low > 0) - (pair.high < 0) for pair in known))) if known else None


def paired_t(
    differences: Sequence[float],
) -> tuple[float, float | None, tuple[float, float] | None, float | None]:
    """Return mean, standard deviation, interval and two-sided p of differences; None for what needs a deviation."""
    number = len(differences)
    mean = fmean(differences)
    if number == 1:
        return mean, None, None, None
    if len(set(differences)) == 1:
        return differences[0], 0.0, None, None
    spread = float(np.std(differences, ddof=1))
    error = spread / math.sqrt(number)
    half = float(stdtrit(number - 1, 1 - LEVEL / 2)) * error
    return mean, spread, (mean - half, mean + half), float(2 * stdtr(number - 1, -abs(mean) / error))


def sign_test(higher: int, lower: int) -> float:
    """Return the exact two-sided p; ties are left out."""
    return min(1.0, float(2 * bdtr(min(higher, lower), higher + lower, 0.5))) if higher + lower else 1.0


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the family with its p values corrected, and with the seeds that insignificant comparisons need."""
    tested = [comparison.p for comparison in comparisons if comparison.p is not None]
    adjusted = iter(holm(tested))
    family = []
    for comparison in comparisons:
        p = None if comparison.p is None else next(adjusted)
        more = seeds_needed(comparison, LEVEL / len(tested)) if p is not None and p >= LEVEL else None
        family.append(replace(comparison, corrected=p, more_seeds=more))
    return family


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values for the family-wise error rate: the step-down method of Holm (1979)."""
    number = len(ps)
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(number)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((number - np.arange(number)) * np.array(ps)[order]))
    return [float(p) for p in adjusted]


def seeds_needed(comparison: Comparison, level: float) -> int:
    """Return about how many more seeds would bring p below a level, if mean and spread, or signs, stay as they are.

    Returns:
        At most MAX_MORE_SEEDS + 1, which stands for more.
    """
    numbers = comparison.seeds + np.arange(1, MAX_MORE_SEEDS + 1)
    if comparison.spread:
        p = 2 * stdtr(numbers - 1, -abs(comparison.mean or 0) / comparison.spread * np.sqrt(numbers))
    else:
        fewer, more = (np.round(numbers * count / comparison.seeds) for count in sorted(comparison.sign_counts[:2]))
        p = 2 * bdtr(fewer, (fewer + more).astype(int), 0.5)
    enough = np.flatnonzero(p < level)
    return int(enough[0]) + 1 if len(enough) else MAX_MORE_SEEDS + 1

"""What pairs of runs say: mean difference, interval, p and plain words. A seed is one observation.

Pairs of one seed share their split and their order, and often most of their settings, so they are no independent
witnesses: a second axis that changes nothing would make them twice as many and p far smaller. So the mean over each
seed's pairs counts, and the tests are over seeds; they may have unequally many pairs (Ibragimov and Mueller, 2010).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from sweeper.summary.axes import written
from sweeper.summary.pairing import DECIMALS, Change, Difference

LEVEL = 0.05  # of the tests; the intervals cover 1 - LEVEL
MANY = 100  # seeds beyond which no number is told


@dataclass(frozen=True)
class Measure:
    """A measure by which runs are compared.

    Attributes:
        title: of its table.
        higher, lower: what a value does that has more, or less, of it than the baseline.
        more, less: the same of an interaction.
        digits: format of a mean difference.
        reading: the setting that says how the measure was read off a curve; only runs read alike are compared.
    """

    title: str
    higher: str
    lower: str
    more: str
    less: str
    digits: str
    reading: str | None = None


EPOCHS = ("slower", "faster", "saves fewer epochs", "saves more epochs", "{:+.2f}")
JUDGED = {
    "test_acc": Measure("test_acc", "helps", "hurts", "gains more", "gains less", "{:+.4f}"),
    "convergence_epoch": Measure("convergence_epoch, in epochs", *EPOCHS, "convergence_fraction"),
    "epochs_to_target": Measure("epochs_to_target, in epochs", *EPOCHS, "target_acc"),
}


@dataclass(frozen=True)
class Comparison:
    """One change against the baseline, or two for their interaction, by one measure.

    Attributes:
        changes: one, or two; of two, the difference of the first one's effects with and without the second.
        pairs: pairs of runs, or quadruples.
        seeds: how many seeds they have.
        mean: over the seeds of value - baseline, a seed's being the mean over its pairs; None where a run is censored.
        spread: standard deviation between the seeds, with n - 1; None for one seed or where a run is censored.
        interval: of the mean, 1 - LEVEL, Student's t, for this comparison alone; None as `spread` and without one.
        higher, lower, tied: pairs in which the value has more of the measure, less, the same; in others it is unknown.
        votes: seeds in which it has more, less, the same; where a run is censored, in most of the pairs.
        censored: runs that never reached their target.
        p: two-sided, of the paired t-test over seeds, or of the sign test where a run is censored or all seeds agree to
            the last digit; None with fewer than two seeds of known order.
        corrected: p by Holm's method over all comparisons (or interactions) of the measure that have one.
        more_seeds: about how many would make a difference that is not significant so; above MANY: too many to tell.
    """

    measure: str
    changes: tuple[Change, ...]
    pairs: int
    seeds: int
    mean: float | None
    spread: float | None
    interval: tuple[float, float] | None
    higher: int
    lower: int
    tied: int
    votes: tuple[int, int, int]
    censored: int
    p: float | None
    corrected: float | None = None
    more_seeds: int | None = None

    @property
    def words(self) -> str:
        """The result as a sentence's end."""
        if self.seeds == 1:
            return f"one {'pair' if self.pairs == 1 else 'seed'}: needs more seeds"
        if self.p is None:
            return "one seed of known order: needs more seeds" if any(self.votes) else "in no pair is the order known"
        if self.corrected is not None and self.corrected < LEVEL:
            return self.direction()
        if self.higher == self.lower == 0:
            return "cannot be told apart: no difference in any pair"
        if self.more_seeds is None:
            return "cannot be told apart"
        needed = f"more than {MANY}" if self.more_seeds > MANY else f"about {self.more_seeds}"
        return f"cannot be told apart; {needed} more {'seed' if self.more_seeds == 1 else 'seeds'} would tell"

    def direction(self) -> str:
        """What the change does, taken for real."""
        measure = JUDGED[self.measure]
        up = self.votes[0] > self.votes[1] if self.mean is None else self.mean > 0
        if len(self.changes) == 1:
            return measure.higher if up else measure.lower
        other = self.changes[1]
        return f"{measure.more if up else measure.less} with {written(other.value)} than with {written(other.baseline)}"


def judge(measure: str, changes: tuple[Change, ...], differences: Sequence[Difference]) -> Comparison:
    """The statistics of one comparison, its p not yet corrected."""
    seeds: dict[Any, list[Difference]] = {}
    for one in differences:
        seeds.setdefault(one.seed, []).append(one)
    censored = len(frozenset[int]().union(*(one.censored for one in differences)))
    mean = spread = interval = p = None
    if censored:
        orders = [order(pairs) for pairs in seeds.values()]
    else:
        means = [round(fmean(one.low for one in pairs), DECIMALS) for pairs in seeds.values()]
        orders = [float(np.sign(mean)) for mean in means]
        mean, spread, interval, p = paired_t(means)
    votes = (orders.count(1), orders.count(-1), orders.count(0))
    if p is None and sum(votes) > 1:
        p = sign_test(*votes[:2])
    return Comparison(
        measure,
        changes,
        pairs=len(differences),
        seeds=len(seeds),
        mean=mean,
        spread=spread,
        interval=interval,
        higher=sum(one.low > 0 for one in differences),
        lower=sum(one.high < 0 for one in differences),
        tied=sum(one.low == one.high == 0 for one in differences),
        votes=votes,
        censored=censored,
        p=p,
    )


def order(pairs: Sequence[Difference]) -> float | None:
    """What most of a seed's pairs say: 1 for more than the baseline, -1 for less, 0; None where none is known."""
    signs = [(one.low > 0) - (one.high < 0) for one in pairs if one.low > 0 or one.high < 0 or one.low == one.high == 0]
    return float(np.sign(sum(signs))) if signs else None


def paired_t(
    differences: Sequence[float],
) -> tuple[float, float | None, tuple[float, float] | None, float | None]:
    """Mean, standard deviation, interval and two-sided p of differences; without a spread only what there is."""
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
    """Exact and two-sided; ties say nothing."""
    return min(1.0, float(2 * bdtr(min(higher, lower), higher + lower, 0.5))) if higher + lower else 1.0


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The family with its p values corrected, and the seeds that would tell what they do not."""
    tested = [one.p for one in comparisons if one.p is not None]
    adjusted = iter(holm(tested))
    done = []
    for one in comparisons:
        p = None if one.p is None else next(adjusted)
        more = seeds_to_tell(one, LEVEL / len(tested)) if p is not None and p >= LEVEL else None
        done.append(replace(one, corrected=p, more_seeds=more))
    return done


def holm(ps: Sequence[float]) -> list[float]:
    """p values for the family-wise error rate: the step-down method of Holm (1979)."""
    number = len(ps)
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(number)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((number - np.arange(number)) * np.array(ps)[order]))
    return [float(p) for p in adjusted]


def seeds_to_tell(one: Comparison, level: float) -> int:
    """About how many more seeds would make p smaller than a level, if mean and spread, or votes, stay as they are.

    Returns:
        At most MANY + 1, which stands for more.
    """
    numbers = one.seeds + np.arange(1, MANY + 1)
    if one.spread:
        p = 2 * stdtr(numbers - 1, -abs(one.mean or 0) / one.spread * np.sqrt(numbers))
    else:
        fewer, more = (np.round(numbers * vote / one.seeds) for vote in sorted(one.votes[:2]))
        p = 2 * bdtr(fewer, (fewer + more).astype(int), 0.5)
    enough = np.flatnonzero(p < level)
    return int(enough[0]) + 1 if len(enough) else MANY + 1

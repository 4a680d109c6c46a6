"""Simulate alternative methods of inference, next to those that effects uses.

python -m benchmarks.inference: half a minute, no training. benchmarks/effects.py simulates the real `effects`.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from benchmarks.markdown import print_table
from sweeper.summary.anytime import PRIOR
from sweeper.summary.intervals import holm, holm_levels, new_model_interval, rounding_floor, spread_of, t_test

TRIALS = 20_000
SIGMA = 0.008  # standard deviation of a run between seeds
Floats = NDArray[np.float64]


def covers(differences: Floats, truth: float | Floats, level: float = 0.05) -> float:
    """Return how often the t interval over seeds, the last axis, covers the truth."""
    seeds = differences.shape[-1]
    half = stdtrit(seeds - 1, 1 - level / 2) * differences.std(axis=-1, ddof=1) / math.sqrt(seeds)
    return float((np.abs(differences.mean(axis=-1) - truth) <= half).mean())


def advised(comparisons: int, first: int, more: int, most: int, trials: int = 5000) -> list[str]:
    """Return the false-positive rate of repeatedly adding the seeds that would make the largest effect significant.

    Args:
        comparisons: number in the table, all without effect.
        first: seeds at the first test.
        more: maximum number of seeds added after a test.
        most: maximum number of seeds in total.

    Returns:
        The rate in total, and that of the first test.
    """
    generator, claims, at_first = np.random.default_rng(0), 0, 0
    numbers = np.arange(2, most + 1)
    critical = np.append([math.inf] * 2, stdtrit(numbers - 1, 1 - 0.025 / comparisons) / np.sqrt(numbers))
    for _ in range(trials):
        values, seeds = generator.normal(size=(comparisons, most)), first
        while True:
            seen = values[:, :seeds]
            ratio = float((np.abs(seen.mean(axis=1)) / seen.std(axis=1, ddof=1)).max())
            if ratio > critical[seeds]:
                claims += 1
                at_first += seeds == first
                break
            enough = np.flatnonzero(critical[seeds + 1 : seeds + 1 + more] < ratio)
            if not len(enough):
                break
            seeds += 1 + int(enough[0])
    return [f"{claims / trials:.3f}", f"{at_first / trials:.3f}"]


def holm_adjusted(comparisons: int, real: int, seeds: int = 5, trials: int = 3000) -> list[str]:
    """Return the coverage of intervals at Holm-adjusted levels, each and simultaneously.

    Args:
        comparisons: number in the table.
        real: how many of these have an effect, of three standard deviations between seeds.
        seeds: number of seeds.
        trials: number of tables.

    Returns:
        Both coverages, and how often an uncorrected 95% interval of the table contradicts its p.
    """
    generator = np.random.default_rng(8)
    truths = np.where(np.arange(comparisons) < real, 3.0, 0.0)
    values = generator.normal(truths[:, None], 1, (trials, comparisons, seeds))
    means, spreads = values.mean(axis=2), values.std(axis=2, ddof=1)
    ps = 2 * stdtr(seeds - 1, -np.abs(means) / spreads * math.sqrt(seeds))
    levels = np.array([holm_levels(row, 0.05) for row in ps.tolist()])
    covered = np.abs(means - truths) <= stdtrit(seeds - 1, 1 - levels / 2) * spreads / math.sqrt(seeds)
    corrected = np.array([holm(row) for row in ps.tolist()])
    plain = (ps < 0.05) & (corrected >= 0.05)
    shares = (covered.mean(), covered.all(axis=1).mean(), plain.any(axis=1).mean())
    return [f"{share:.3f}" for share in shares]


def looks(effect: float, last: int, first: int = 3) -> list[str]:
    """Return how often an effect is significant by a t-test, and by --anytime, tested after every seed.

    Args:
        effect: in standard deviations between seeds.
        last: maximum number of seeds.
        first: seeds at the first t-test.
    """
    values = np.random.default_rng(1).normal(effect, 1, (TRIALS, last))
    number = np.arange(1, last + 1)
    means = values.cumsum(axis=1) / number
    squares = (values**2).cumsum(axis=1) - number * means**2
    degrees = number - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        ts = means * np.sqrt(number) / np.sqrt(squares / degrees)
        ratio = 1 + number * PRIOR
        logs = number / 2 * (np.log1p(ts**2 / degrees) - np.log1p(ts**2 / (degrees * ratio))) - np.log(ratio) / 2
    naive = np.abs(ts[:, first - 1 :]) > stdtrit(degrees[first - 1 :], 0.975)
    return [f"{found.any(axis=1).mean():.3f}" for found in (naive, logs[:, 1:] > math.log(20))]


def draw_grids(gain: float, seeds: int, step: float) -> tuple[Floats, Floats]:
    """Return test and validation accuracies (2, 4, TRIALS, seeds) of two values at four rates.

    Args:
        gain: of the second value, with both at their best rate: the second for the first value, the fourth for the
            second value.
        seeds: number of seeds.
        step: loss of accuracy per step away from the best rate.
    """
    generator = np.random.default_rng(2)
    distances = np.array([[1, 0, 1, 2], [3, 2, 1, 0]])
    means = 0.6 + gain * np.array([[0], [1]]) - step * distances
    test = means[:, :, None, None] + generator.normal(0, 0.0075, (2, 4, TRIALS, seeds))
    split = generator.normal(0, 0.0094, (TRIALS, seeds))
    return test, test + split + generator.normal(0, 0.005, test.shape)


def pick(test: Floats, chosen: NDArray[np.int64]) -> Floats:
    """Return the test accuracies (2, TRIALS, seeds) at the chosen rates (2, TRIALS, seeds)."""
    found: Floats = np.take_along_axis(test, chosen[:, None], axis=1)[:, 0]
    return found


def averaged(test: Floats, _val: Floats) -> Floats:
    found: Floats = test.mean(axis=1)
    return found


def one_rate(test: Floats, val: Floats) -> Floats:
    """Choose the rate with the highest mean validation accuracy, for all seeds, as --tune does."""
    best = val.mean(axis=-1).argmax(axis=1)
    return pick(test, np.broadcast_to(best[..., None], (2, *test.shape[2:])))


def own_rates(test: Floats, val: Floats) -> Floats:
    return pick(test, val.argmax(axis=1))


def other_seeds(test: Floats, val: Floats) -> Floats:
    """Choose, for each seed, the rate that is best for the other seeds."""
    return pick(test, (val.sum(axis=-1, keepdims=True) - val).argmax(axis=1))


ESTIMATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "averaged over the grid": averaged,
    "one rate for all seeds, as in `--tune`": one_rate,
    "a separate rate for each seed": own_rates,
    "for each seed, the best rate of the others": other_seeds,
}


def tuned(estimate: Callable[[Floats, Floats], Floats], seeds: int) -> list[str]:
    """Return the coverage of a tuned difference of 0 and of 0.01, and of 0 where all rates are equally good."""
    cells = []
    for gain, step in ((0.0, 0.02), (0.01, 0.02), (0.0, 0.0)):
        value = estimate(*draw_grids(gain, seeds, step))
        cells.append(f"{covers(value[1] - value[0], gain):.3f}")
    return cells


def unequal(estimate: Callable[[Floats, Floats], Floats], seeds: int) -> list[str]:
    """Return the bias of the best of four equal rates relative to a single one."""
    generator = np.random.default_rng(3)
    test = 0.6 + generator.normal(0, 0.0075, (2, 4, TRIALS, seeds))
    val = test + generator.normal(0, 0.0094, (TRIALS, seeds)) + generator.normal(0, 0.005, test.shape)
    return [f"{float((estimate(test, val)[1] - test[0, 0]).mean()):+z.4f}"]


def models(seeds: int, trials: int = 5000) -> list[str]:
    """Return the coverage of intervals over the seeds of four models, and of the prediction interval for a new model.

    The effects of models have a standard deviation of 0.014, runs one of SIGMA. The last two numbers are for seeds
    that also shift the effect of all models alike, by one of 0.02: from the models' means alone, and as in `effects`.
    """
    generator = np.random.default_rng(4)
    effects = generator.normal(0, 0.014, (trials, 5, 1))
    differences = effects[:, :4] + generator.normal(0, SIGMA * math.sqrt(2), (trials, 4, seeds))
    shifted = differences + generator.normal(0, 0.02, (trials, 1, seeds))
    of_seed, new = differences.mean(axis=1), effects[:, 4, 0]
    shares = [covers(of_seed, effects[:, :4, 0].mean(axis=1)), covers(of_seed, 0.0), covers(of_seed, new)]
    shares += [predicts(differences, new), predicts(shifted, new, with_seeds=False), predicts(shifted, new)]
    return [f"{share:.3f}" for share in shares]


def predicts(differences: Floats, new: Floats, *, with_seeds: bool = True) -> float:
    """Return how often the prediction interval covers the effect on a new model.

    Args:
        differences: (trials, models, seeds).
        new: (trials,).
        with_seeds: whether the interval over seeds widens it.
    """
    of_seed, seeds = differences.mean(axis=1), differences.shape[-1]
    halves = stdtrit(seeds - 1, 0.975) * of_seed.std(axis=1, ddof=1) / math.sqrt(seeds) * with_seeds
    by_model = zip(differences.mean(axis=2).tolist(), halves.tolist(), strict=True)
    ends = np.array([new_model_interval(means, 0.05, half) for means, half in by_model])
    return float(((ends[:, 0] <= new) & (new <= ends[:, 1])).mean())


def missing_models(complete: int, incomplete: int) -> list[str]:
    """Return the coverage over all seeds, and over the complete seeds; incomplete seeds have only one model of four.

    That model gains 0.03, the others nothing: the effect is the mean, 0.0075.
    """
    generator = np.random.default_rng(5)
    differences = generator.normal(0, SIGMA * math.sqrt(2), (TRIALS, 4, complete + incomplete))
    differences[:, 0] += 0.03
    whole = differences[..., :complete].mean(axis=1)
    every = np.concatenate([whole, differences[:, 0, complete:]], axis=1)
    return [f"{covers(every, 0.0075):.3f}", f"{covers(whole, 0.0075):.3f}"]


def best(seeds: int) -> list[str]:
    """Return how often the best of twelve configurations has the highest run, and the highest mean.

    The configurations have a standard deviation of 0.02, the validation splits of the seeds one of 0.0094.
    """
    generator = np.random.default_rng(6)
    truths = generator.normal(0, 0.02, (TRIALS, 12, 1))
    runs = truths + generator.normal(0, SIGMA, (TRIALS, 12, seeds)) + generator.normal(0, 0.0094, (TRIALS, 1, seeds))
    right = truths[..., 0].argmax(axis=1)
    return [f"{(found.argmax(axis=1) == right).mean():.3f}" for found in (runs.max(axis=2), runs.mean(axis=2))]


def ties(seeds: int, spread: float, pairs: int) -> list[str]:
    """Return the false-positive rate for results that are whole numbers, such as epochs, and how often all seeds agree.

    Args:
        seeds: number of seeds.
        spread: standard deviation of a run.
        pairs: number of pairs per seed.
    """
    generator = np.random.default_rng(7)
    runs = np.round(generator.normal(generator.uniform(5, 9, (TRIALS, 1, 1, 1)), spread, (TRIALS, 2, pairs, seeds)))
    means, floor = (runs[:, 1] - runs[:, 0]).mean(axis=1), rounding_floor(1, 2, pairs)
    ps = [t_test(float(np.mean(row)), spread_of(row, floor), seeds) for row in means.tolist()]
    equal = (means == means[:, :1]).all(axis=1)
    return [f"{np.mean([p is not None and p < 0.05 for p in ps]):.3f}", f"{equal.mean():.3f}"]


def print_tables() -> None:
    """Print all tables."""
    rows = ((1, 3, 5, 10), (1, 2, 10, 20), (5, 3, 5, 10), (5, 3, 10, 20), (5, 3, 25, 50), (5, 2, 100, 200))
    print_table(
        "Adding the seeds that would make the largest effect significant, without any true effect",
        ["comparisons", "seeds at first", "added at most", "total at most", "false-positive rate", "at the first test"],
        [[*map(str, row), *advised(*row)] for row in rows],
    )
    print_table(
        "Coverage of intervals at Holm-adjusted levels, five seeds; uncorrected intervals may contradict p",
        ["comparisons", "with an effect", "coverage of each", "simultaneous", "uncorrected 95% interval contradicts p"],
        [
            [str(number), str(real), *holm_adjusted(number, real)]
            for number, real in ((1, 0), (5, 0), (5, 2), (5, 5), (12, 0), (12, 6))
        ],
    )
    cases = [(0.0, last) for last in (5, 10, 20, 50, 100)] + [(1.0, 10), (1.0, 20), (2.0, 5), (2.0, 6), (2.0, 8)]
    print_table(
        "Significant when tested after every seed from the third on",
        ["effect, in sd between seeds", "maximum seeds", "t-test", "`--anytime`"],
        [[f"{effect:g}", str(last), *looks(effect, last)] for effect, last in cases],
    )
    print_table(
        "Coverage for the difference at the best of four learning rates, which differs between the sides; five seeds",
        ["estimate", "coverage, no effect", "effect 0.01", "no effect, all rates equal"],
        [[name, *tuned(estimate, 5)] for name, estimate in ESTIMATORS.items()],
    )
    print_table(
        "Bias of the best of four equal learning rates relative to a single one",
        ["estimate", "3 seeds", "5 seeds"],
        [[name, *unequal(ESTIMATORS[name], 3), *unequal(ESTIMATORS[name], 5)] for name in list(ESTIMATORS)[1:3]],
    )
    print_table(
        "Coverage of the interval over seeds of four models, and of the prediction interval for a new model",
        [
            *("seeds", "mean of these models", "mean of all such models", "a new model", "its prediction interval"),
            *("seeds that shift all models: from models alone", "as in `effects`"),
        ],
        [[str(seeds), *models(seeds)] for seeds in (3, 5, 10)],
    )
    print_table(
        "Coverage if some seeds have only one model of four",
        ["complete seeds", "others", "all seeds", "only complete seeds, as in `effects`"],
        [[str(whole), str(others), *missing_models(whole, others)] for whole, others in ((3, 5), (5, 5))],
    )
    print_table(
        "How often the best of twelve configurations is found",
        ["seeds", "by the highest run", "by the highest mean, as in `--best`"],
        [[str(seeds), *best(seeds)] for seeds in (3, 5)],
    )
    print_table(
        "False-positive rate for whole numbers, with the spread of rounding as minimum",
        ["seeds", "sd of a run", "pairs per seed", "false-positive rate", "all seeds agree"],
        [
            [str(seeds), f"{spread:g}", str(pairs), *ties(seeds, spread, pairs)]
            for seeds in (2, 3, 5)
            for spread, pairs in ((0.3, 1), (1.0, 1), (0.3, 4))
        ],
    )


if __name__ == "__main__":
    print_tables()

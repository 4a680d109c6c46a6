"""Simulate the false-positive rate of effects and the coverage of their intervals; no training.

python -m benchmarks.effects: five minutes. benchmarks/inference.py simulates methods that effects does not use.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from benchmarks.markdown import print_table
from sweeper.summary.columns import RESULTS
from sweeper.summary.effects import Effects, effects
from sweeper.summary.inference import Comparison
from sweeper.summary.intervals import rounding_floor, spread_of, t_interval, t_test
from sweeper.summary.other_images import image_variance, widen
from sweeper.summary.planning import detectable
from sweeper.summary.study import Method
from sweeper.summary.verdicts import verdict
from sweeper.sweep.precision import PILOT, half_width, seeds_for, seeds_to_add

SWEEPS = 2000
MODELS, NOISE, IMAGES = ("cnn", "cnn_pool", "mlp", "mlp_deep"), 0.008, 10_000
PAGE = ("any of these tables", "an uncorrected 95% interval of test_acc contradicts its p")
Rng = np.random.Generator


def frame_of(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return finished runs on one dataset, as `sweeper.summary.gather.gather` returns them."""
    same = {"data": "cifar10", "state": "finished", "test_images": IMAGES, "val_images": 5000}
    made = [{"run_id": f"run-{index:05}", **same, **row} for index, row in enumerate(rows)]
    settings = dict.fromkeys(name for row in made for name in row if name not in RESULTS)
    return pd.DataFrame(made, columns=[*settings, *RESULTS])


def null_sweep(generator: Rng, seeds: int) -> Effects:
    """Return the effects of a sweep without true effects: 4 models x 2 activations x 2 norms, with curves."""
    of_seed = generator.normal(0, 0.005, seeds)
    rows = []
    for model, activation, norm, seed in product(MODELS, ("relu", "selu"), ("none", "batch"), range(seeds)):
        curve = 0.6 - 0.3 * np.exp(-np.arange(8) / 2) + of_seed[seed] + generator.normal(0, NOISE, 8)
        acc = 0.6 + of_seed[seed] + generator.normal(0, NOISE)
        rows.append(
            {"model": model, "activation": activation, "norm": norm, "seed": seed, "epochs": 8}
            | {"test_acc": round(acc * IMAGES) / IMAGES, "val_curve": " ".join(map(repr, curve.tolist()))}
        )
    return effects(frame_of(rows), {"model": "cnn", "activation": "relu", "norm": "none"}, defaults={})


def claims(sweeps: int, seeds: int) -> dict[str, float]:
    """Return the fraction of null sweeps with a false positive, for each table and for the page."""
    generator, found, single = np.random.default_rng(seeds), [], []
    for _ in range(sweeps):
        result = null_sweep(generator, seeds)
        claimed = {f"{one.metric}{' (interactions)' * (len(one.changes) > 1)}" for one in significant(result)}
        found.append(claimed)
        single.append({one.metric for one in result.comparisons if excludes_0(one.interval) and not one.is_significant})
    names = sorted(set().union(*found), key=lambda name: (not name.startswith("test_acc"), name))
    shares = {name: float(np.mean([name in one for one in found])) for name in names}
    of_page = (np.mean([*map(bool, found)]), np.mean(["test_acc" in one for one in single]))
    return shares | dict(zip(PAGE, map(float, of_page), strict=True))


def excludes_0(interval: tuple[float, float] | None) -> bool:
    return interval is not None and not interval[0] <= 0 <= interval[1]


def significant(result: Effects) -> list[Comparison]:
    return [one for one in (*result.comparisons, *result.interactions) if one.is_significant]


def coverage(trials: int, make: Callable[[Rng], tuple[Effects, float]]) -> float:
    """Return how often the 95% interval of the only comparison by test_acc covers the truth."""
    generator, covered = np.random.default_rng(1), 0
    for _ in range(trials):
        result, truth = make(generator)
        (one,) = [one for one in result.comparisons if one.metric == "test_acc" and one.changes[0].axis != "model"]
        low, high = one.interval or (-np.inf, np.inf)
        covered += low <= truth <= high
    return covered / trials


def tuned(generator: Rng, gain: float) -> tuple[Effects, float]:
    """Return a comparison over grids of four learning rates that peak at different rates."""
    rows = []
    for name, peak, level in (("relu", 1, 0.6), ("selu", 2, 0.6 + gain)):
        for index, lr in enumerate((0.003, 0.01, 0.03, 0.1)):
            for seed in range(5):
                acc = level - 0.02 * abs(index - peak) + generator.normal(0, 0.0075)
                val = acc + generator.normal(0, 0.005)
                rows.append(
                    {"activation": name, "optimizer.lr": lr, "seed": seed, "test_acc": acc, "best_val_acc": val}
                )
    return effects(frame_of(rows), {"activation": "relu"}, method=Method(tuned=["optimizer.lr"]), defaults={}), gain


def partial(generator: Rng, complete: int, incomplete: int) -> tuple[Effects, float]:
    """Return a comparison whose last seeds have the first model only, which is the only one with an effect."""
    rows = []
    for seed, model, norm in product(range(complete + incomplete), MODELS, ("none", "batch")):
        if seed < complete or model == "cnn":
            acc = 0.6 + 0.03 * (norm == "batch" and model == "cnn") + generator.normal(0, NOISE)
            rows.append({"model": model, "norm": norm, "seed": seed, "test_acc": acc})
    return effects(frame_of(rows), {"model": "cnn", "norm": "none"}, defaults={}), 0.03 / 4


def one_is_hurt(trials: int, seeds: int) -> tuple[float, float]:
    """Return how often a change that helps three models and hurts one is significant, and how often it is `helps`."""
    generator, gains = np.random.default_rng(6), dict(zip(MODELS, (0.02, 0.02, 0.02, -0.012), strict=True))
    claimed, plain = 0, 0
    for _ in range(trials):
        rows = [
            {"model": model, "norm": norm, "seed": seed}
            | {"test_acc": 0.6 + gains[model] * (norm == "batch") + generator.normal(0, NOISE)}
            for model, norm, seed in product(MODELS, ("none", "batch"), range(seeds))
        ]
        result = effects(frame_of(rows), {"model": "cnn", "norm": "none"}, defaults={})
        (one,) = [one for one in result.comparisons if one.changes[0].axis == "norm"]
        claimed += one.is_significant
        plain += verdict(one) == "helps"
    return claimed / trials, plain / trials


def precise(sweeps: int, precision: float) -> tuple[float, float, float]:
    """Return the false-positive rates of effects and of a t-test, and the mean seeds, of sweeps with sweep.precision.

    The sweeps have one model, 2 activations x 2 norms without any effect; the rates are for test_acc.
    """
    generator, claimed, by_t, number = np.random.default_rng(7), 0, 0, 0
    cells = list(product((0, 1), (0, 1)))
    for _ in range(sweeps):
        accs, seeds = 0.6 + generator.normal(0, NOISE, (200, 2, 2)), PILOT
        means = [accs.mean(axis=3 - axis) for axis in (1, 2)]
        differences = [found[:, 1] - found[:, 0] for found in means]
        while (spread := max(float(found[:seeds].std(ddof=1)) for found in differences)) and (
            half_width(spread, seeds) > precision
        ):
            seeds += seeds_to_add(seeds, seeds_for(spread, precision, more_than=seeds))
        rows = [
            {"activation": ("relu", "selu")[one], "norm": ("none", "batch")[other], "seed": seed}
            | {"test_acc": float(accs[seed, one, other])}
            for (one, other), seed in product(cells, range(seeds))
        ]
        for method in (Method(measures=["test_acc"], precision=precision), Method(measures=["test_acc"])):
            result = effects(frame_of(rows), {"activation": "relu", "norm": "none"}, defaults={}, method=method)
            wrong = any(one.is_significant for one in result.comparisons)
            claimed, by_t = (claimed + wrong, by_t) if method.precision else (claimed, by_t + wrong)
        number += seeds
    return claimed / sweeps, by_t / sweeps, number / sweeps


def other_images(trials: int, seeds: int, shared: float) -> tuple[float, float]:
    """Return how often the interval over seeds covers the effect on all images, and how often the one for others.

    A change without effect on 300 of these images: with every seed it gets a fraction of them right and as many wrong,
    and with single seeds another twentieth each.
    """
    generator, covered = np.random.default_rng(5), [0, 0]
    for _ in range(trials):
        always = generator.choice([1.0, -1.0, 0.0], (300, 1), p=[shared, shared, 1 - 2 * shared])
        differences = np.where(
            always == 0, generator.choice([1.0, -1.0, 0.0], (300, seeds), p=[0.05, 0.05, 0.9]), always
        )
        means = differences.mean(axis=0)
        interval = t_interval(float(means.mean()), float(means.std(ddof=1)), seeds, 0.05)
        if interval is not None:
            for index, (low, high) in enumerate((interval, widen(interval, image_variance(differences), 0.05))):
                covered[index] += low <= 0 <= high
    return covered[0] / trials, covered[1] / trials


def epochs(trials: int, shift: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    """Return how often a changed curve counts as faster and as slower, five seeds of twelve epochs.

    Returns:
        At a level that both runs of a pair reach, then at 99% of each run's own best, which effects does not compare.
    """
    generator, time_of = np.random.default_rng(3), np.arange(12)
    counts = {"faster": 0, "slower": 0, "own faster": 0, "own slower": 0}
    for _ in range(trials):
        rows, own = [], []
        for seed, changed in product(range(5), (False, True)):
            curve = 0.6 - 0.3 * np.exp(-time_of / 3) + generator.normal(0, 0.004, 12)
            curve = shift(curve) if changed else curve
            own.append((1 if changed else -1) * int((curve >= 0.99 * curve.max()).argmax()))
            rows.append(
                {"norm": "batch" if changed else "none", "seed": seed, "epochs": 12}
                | {"val_curve": " ".join(map(repr, curve.tolist()))}
            )
        result = effects(frame_of(rows), {"norm": "none"}, defaults={})
        (one,) = [one for one in result.comparisons if one.metric == "epochs_to_level"]
        if one.is_significant:
            counts["faster" if one.mean < 0 else "slower"] += 1
        means = np.reshape(own, (5, 2)).sum(axis=1).tolist()
        p = t_test(float(np.mean(means)), spread_of(means, rounding_floor(1, 2, 1)), 5)
        if p is not None and p < 0.05:
            counts["own faster" if np.mean(means) < 0 else "own slower"] += 1
    return tuple(count / trials for count in counts.values())


def power(trials: int, seeds: int, comparisons: int) -> tuple[float, float]:
    """Return how often the detectable difference is significant at the first level of Holm's method; and planned width.

    The second number is how often the seeds planned from a pilot of this size give at most 1.25 times the planned
    half-width.
    """
    generator, level = np.random.default_rng(4), 0.05 / comparisons
    values = generator.normal(detectable(seeds, level), 1, (trials, seeds))
    ts = values.mean(axis=1) / values.std(axis=1, ddof=1) * np.sqrt(seeds)
    spreads = np.sqrt((generator.normal(0, 1, (trials // 10, 2, seeds)).var(axis=2, ddof=1)).mean(axis=1))
    within = []
    for spread in spreads:
        number = seeds_for(float(spread), 0.5, level=0.05)
        half = stdtrit(number - 1, 0.975) * generator.normal(0, 1, number).std(ddof=1) / np.sqrt(number)
        within.append(half <= 0.5 * 1.25)
    return float((np.abs(ts) > stdtrit(seeds - 1, 1 - level / 2)).mean()), float(np.mean(within))


def print_tables() -> None:
    """Print all tables."""
    with ProcessPoolExecutor() as pool:
        found = dict(zip((3, 5), pool.map(claims, (SWEEPS, SWEEPS), (3, 5)), strict=True))
    names = sorted(set().union(*found.values()), key=lambda name: (name in PAGE, not name.startswith("test_acc"), name))
    rows: list[list[Any]] = [[name, *(float(found[seeds].get(name, 0.0)) for seeds in found)] for name in names]
    title = f"False-positive rate per table; 4 models, 2 activations, 2 norms without any effect, {SWEEPS:,} sweeps"
    print_table(title, ["table", "3 seeds", "5 seeds"], rows)
    claimed, by_t, number = precise(SWEEPS, 0.005)
    title = f"The same for test_acc with sweep.precision=0.005; 2 activations, 2 norms, {SWEEPS:,} sweeps"
    print_table(title, ["`effects`", "t-test", "mean seeds"], [[claimed, by_t, f"{number:.1f}"]])
    rows = [[seeds, *one_is_hurt(SWEEPS // 10, seeds)] for seeds in (3, 5, 10)]
    title = f"A change that gains 0.02 with three models and loses 0.012 with one; {SWEEPS // 10} sweeps"
    print_table(title, ["seeds", "significant", "result `helps`, without `on average`"], rows)
    rows = [["`--tune`, no effect", coverage(SWEEPS // 4, lambda generator: tuned(generator, 0.0))]]
    rows += [["`--tune`, effect 0.01", coverage(SWEEPS // 4, lambda generator: tuned(generator, 0.01))]]
    rows += [["3 complete seeds, 5 with one model of four", coverage(SWEEPS // 4, lambda rng: partial(rng, 3, 5))]]
    rows += [["5 complete seeds, 5 with one model of four", coverage(SWEEPS // 4, lambda rng: partial(rng, 5, 5))]]
    print_table(f"Coverage of 95% intervals; {SWEEPS // 4} sweeps", ["interval", "coverage"], rows)
    rows = [[seeds, share, *other_images(SWEEPS, seeds, share)] for seeds in (3, 5, 10) for share in (0.0, 0.02, 0.05)]
    headers = ["seeds", "images always gained, and lost", "interval over seeds", "for other test images"]
    print_table(f"Coverage of 95% intervals, 300 redrawn test images; {SWEEPS:,} draws", headers, rows)
    shifts: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "identical curves": lambda curve: curve,
        "better at every epoch, still rising": lambda curve: curve + 0.02 + 0.004 * np.arange(12),
        "better at every epoch, same shape": lambda curve: curve + 0.03,
        "worse at every epoch, then overfits": lambda curve: curve - 0.03 - 0.01 * np.maximum(0, np.arange(12) - 6),
    }
    rows = [[name, *epochs(SWEEPS // 10, shift)] for name, shift in shifts.items()]
    headers = ["truth", "common level: faster", "slower", "99% of its own best: faster", "slower"]
    print_table(f"Significant differences in epochs, five seeds; {SWEEPS // 10} sweeps", headers, rows)
    rows = [[seeds, number, *power(100_000, seeds, number)] for seeds in (3, 5, 10) for number in (1, 5)]
    headers = ["seeds", "comparisons", "power at the detectable difference", "width within 1.25 x planned"]
    print_table("The plan in the caption; 100,000 and 10,000 draws", headers, rows)


if __name__ == "__main__":
    print_tables()

"""The rule of sweep.precision: its numbers, and that its intervals cover."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.designs import stein_seeds
from sweeper.sweep.precision import LEVEL, PILOT, half_width, rounding_of, seeds_for, seeds_to_add, spread_of

DIFFERENCES = (0.012, 0.004, 0.010, 0.006, 0.009, 0.005, 0.011, 0.007)


@pytest.mark.parametrize(("seeds", "width"), [(4, 0.007113), (5, 0.004710)])
def test_the_half_width_after_so_many_seeds(seeds: int, width: float) -> None:
    assert half_width(spread_of(DIFFERENCES[:seeds]), seeds) == pytest.approx(width, abs=5e-7)


@pytest.mark.parametrize(("seeds", "quantile"), [(4, 3.896046), (5, 3.297630)])
def test_the_quantile_of_the_half_width(seeds: int, quantile: float) -> None:
    assert half_width(math.sqrt(seeds), seeds) == pytest.approx(quantile, abs=5e-7)
    assert half_width(math.sqrt(seeds), seeds) == pytest.approx(stats.t.ppf(1 - LEVEL / 2, seeds - 1))


def test_half_of_the_missing_seeds_are_run_next() -> None:
    spread = spread_of(DIFFERENCES[:4])
    assert spread == pytest.approx(0.003651, abs=5e-7)
    needed = seeds_for(spread, 0.005, more_than=4)
    assert (needed, seeds_to_add(4, needed)) == (6, 1)
    assert [seeds_to_add(4, needed) for needed in (5, 7, 8, 26)] == [1, 1, 2, 11]


@pytest.mark.parametrize(("precision", "seeds"), [(0.01, 4), (0.005, 7)])
def test_the_seeds_of_a_plan(precision: float, seeds: int) -> None:
    pooled = math.sqrt((0.004**2 + 0.006**2) / 2)
    assert pooled == pytest.approx(0.00509902)
    assert seeds_for(pooled, precision, level=0.05) == seeds


@pytest.mark.parametrize("spread", [1e-9, 0.3, 1.0, 5.0, 40.0])
def test_the_least_number_of_seeds_is_found(spread: float) -> None:
    enough = (seeds for seeds in range(2, 20_000) if half_width(spread, seeds) <= 1)
    assert seeds_for(spread, 1.0) == next(enough)
    assert seeds_for(spread, 1.0, more_than=10_000) == 10_001


def test_more_seeds_than_the_limit_are_not_computed() -> None:
    assert seeds_for(1.0, 1e-6) == 100_000


def test_equal_differences_are_known_only_up_to_rounding() -> None:
    assert rounding_of(1 / 10_000, 1) == pytest.approx(0.00004082, abs=5e-9)
    assert rounding_of(1, 4) == pytest.approx(math.sqrt(2 / 12 / 4))
    assert spread_of([0.01] * 5, 0.25) == 0.25
    assert spread_of([0.0, 1.0], 0.25) == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(("precision", "seeds"), [(0.005, 5), (0.003, 9), (0.002, 20)])
def test_the_seeds_of_steins_rule(precision: float, seeds: int) -> None:
    pilot = np.array(DIFFERENCES[:5])
    assert np.std(pilot, ddof=1) == pytest.approx(0.00319374, abs=5e-9)
    assert stein_seeds(pilot, precision) == seeds


def coverage(level: float, pilot: int, precision: float, sweeps: int = 600) -> float:
    """The share of sweeps whose mean is within the precision of the true effect 0, seeds being of spread 1."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(sweeps):
        draws = generator.normal(size=400).tolist()
        seeds = pilot
        while half_width(spread := spread_of(draws[:seeds]), seeds, level) > precision:
            seeds += seeds_to_add(seeds, seeds_for(spread, precision, level=level, more_than=seeds))
        covered += abs(sum(draws[:seeds]) / seeds) <= precision
    return covered / sweeps


def test_the_interval_covers_where_a_naive_one_does_not() -> None:
    assert coverage(LEVEL, PILOT, 1 / 2.26) > 0.95
    assert coverage(0.05, 3, 1 / 2.26) < 0.945

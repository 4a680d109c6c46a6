"""Intervals, Holm's correction and planning: closed forms, scipy's own, and the numbers of the specification."""

import math

import numpy as np
import pytest
from scipy import stats

from sweeper.summary.anytime import anytime_p, confidence_sequence, e_value
from sweeper.summary.intervals import (
    holm,
    holm_levels,
    new_model_interval,
    rounding_floor,
    spread_of,
    t_interval,
    t_test,
    within,
)
from sweeper.summary.planning import detectable, pooled_spread
from sweeper.sweep.precision import MOST, seeds_for

EFFECTS = [0.012, 0.004, 0.010, 0.006, 0.009, 0.005, 0.011, 0.007]


def test_holm_steps_down_stays_monotone_and_ends_at_one() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, and no less than the one before: 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6, 1.0]) == [1, 1, 1]
    assert holm([0.03]) == [0.03] and holm([]) == []


@pytest.mark.parametrize(
    ("ps", "levels"),
    [
        ([0.005, 0.03, 0.04, 0.01], [0.0125, 0.025, 0.025, 0.05 / 3]),
        ([0.001, 0.002, 0.003], [0.05 / 3, 0.025, 0.05]),
        ([0.5, 0.03], [0.025, 0.025]),
        ([], []),
    ],
)
def test_each_p_has_the_level_at_which_holm_judged_it(ps: list[float], levels: list[float]) -> None:
    assert holm_levels(ps, 0.05) == pytest.approx(levels)


def test_an_interval_at_holms_level_excludes_0_exactly_where_p_is_significant() -> None:
    samples = np.random.default_rng(5).normal(0.8, 1, (400, 5, 6))
    for table, ps in zip(samples, stats.ttest_1samp(samples, 0, axis=2).pvalue.tolist(), strict=True):
        for values, corrected, level in zip(table, holm(ps), holm_levels(ps, 0.05), strict=True):
            low, high = t_interval(values.mean(), values.std(ddof=1), 6, level) or (0, 0)
            assert (not low <= 0 <= high) == (corrected < 0.05)


def test_holm_keeps_the_family_wise_error() -> None:
    values = np.random.default_rng(1).normal(0, 1, (1000, 6, 8))
    families = [[t_test(float(one.mean()), spread_of(one.tolist(), None), 8) or 0.0 for one in six] for six in values]
    wrong = sum(min(holm(family)) < 0.05 for family in families)
    # 1 - (1 - 0.05 / 6)^6 = 4.9% of 1000: 49, standard deviation 6.8, three of them to either side; 265 uncorrected.
    assert 28 <= wrong <= 70
    assert sum(min(family) < 0.05 for family in families) > 200


def test_rounding_alone_gives_seeds_that_agree_a_spread() -> None:
    floor = rounding_floor(1 / 10_000, 2, 1)
    assert floor == pytest.approx(0.00004082, abs=5e-9) and spread_of([0.01] * 5, floor) == floor
    low, high = t_interval(0.01, floor, 5, 0.05) or (0, 0)
    assert (high - low) / 2 == pytest.approx(0.00005069, abs=5e-9)
    floor = rounding_floor(1, 2, 1)
    assert floor == pytest.approx(0.408248, abs=5e-7) and t_test(-2, floor, 3) == pytest.approx(0.013606, abs=5e-7)
    low, high = t_interval(-2, floor, 3, 0.05) or (0, 0)
    assert (low, high) == pytest.approx((-2 - 1.0141, -2 + 1.0141), abs=5e-5)
    assert rounding_floor(1, 4, 3) == pytest.approx(math.sqrt(4 / 12 / 3)) and rounding_floor(None, 2, 1) is None


def test_rounding_has_the_variance_of_its_floor() -> None:
    generator = np.random.default_rng(0)
    exact = generator.uniform(0, 100, (40_000, 4, 2))
    errors = (np.round(exact) - exact)[..., 0] - (np.round(exact) - exact)[..., 1]
    assert errors.mean(axis=1).std() == pytest.approx(rounding_floor(1, 2, 4), rel=0.02)


def test_a_new_model_has_the_prediction_interval() -> None:
    low, high = new_model_interval([0.02, 0.015, 0.02, -0.012], 0.05) or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.01075) and (high - low) / 2 == pytest.approx(0.05461204, abs=5e-9)
    assert new_model_interval([0.1, 0.2], 0.05) is None
    low, high = new_model_interval([0.02, 0.015, 0.02, -0.012], 0.05, 0.03) or (0, 0)
    assert (high - low) / 2 == pytest.approx((0.05461204**2 + 0.03**2) ** 0.5, abs=5e-9)
    assert new_model_interval([0.1] * 3, 0.05, 0.02) == pytest.approx((0.08, 0.12))


# Planning.


@pytest.mark.parametrize(
    ("seeds", "differences"),
    {
        2: (11.6, 57.7, 138),
        3: (3.26, 7.32, 11.3),
        4: (2.13, 3.72, 5.00),
        5: (1.68, 2.63, 3.31),
        6: (1.43, 2.11, 2.56),
        8: (1.16, 1.60, 1.86),
        10: (1.00, 1.33, 1.53),
    }.items(),
)
def test_the_difference_that_seeds_can_detect(seeds: int, differences: tuple[float, ...]) -> None:
    for level, expected in zip((0.05, 0.01, 0.05 / 12), differences, strict=True):
        assert detectable(seeds, level) == pytest.approx(expected, rel=0.006)


def test_the_detectable_difference_is_detected_with_80_percent_power() -> None:
    difference = detectable(5, 0.05)
    critical = stats.t.ppf(0.975, 4)
    power = stats.nct.sf(critical, 4, difference * 5**0.5) + stats.nct.cdf(-critical, 4, difference * 5**0.5)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_the_seeds_of_a_half_width_do_not_depend_on_the_effect() -> None:
    spread = pooled_spread([0.004, 0.006])
    assert spread == pytest.approx(0.00509902, abs=5e-9)
    assert (seeds_for(spread, 0.01, level=0.05), seeds_for(spread, 0.005, level=0.05)) == (4, 7)
    for half_width in (0.0003, 0.001, 0.02, 1):
        seeds = seeds_for(spread, half_width, level=0.05)
        widths = [stats.t.ppf(0.975, number - 1) * spread / number**0.5 for number in (seeds, max(seeds - 1, 2))]
        assert widths[0] <= half_width and (seeds == 2 or widths[1] > half_width)
    assert seeds_for(1.0, 1e-9, level=0.05) == MOST


# Looks after every seed.


def test_evidence_is_that_of_the_specification() -> None:
    assert (e_value([1, 2, 3]), anytime_p([1, 2, 3])) == pytest.approx((2.907100, 0.343985), abs=1e-6)
    assert confidence_sequence([1, 2, 3], 0.05) is None
    for number, evidence, p, ends in (
        (4, 7.009792, 0.142658, (-0.005171, 0.021171)),
        (5, 24.756592, 0.040393, (0.000548, 0.015852)),
        (8, 573.047672, 0.001745, (0.003649, 0.012351)),
    ):
        assert e_value(EFFECTS[:number]) == pytest.approx(evidence, abs=1e-6)
        assert anytime_p(EFFECTS[:number]) == pytest.approx(p, abs=1e-6)
        assert confidence_sequence(EFFECTS[:number], 0.05) == pytest.approx(ends, abs=1e-6)


def test_evidence_is_the_ratio_of_the_likelihoods_of_t() -> None:
    # Of a normal prior of variance 4 on mean / sd and the right Haar prior, the Bayes factor is that of t's densities:
    # under the prior t is Student's, scaled by sqrt(1 + 4 n).
    for number in (2, 5, 8):
        values = EFFECTS[:number]
        t, scale = np.mean(values) / stats.sem(values), math.sqrt(1 + 4 * number)
        expected = stats.t.pdf(t, number - 1, scale=scale) / stats.t.pdf(t, number - 1)
        assert e_value(values) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize(("number", "critical"), [(4, 7.21), (5, 5.36), (6, 4.73), (8, 4.20), (10, 3.97), (20, 3.63)])
def test_the_critical_t_of_a_confidence_sequence(number: int, critical: float) -> None:
    values = np.random.default_rng(number).normal(0.3, 1, number)
    low, high = confidence_sequence(values.tolist(), 0.05) or (0, 0)
    assert (high - low) / 2 / stats.sem(values) == pytest.approx(critical, abs=0.005)
    edge = (values - values.mean() + critical * stats.sem(values)).tolist()  # t is the critical t
    assert e_value(edge) == pytest.approx(20, rel=0.02)


def test_a_test_after_every_seed_keeps_the_error_rate() -> None:
    values = np.random.default_rng(0).normal(0, 1, (2000, 20))
    number = np.arange(1, 21)
    means = values.cumsum(axis=1) / number
    spreads = np.sqrt(((values**2).cumsum(axis=1) - number * means**2)[:, 1:] / number[:-1])
    ts = means[:, 1:] * np.sqrt(number[1:]) / spreads
    naive = (np.abs(ts) > stats.t.ppf(0.975, number[:-1])).any(axis=1).mean()
    wrong = np.mean([(anytime_p(list(run)) or 0) < 0.05 for run in values[:300].tolist()])
    assert naive > 0.2 and wrong < 0.05


@pytest.mark.parametrize("means", [EFFECTS, [*EFFECTS, -0.1], [0.03, 0.031, 0.029, 0.03, *[-0.02] * 8], [0.1, -0.1]])
def test_an_anytime_interval_excludes_0_exactly_where_p_is_significant(means: list[float]) -> None:
    p = anytime_p(means)
    assert p is not None
    for level in (0.001, 0.01, 0.05, 0.2):
        interval = confidence_sequence(means, level)
        assert (interval is not None and not interval[0] <= 0 <= interval[1]) == (p < level)


def test_p_is_the_inverse_of_the_evidence_and_needs_two_seeds() -> None:
    assert anytime_p([*EFFECTS, -0.1]) == 1 > e_value([*EFFECTS, -0.1])
    assert anytime_p([1.0]) is None and anytime_p([1.0, 1.0]) == 1 and confidence_sequence([1.0], 0.05) is None
    assert anytime_p([1.0] * 5, floor=1e-6) == pytest.approx(1 / 21**2)  # the highest evidence that five seeds can give


def test_an_interval_ends_where_no_larger_difference_is_possible() -> None:
    assert within((-8.2, 7.0), 1.0) == (-1.0, 1.0) and within((-0.2, 3.0), 2.0) == (-0.2, 2.0)
    assert within((-8.2, 7.0), None) == (-8.2, 7.0) and within(None, 1.0) is None

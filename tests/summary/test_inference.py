"""The statistics of a comparison: a seed is one observation."""

import math

import numpy as np
import pytest
from paired import found, of_axis, runs, table
from scipy import stats

from sweeper.summary.inference import compare
from sweeper.summary.intervals import holm
from sweeper.summary.pairing import Change, Difference
from sweeper.summary.sentences import sentence
from sweeper.summary.verdicts import verdict


def test_mean_interval_and_p_of_three_pairs() -> None:
    (one,) = found(table(*runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, 6]}))).comparisons
    # Differences 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt 3, so t = 2 sqrt 3 with 2 degrees.
    # Of Student's t with 2 degrees: p = 1 - t / sqrt(2 + t^2) = 1 - 2 sqrt 3 / sqrt 14; 97.5% lie below 4.302653.
    assert (one.metric, one.pairs, one.seeds, one.mean, one.spread) == ("test_acc", 3, 3, 2, 1)
    assert one.p == pytest.approx(1 - 2 * math.sqrt(3 / 14)) and one.corrected == one.p
    assert one.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    assert (one.higher, one.lower, one.tied) == (3, 0, 0) and one.family == one.interval


def test_p_is_scipys_of_the_paired_test() -> None:
    generator = np.random.default_rng(1)
    relu, selu = generator.normal(0.6, 0.1, (2, 7))
    frame = table(*runs("activation", {"selu": list(selu), "relu": list(relu)}))
    (one,) = found(frame.sample(frac=1, random_state=1), {"activation": "relu"}).comparisons
    expected = stats.ttest_rel(selu, relu)
    low, high = expected.confidence_interval(0.95)
    assert one.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert one.interval == pytest.approx((low, high), rel=1e-6)


def test_the_correction_is_over_a_metrics_comparisons() -> None:
    measured = {"relu": [0, 0, 0, 0], "selu": [5, 6, 7, 9], "tanh": [-1, 1, 2, 3], "gelu": [1, 1, 2, 4], "silu": [9]}
    frame = table(*runs("activation", measured))
    frame["epochs_to_target"] = 20 + 2 * frame["test_acc"] + frame["seed"]
    comparisons = found(frame, {"activation": "relu"}).comparisons
    for measure in ("test_acc", "epochs_to_target"):
        family = [one for one in comparisons if one.metric == measure]
        assert [one.changes[0].value for one in family] == ["gelu", "selu", "silu", "tanh"]
        tested = [one.p for one in family if one.p is not None]
        assert len(tested) == 3 and len(set(tested)) > 1  # silu has one pair and no test
        assert [one.corrected for one in family if one.p is not None] == holm(tested)
        for one in family:
            low, high = one.family or (0, 0)
            assert (not low <= 0 <= high) == one.is_significant
            assert one.interval is None or (low <= one.interval[0] and one.interval[1] <= high)
    assert comparisons[2].corrected is None and verdict(comparisons[2]) == "one pair: more seeds needed"


@pytest.mark.parametrize(
    ("measure", "words"), [("test_acc", ("helps", "hurts")), ("epochs_to_target", ("slower", "faster"))]
)
def test_words_say_what_is_significant(measure: str, words: tuple[str, str]) -> None:
    base = [10, 20, 30, 40]
    for sign, word in zip((1, -1), words, strict=True):
        other = [value + sign * gain for value, gain in zip(base, (5, 6, 5, 6), strict=True)]
        (one,) = found(table(*runs("activation", {"relu": base, "selu": other}, measure))).comparisons
        assert one.p is not None and one.p < 0.05 and verdict(one) == word
    # Differences 1, -1, 1, 0: mean 0.25, standard deviation 0.957, t = 0.52 with 3 degrees.
    (one,) = found(table(*runs("activation", {"relu": base, "selu": [11, 19, 31, 40]}, measure))).comparisons
    assert one.p is not None and one.p > 0.6 and verdict(one) == "not significant"


def test_seeds_that_agree_exactly_are_hardly_more_significant_than_seeds_that_almost_agree() -> None:
    # 0.4 - 0.3, 0.5 - 0.4 and 0.8 - 0.7 differ in floating point, by 1e-16. A t-test without a spread would be sure.
    accs = {"relu": [0.3, 0.4, 0.7, 0.2, 0.1], "selu": [0.31, 0.41, 0.71, 0.21, 0.11]}
    (one,) = found(table(*runs("activation", accs, test_images=10_000))).comparisons
    assert one.mean == 0.01 and one.spread == pytest.approx(0.00004082, abs=5e-9) and verdict(one) == "helps"
    low, high = one.interval or (0, 0)
    assert (high - low) / 2 == pytest.approx(0.00005069, abs=5e-9)
    (one,) = found(table(*runs("activation", accs))).comparisons  # the number of test images is not known
    assert (one.spread, one.interval, one.p) == (0, None, None)
    assert verdict(one) == "the same in every seed: no spread to test against"
    (one,) = found(table(*runs("activation", {"relu": [7] * 3, "selu": [5] * 3}, "epochs_to_target"))).comparisons
    assert one.mean == -2 and one.p == pytest.approx(0.013606, abs=5e-7) and verdict(one) == "faster"
    assert one.interval == pytest.approx((-2 - 1.0141, -2 + 1.0141), abs=5e-5)


def test_no_difference_in_any_pair_is_no_effect() -> None:
    for images in (None, 10_000):
        accs = {"relu": [0.3, 0.4], "selu": [0.3, 0.4]}
        (one,) = found(table(*runs("activation", accs, test_images=images))).comparisons
        assert (one.mean, one.p, one.tied) == (0, 1, 2)
        assert verdict(one) == "not significant: no difference in any pair"


def test_seeds_added_after_looking_have_an_anytime_valid_p() -> None:
    gains = [0.012, 0.004, 0.010, 0.006, 0.009, 0.005, 0.011, 0.007]
    frame = table(*runs("activation", {"relu": [0.5] * 8, "selu": [0.5 + gain for gain in gains]}))
    for number, p, ends in ((4, 0.142658, (-0.005171, 0.021171)), (8, 0.001745, (0.003649, 0.012351))):
        (one,) = found(frame[frame["seed"] < number].sample(frac=1, random_state=0), is_anytime=True).comparisons
        assert one.p == pytest.approx(p, abs=1e-6) and one.family == pytest.approx(ends, abs=1e-6)
        assert verdict(one) == ("helps" if number == 8 else "not significant")
    (one,) = found(frame[frame["seed"] < 3], is_anytime=True).comparisons
    assert one.p is not None and one.p > 0.1 and one.interval is None  # three seeds can say nothing
    few = "too few seeds for an interval that stays valid when seeds are added"
    assert verdict(one) == f"not significant: {few}"
    assert sentence(one) == f"activation=selu: no clear difference: +0.9 points; {few} (3 seeds)"


def test_a_number_of_seeds_chosen_by_a_precision_has_no_p() -> None:
    gains = [0.012, 0.004, 0.010, 0.006, 0.009, 0.005, 0.011, 0.007]
    frame = table(*runs("activation", {"relu": [0.5] * 8, "selu": [0.5 + gain for gain in gains]}))
    (one,) = found(frame[frame["seed"] < 5], precision=0.005).comparisons
    assert one.mean == pytest.approx(0.0082) and one.p is None and one.corrected is None and verdict(one) == "helps"
    assert one.interval == one.family == pytest.approx((0.0032, 0.0132))
    (one,) = found(frame[frame["seed"] < 4], precision=0.005).comparisons
    assert one.interval == pytest.approx((0.008 - 0.007113, 0.008 + 0.007113), abs=5e-7)
    assert verdict(one) == "helps; precision not reached"
    (one,) = found(frame[frame["seed"] < 5], precision=0.009).comparisons
    assert verdict(one) == "not significant" and one.interval == pytest.approx((-0.0008, 0.0172))


def test_other_comparisons_of_a_sweep_with_a_precision_have_a_p() -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 3, None], "selu": [2, 4, 6, None]}, epochs_to_target=3))
    frame.loc[7, "state"] = "diverged"
    frame.loc[3, "test_acc"] = 4
    first, *others = found(frame, precision=9.0).comparisons
    assert first.p is None and first.interval is None and not first.is_significant  # it adds no seeds
    assert verdict(first) == "no interval, since sweep.precision adds no seeds for it; diverged: 1 of 4 vs. 0 of 4"
    for one in others:
        assert one.p is not None and one.precision is None
    (one, _) = found(frame[frame["seed"] < 3], precision=9.0, is_anytime=True).comparisons
    assert one.p is not None and one.precision is None


def test_a_second_axis_without_effect_lowers_no_p() -> None:
    accs = {"relu": [0.50, 0.60, 0.55], "selu": [0.51, 0.62, 0.58]}
    (alone,) = found(table(*runs("activation", accs))).comparisons
    copies = table(*(run for decay in (0, 1, 2, 3) for run in runs("activation", accs, weight_decay=decay)))
    one = of_axis(found(copies), "activation")
    assert (one.pairs, one.seeds) == (12, 3) and (alone.pairs, alone.seeds) == (3, 3)
    assert (one.mean, one.spread, one.interval, one.p) == (alone.mean, alone.spread, alone.interval, alone.p)
    assert one.p is not None and one.p > 0.05 > stats.ttest_1samp([0.01, 0.02, 0.03] * 4, 0).pvalue


def test_a_seed_is_the_mean_of_its_pairs() -> None:
    frame = table(
        *runs("activation", {"relu": [0, 0, 0], "selu": [1, 2, 3]}, model="mlp"),
        *runs("activation", {"relu": [0, 0, 0], "selu": [5, 4, 3]}, model="cnn"),
    )
    one = of_axis(found(frame), "activation")
    assert (one.pairs, one.means, one.mean, one.spread, one.higher) == (6, (3, 3, 3), 3, 0, 6)


def test_one_seed_is_not_tested_however_many_pairs_it_has() -> None:
    frame = table(*(run for n in range(9) for run in runs("activation", {"relu": [0], "selu": [n]}, batch_size=n)))
    one = of_axis(found(frame), "activation")
    assert (one.pairs, one.seeds, one.mean, one.interval, one.p) == (9, 1, 4, None, None)
    assert verdict(one) == "one seed: more seeds needed"


# Statistical sanity.


def test_pairs_that_share_a_seed_keep_the_error_rate_and_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(2)
    wrong = naive = covered = 0
    for _ in range(1000):
        of_seed = generator.normal(0, 1, 5)
        pairs = (of_seed + generator.normal(0, 0.5, (4, 5))).tolist()  # of four models
        differences = [
            Difference(value, seed, (model,)) for model, values in enumerate(pairs) for seed, value in enumerate(values)
        ]
        one = compare("test_acc", (Change("activation", "selu", "relu"),), differences, names=["model"])
        assert one.p is not None and one.interval is not None
        wrong += one.p < 0.05
        covered += one.interval[0] <= 0 <= one.interval[1]
        naive += stats.ttest_1samp(np.ravel(pairs), 0).pvalue < 0.05
    assert 30 <= wrong <= 70 and naive > 300  # binomial, 1000 trials of 0.05: 50, standard deviation 6.9
    assert covered == 1000 - wrong


def test_epochs_that_agree_by_chance_are_no_effect() -> None:
    frame = table(*runs("activation", {"relu": [5, 5], "selu": [4, 4]}, "epochs_to_target"))
    (one,) = found(frame).comparisons  # two of nine pairs of -1, 0, 1 agree: with p = 0 they would be effects
    assert one.p is not None and one.p > 0.05

"""Effects: pairs of runs that differ in one setting alone, and what their differences say."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from processes import REPOSITORY, environment
from records import finish
from rich.console import Console
from scipy import stats

from sweeper.errors import UserError
from sweeper.summary.axes import config_defaults
from sweeper.summary.columns import RESULTS
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effects import Effects, effects
from sweeper.summary.effects_text import FORMATS, as_json, as_table, caption, print_effects, show_effects, to_frame
from sweeper.summary.gather import Skipped
from sweeper.summary.inference import Comparison, compare, holm, paired_t, seeds_needed
from sweeper.summary.output import write_output
from sweeper.summary.pairing import Change, Difference

SOFTMAX: dict[str, Any] = {"model": "softmax", "activation": None, "norm": None}


def table(*runs: dict[str, Any]) -> pd.DataFrame:
    """Return a frame as gather does: finished runs of relu, seed 0, on one dataset, with these changes."""
    usual = {"data": "digits", "data.fingerprint": "f00d", "model": "mlp", "activation": "relu", "seed": 0}
    rows = [
        {"run_id": f"run-{index:04}", **usual, "state": "finished", **{key.replace("__", "."): run[key] for key in run}}
        for index, run in enumerate(runs)
    ]
    settings = dict.fromkeys(name for row in rows for name in row if name not in RESULTS)
    return pd.DataFrame(rows, columns=[*settings, *RESULTS])


def runs(
    setting: str, accs: Mapping[Any, Sequence[Any]], measure: str = "test_acc", **same: Any
) -> list[dict[str, Any]]:
    """Return, for each value of a setting, runs of seeds 0, 1, ... with these results."""
    return [
        {setting: value, "seed": seed, measure: acc, **same}
        for value, measured in accs.items()
        for seed, acc in enumerate(measured)
    ]


def found(frame: pd.DataFrame, baseline: dict[str, Any] | None = None) -> Effects:
    return effects(frame, baseline, defaults={})


def changes(comparisons: list[Comparison], metric: str = "test_acc") -> dict[str, tuple[float | None, int]]:
    """Return mean and pairs of each comparison of a metric, under `axis=value<baseline`."""
    return {
        " ".join(f"{change.axis}={change.value}<{change.baseline}" for change in comparison.changes): (
            comparison.mean,
            comparison.pairs,
        )
        for comparison in comparisons
        if comparison.metric == metric
    }


# Statistics.


def test_mean_interval_and_p_of_three_pairs() -> None:
    (one,) = found(table(*runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, 6]}))).comparisons
    # Differences 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt 3, so t = 2 sqrt 3 with 2 degrees.
    # Of Student's t with 2 degrees: p = 1 - t / sqrt(2 + t^2) = 1 - 2 sqrt 3 / sqrt 14; 97.5 % lie below 4.302653.
    assert (one.metric, one.pairs, one.seeds, one.mean, one.spread) == ("test_acc", 3, 3, 2, 1)
    assert one.p == pytest.approx(1 - 2 * math.sqrt(3 / 14)) and one.corrected == one.p
    assert one.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    assert (one.higher, one.lower, one.tied, one.censored) == (3, 0, 0, 0)


def test_p_is_scipys_of_the_paired_test() -> None:
    generator = np.random.default_rng(1)
    relu, selu = generator.normal(0.6, 0.1, (2, 7))
    frame = table(*runs("activation", {"selu": list(selu), "relu": list(relu)}))
    (one,) = found(frame.sample(frac=1, random_state=1), {"activation": "relu"}).comparisons
    expected = stats.ttest_rel(selu, relu)
    low, high = expected.confidence_interval(0.95)
    assert one.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert one.interval == pytest.approx((low, high), rel=1e-6)


def test_holm_steps_down_stays_monotone_and_ends_at_one() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1: 0.02 0.03 0.06 0.04, and no less than the one before: 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6, 1.0]) == [1, 1, 1]
    assert holm([0.03]) == [0.03] and holm([]) == []


def test_the_correction_is_over_a_metrics_comparisons() -> None:
    measured = {"relu": [0, 0, 0, 0], "selu": [5, 6, 7, 9], "tanh": [-1, 1, 2, 3], "gelu": [1, 1, 2, 4], "silu": [9]}
    frame = table(*runs("activation", measured))
    frame["convergence_epoch"] = 2 * frame["test_acc"] + frame["seed"]
    comparisons = found(frame, {"activation": "relu"}).comparisons
    for measure in ("test_acc", "convergence_epoch"):
        family = [one for one in comparisons if one.metric == measure]
        assert [one.changes[0].value for one in family] == ["gelu", "selu", "silu", "tanh"]
        tested = [one.p for one in family if one.p is not None]
        assert len(tested) == 3 and len(set(tested)) > 1  # silu has one pair and no test
        assert [one.corrected for one in family if one.p is not None] == holm(tested)
        (unsure,) = [one for one in family if one.changes[0].value == "tanh"]
        assert unsure.more_seeds == seeds_needed(unsure, 0.05 / 3) != seeds_needed(unsure, 0.05)
    assert comparisons[2].corrected is None and comparisons[2].words == "one pair: more seeds needed"


@pytest.mark.parametrize(
    "measure, words", [("test_acc", ("helps", "hurts")), ("convergence_epoch", ("slower", "faster"))]
)
def test_words_say_what_is_significant(measure: str, words: tuple[str, str]) -> None:
    base = [10, 20, 30, 40]
    for sign, word in zip((1, -1), words, strict=True):
        other = [value + sign * gain for value, gain in zip(base, (5, 6, 5, 6), strict=True)]
        (one,) = found(table(*runs("activation", {"relu": base, "selu": other}, measure))).comparisons
        assert one.p is not None and one.p < 0.05 and one.words == word and one.more_seeds is None
    # Differences 1, -1, 1, 0: mean 0.25, standard deviation 0.957, t = 0.52 with 3 degrees.
    (one,) = found(table(*runs("activation", {"relu": base, "selu": [11, 19, 31, 40]}, measure))).comparisons
    assert one.p is not None and one.p > 0.6
    assert re.fullmatch(r"not significant; ~\d+ more seeds needed", one.words)


def test_equal_differences_have_no_spread_so_that_their_signs_count() -> None:
    # 0.4 - 0.3, 0.5 - 0.4 and 0.8 - 0.7 differ in floating point, by 1e-16. A t-test without a spread would be sure.
    (one,) = found(table(*runs("activation", {"relu": [0.3, 0.4, 0.7], "selu": [0.4, 0.5, 0.8]}))).comparisons
    assert (one.mean, one.spread, one.interval, one.p) == (0.1, 0, None, 2 / 2**3)
    assert one.words == "not significant; ~3 more seeds needed"  # 2 / 2^6 is the first below 0.05
    (one,) = found(table(*runs("activation", {"relu": [7] * 6, "selu": [6] * 6}, "convergence_epoch"))).comparisons
    assert (one.mean, one.interval, one.p, one.words) == (-1, None, 2 / 2**6, "faster")
    (one,) = found(table(*runs("activation", {"relu": [0.3, 0.4], "selu": [0.3, 0.4]}))).comparisons
    assert (one.mean, one.spread, one.interval, one.p, one.tied) == (0, 0, None, 1, 2)
    assert one.words == "not significant: no difference in any pair"


@pytest.mark.parametrize("differences", [[1, -1, 1, 0], [1.0, 2.0, 3.0], [-5, -1, -1, -1, -2, 1], [3, 3.5]])
def test_the_number_of_seeds_needed_is_the_smallest(differences: list[float]) -> None:
    frame = table(*runs("activation", {"relu": [0.0] * len(differences), "selu": differences}))
    (one,) = found(frame).comparisons
    mean, number = np.mean(differences), len(differences)
    spread = np.std(differences, ddof=1)
    more = seeds_needed(one, 0.01)

    def p(pairs: int) -> float:
        return float(2 * stats.t.sf(abs(mean) / spread * math.sqrt(pairs), pairs - 1))

    assert p(number + more) < 0.01 <= p(number + more - 1)


def test_more_than_a_hundred_seeds_are_not_counted() -> None:
    for selu in ([1.0, -1.0], [1.0, -0.99], [1.23, -0.77]):  # the last needs (1.96 x 1.41 / 0.23)^2 = 145 pairs
        (one,) = found(table(*runs("activation", {"relu": [0.0, 0.0], "selu": selu}))).comparisons
        assert one.words == "not significant; >100 more seeds needed"
        assert one.more_seeds == 101


def test_a_second_axis_without_effect_lowers_no_p() -> None:
    accs = {"relu": [0.50, 0.60, 0.55], "selu": [0.51, 0.62, 0.58]}
    (alone,) = found(table(*runs("activation", accs))).comparisons
    copies = table(*(run for decay in (0, 1, 2, 3) for run in runs("activation", accs, weight_decay=decay)))
    one = next(one for one in found(copies).comparisons if one.changes[0].axis == "activation")
    assert (one.pairs, one.seeds) == (12, 3) and (alone.pairs, alone.seeds) == (3, 3)
    assert (one.mean, one.spread, one.interval, one.p) == (alone.mean, alone.spread, alone.interval, alone.p)
    assert one.p is not None and one.p > 0.05 > stats.ttest_1samp([0.01, 0.02, 0.03] * 4, 0).pvalue


def test_a_seed_is_the_mean_of_its_pairs() -> None:
    frame = table(
        *runs("activation", {"relu": [0, 0, 0], "selu": [1, 2, 3]}, model="mlp"),
        *runs("activation", {"relu": [0, 0], "selu": [5, 4]}, model="cnn"),  # seed 2 is missing
    )
    one = next(one for one in found(frame).comparisons if one.changes[0].axis == "activation")
    # Seeds: (1 + 5) / 2, (2 + 4) / 2, 3.
    assert (one.pairs, one.seeds, one.mean, one.spread, one.sign_counts) == (5, 3, 3, 0, (3, 0, 0))


def test_one_seed_is_not_tested_however_many_pairs_it_has() -> None:
    frame = table(*(run for n in range(9) for run in runs("activation", {"relu": [0], "selu": [n]}, batch_size=n)))
    one = next(one for one in found(frame).comparisons if one.changes[0].axis == "activation")
    assert (one.pairs, one.seeds, one.mean, one.interval, one.p) == (9, 1, 4, None, None)
    assert one.words == "one seed: more seeds needed"


# Pairing.


def test_unmatched_and_unfinished_runs_are_left_out() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2, 100], "selu": [3, 5]}),  # relu's seed 2 has no partner
        {"activation": "selu", "seed": 2, "test_acc": 7, "state": "failed"},
        {"activation": "selu", "seed": 3, "test_acc": 7, "state": "running"},
        {"activation": "selu", "seed": 4, "state": "running"},
        {"activation": "tanh", "seed": 0, "test_acc": 9, "batch_size": 32},  # and differs in more than activation
    )
    result = effects(frame, defaults={}, skipped=Skipped(unreadable=["foreign"]))
    assert changes(result.comparisons) == {"activation=selu<relu": (2.5, 2)}  # (3 - 1 + 5 - 2) / 2
    assert (result.runs, result.left_out) == (6, {"failed": 1, "running": 2, "unreadable": 1})
    assert "6 finished runs; 4 left out: 1 failed, 2 running, 1 unreadable" in as_table(result)
    note = "activation=tanh has no matching pair: the nearest runs of activation=relu differ in batch_size as well"
    assert note in result.notes


def test_pairs_agree_in_everything_else_and_in_the_seed() -> None:
    frame = table(
        *({"activation": name, "seed": seed, "epochs": 3, "test_acc": 1} for name, seed in (("relu", 0), ("selu", 1))),
        *(
            {"activation": name, "seed": 5, "epochs": epochs, "test_acc": 1}
            for name, epochs in (("relu", 3), ("selu", 4))
        ),
    )
    result = found(frame)
    assert result.comparisons == []
    assert result.nothing is not None and "activation=selu has no matching pair" in result.nothing
    # Nearest: relu and selu of epochs 3, whose seeds are 0 and 1.
    assert "the nearest runs of activation=relu differ in seed as well" in result.nothing
    # Of epochs 3, one differs from selu's of 4 in seed as well and one in activation; the first counts.
    assert "the nearest runs of epochs=3 differ in seed as well" in result.nothing


def test_a_choice_is_compared_with_its_own_settings() -> None:
    mlp, cnn = {"model": "mlp", "model__hidden": "[1024]"}, {"model": "cnn", "model__channels": "[16]"}
    frame = table(
        *(
            {**run, "seed": seed, "test_acc": seed * run["factor"]}
            for seed in (1, 2)
            for run in (mlp | {"factor": 2}, cnn | {"factor": 5})
        )
    )
    frame = frame.drop(columns="factor")
    result = found(frame, {"model": "mlp"})
    assert result.baseline == {"model": "mlp"}
    assert changes(result.comparisons) == {"model=cnn<mlp": (4.5, 2)}  # (5 - 2 + 10 - 4) / 2


def test_a_setting_that_varies_within_a_choice_is_an_axis() -> None:
    sizes = {"[64]": [1.0, 2.0], "[512]": [4.0, 6.0]}
    frame = table(*runs("model__hidden", sizes), *runs("model", {"cnn": [10.0, 20.0, 30.0]}))
    result = found(frame, {"model": "mlp", "model.hidden": "[64]"})
    assert changes(result.comparisons) == {
        "model=cnn<mlp": (11.75, 2),  # two mlp a seed are one observation: (10 - (1 + 4) / 2 + 20 - (2 + 6) / 2) / 2
        "model.hidden=[512]<[64]": (3.5, 2),  # (4 - 1 + 6 - 2) / 2
    }
    assert found(frame).baseline["model.hidden"] == "[512]"  # as text the smaller one; not cnn's null, though 3 have it


def test_a_learning_rate_is_compared_within_its_optimizer() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2], 0.01: [3, 5]}, optimizer="sgd", optimizer__momentum=0.9),
        *runs("optimizer__lr", {0.1: [10, 11], 0.01: [20, 20]}, optimizer="adam"),
    )
    result = found(frame, {"optimizer": "sgd", "optimizer.lr": 0.1})
    assert changes(result.comparisons) == {
        "optimizer=adam<sgd": (12.5, 2),  # seeds: (10 + 20 - 1 - 3) / 2 = 13, (11 + 20 - 2 - 5) / 2 = 12
        "optimizer.lr=0.01<0.1": (6, 4),  # 2, 3, 10, 9
    }
    assert changes(result.interactions) == {"optimizer=adam<sgd optimizer.lr=0.01<0.1": (7, 2)}  # 10 - 2, 9 - 3


def test_runs_of_different_datasets_are_never_paired() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2]}, data__fingerprint="a", data__mean="[0.5]"),
        *runs("activation", {"relu": [5, 5], "selu": [7, 8]}, data__fingerprint="b", data__mean="[0.4]"),
    )
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (2.5, 2)}
    assert list(result.baseline) == ["activation"]  # data.mean follows from the dataset
    only_other = frame[(frame["data.fingerprint"] == "a") | (frame["activation"] == "selu")]
    assert "differ in data as well" in (found(only_other).nothing or "")


def test_a_dataset_is_the_same_whoever_reads_it() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2]}, data="cifar10"),
        *runs("activation", {"selu": [4, 4]}, data="image_folder"),
    )
    assert changes(found(frame).comparisons) == {"activation=selu<relu": (2.5, 2)}


def test_a_rate_of_dropout_is_compared_with_none() -> None:
    frame = table(*runs("dropout__rate", {0.0: [1, 2], 0.5: [2, 4]}), *runs("model", {"softmax": [1, 2]}))
    frame = frame[frame["model"] == "mlp"]
    assert changes(found(frame).comparisons) == {"dropout.rate=0.5<0.0": (1.5, 2)}
    assert changes(found(frame, {"dropout.rate": "0.5"}).comparisons) == {"dropout.rate=0.0<0.5": (-1.5, 2)}
    assert effects(frame).baseline == {"dropout.rate": 0}  # the baseline run's dropout=none


def test_a_model_without_a_slot_counts_as_having_the_baseline_in_it() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2], "selu": [10, 20]}, norm="none"),
        *runs("model", {"softmax": [5, 8]}, activation=None, norm=None),
    )
    result = found(frame, {"model": "softmax", "activation": "relu"})
    assert changes(result.comparisons) == {"activation=selu<relu": (13.5, 2), "model=mlp<softmax": (-5, 2)}
    other = found(frame, {"model": "softmax", "activation": "selu"})
    assert changes(other.comparisons) == {"activation=relu<selu": (-13.5, 2), "model=mlp<softmax": (8.5, 2)}
    assert result.interactions == []  # softmax has no selu
    without = frame[(frame["model"] == "softmax") | (frame["seed"] == 0)]
    assert found(without).baseline["activation"] == "relu"  # not null, though most have that


def test_a_model_without_a_slot_has_pairs_despite_the_slots_settings() -> None:
    leaky = {"activation": "leaky_relu"}
    frame = table(
        *runs("activation__negative_slope", {0.01: [1, 1], 0.1: [2, 2]}, **leaky), {**SOFTMAX, "seed": 1, "test_acc": 4}
    )
    baseline = {"model": "mlp", "activation.negative_slope": 0.1}
    assert changes(found(frame, baseline).comparisons) == {
        "activation.negative_slope=0.01<0.1": (-1, 2),
        "model=softmax<mlp": (2, 1),
    }


def test_a_setting_that_is_null_is_a_value() -> None:
    frame = table(*runs("grad_clip", {None: [1, 2], 1.0: [3, 5]}))
    result = found(frame)
    assert changes(result.comparisons) == {"grad_clip=1.0<None": (2.5, 2)} and result.baseline == {"grad_clip": None}
    assert changes(found(frame, {"grad_clip": "1"}).comparisons) == {"grad_clip=None<1.0": (-2.5, 2)}
    assert "grad_clip=1 │ null " in as_table(result)


@pytest.mark.parametrize("missing", [None, math.nan, "", "text", math.inf])
def test_a_run_without_a_result_is_left_out_of_its_comparisons(missing: Any) -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, missing]}, convergence_epoch=1))
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)}
    assert changes(result.comparisons, "convergence_epoch") == {"activation=selu<relu": (0, 3)}
    assert "1 finished run without test_acc" in result.notes


def code(**groups: str) -> str:
    return json.dumps({"core": "c0", "optimizer": "adam", **groups}, sort_keys=True)


def test_runs_of_different_code_are_not_paired() -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 5], "selu": [2, 4, 9]}))
    versions = ("now", "old", "older", "now", "old", "old")  # relu and selu of seed 2 are stale in two ways
    frame["code"] = [code(core=version) for version in versions]
    frame["stale"] = [version != "now" for version in versions]
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)}
    assert "4 of the finished runs are stale; pairs agree in all code but the compared choice" in result.notes
    sentences = found(frame[frame["seed"] == 2]).nothing or ""
    assert "the nearest runs of activation=relu differ in code of core as well" in sentences
    assert sentences.endswith(". Rerun the sweep to retrain stale runs.") and "train.py" not in sentences
    both = frame[(frame["seed"] == 2) & (frame["activation"] == "relu") | (frame["seed"] == 1)].assign(seed=[1, 3, 4])
    assert "Sweep over one trick at a time" in (found(both).nothing or "")  # retrained, they would differ in seed


@pytest.mark.parametrize(
    ("axis", "group", "pairs"),
    [
        ("optimizer", "optimizer", True),
        ("optimizer.lr", "optimizer", False),  # a rate chooses no code
        ("optimizer.lr", "core", False),
        ("optimizer.lr", "model", False),
        ("augmentation.flip", "augmentation", True),
        ("batch_size", "optimizer", False),
    ],
)
def test_pairs_agree_in_all_code_but_that_which_their_axis_chooses(axis: str, group: str, pairs: bool) -> None:
    frame = table(*runs(axis.replace(".", "__"), {1: [1, 2], 2: [2, 4]}))
    frame["code"] = [code(**{group: str(value)}) for value in frame[axis]]
    assert bool(found(frame).comparisons) == pairs
    assert [*found(frame).baseline] == ([axis] if pairs else [])


def test_code_that_not_all_runs_have_is_a_difference_unless_the_slot_is_missing() -> None:
    frame = table(*runs("model", {"mlp": [1, 2]}), *runs("model", {"softmax": [3, 5]}, activation=None))
    frame["code"] = [code(activation="relu"), code(activation="relu"), code(), code()]
    assert changes(found(frame, {"model": "mlp"}).comparisons) == {"model=softmax<mlp": (2.5, 2)}
    frame["code"] = [code(mixing="mixup"), code(mixing="mixup"), code(), code()]
    assert "differ in code of mixing as well" in (found(frame).nothing or "")


def test_a_missing_slot_has_the_code_of_the_baselines_value() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2], "selu": [10, 20]}, model="mlp"),
        *runs("model", {"softmax": [5, 8]}, activation=None),
    )
    frame["code"] = [*[code(activation="relu")] * 2, *[code(activation="selu")] * 2, code(), code()]
    for baseline, mean in (("relu", -5), ("selu", 8.5)):
        comparisons = found(frame, {"model": "softmax", "activation": baseline}).comparisons
        assert changes(comparisons)["model=mlp<softmax"] == (mean, 2)


@pytest.mark.parametrize("column", ["torch", "device_type"])
def test_runs_of_different_environments_are_not_paired(column: str) -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 5], "selu": [2, 4, 9]}))
    frame[column] = ["a", "a", "a", "a", "a", "b"]
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)} and [*result.baseline] == ["activation"]
    assert f"differ in {column} as well" in (found(frame[frame["seed"] == 2]).nothing or "")


def test_a_step_that_is_off_is_null() -> None:
    frame = table(*runs("augmentation__crop_padding", {None: [1, 2], 4: [3, 5]}))
    result = found(frame)
    assert changes(result.comparisons) == {"augmentation.crop_padding=4.0<None": (2.5, 2)}
    assert "augmentation.crop_padding=4 │ null " in as_table(result)
    turned = found(frame, {"augmentation.crop_padding": "4"})
    assert changes(turned.comparisons) == {"augmentation.crop_padding=None<4.0": (-2.5, 2)}


def test_a_group_that_is_absent_by_default_has_null_as_baseline() -> None:
    frame = table(*runs("mixing", {None: [1], "mixup": [3, 5]}))
    assert effects(frame, defaults={"mixing": "none"}).baseline == {"mixing": None}
    assert effects(frame, defaults={}).baseline == {"mixing": "mixup"}  # the most common


def test_notes_describe_how_curves_were_read() -> None:
    frame = table(*runs("activation", {"relu": [1, 2], "selu": [2, 4]}))
    options = ConvergenceOptions(fraction=0.9, target_acc=0.75)
    notes = effects(frame, defaults={}, options=options).notes
    assert notes[:2] == [
        "Converged: the first epoch at 90 % of the run's best val_acc",
        "epochs_to_target: the first epoch with val_acc of at least 0.75",
    ]
    assert not any("Converged" in note or "to_target" in note for note in effects(frame, defaults={}).notes)


def test_runs_of_version_01_are_counted_and_named() -> None:
    frame, skipped = table(*runs("activation", {"relu": [1, 2], "selu": [2, 4]})), Skipped(old=["a", "b"])
    result = effects(frame, defaults={}, skipped=skipped)
    assert result.left_out == {"of version 0.1": 2}
    assert "2 runs of version 0.1 (schema 1) are not shown: a, b" in result.notes
    nothing = effects(table(), skipped=skipped).nothing or ""
    assert nothing.startswith(
        "nothing to compare: there are no runs; 2 runs of version 0.1 (schema 1) are not shown: a, b. Sweep over"
    )


def test_notes_name_the_limits_of_the_numbers() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2], 0.01: [3, 5]}, optimizer="sgd", data__val_size=0),
        *runs("optimizer__lr", {0.1: [10, 11]}, optimizer="adam", data__val_size=0),
    )
    text = as_table(found(frame))
    assert "optimizer: runs that differ only in optimizer.lr count as one, their mean" in text
    assert "runs with data.val_size=0 selected their best epoch on test images: their test_acc is optimistic" in text


# Censored epochs.


def reaching(relu: list[Any], selu: list[Any], **same: Any) -> Comparison:
    curves = runs("activation", {"relu": relu, "selu": selu}, "epochs_to_target", **same)
    (one,) = found(table(*curves)).comparisons
    return one


def test_a_target_never_reached_is_later_than_any_epoch_until_then() -> None:
    # relu 5 7 >9 >9 9  >3 4
    # selu 3 9 9  >9 >9 4  4: earlier, later, earlier, unknown, later, unknown (>3 may be 4 or more), tied
    one = reaching([5, 7, ">9", ">9", 9, ">3", 4], [3, 9, 9, ">9", ">9", 5, 4])
    assert (one.pairs, one.lower, one.higher, one.tied) == (7, 2, 2, 1)
    assert one.censored == 5 and (one.mean, one.spread, one.interval) == (None, None, None)
    assert one.p == 1 and one.words.startswith("not significant")


def test_the_order_is_tested_by_the_sign_test() -> None:
    one = reaching([">9"] * 6 + [4], [1, 2, 3, 4, 5, 6, 4])  # six are earlier; the tie says nothing: 2 / 2^6
    assert one.p == pytest.approx(2 / 64) and one.words == "faster" and (one.lower, one.tied) == (6, 1)
    one = reaching([1, 2, 3, 4, 5, 6], [">9"] * 6)
    assert one.p == pytest.approx(2 / 64) and one.words == "slower" and one.censored == 6
    one = reaching([2, 2, 2], [1, 1, 1])  # 2 / 2^3 = 0.25
    assert one.p == 0.25 and one.mean == -1 and one.interval is None
    assert one.words == "not significant; ~3 more seeds needed"  # 2 / 2^6 is the first below 0.05


def test_without_a_known_order_there_is_no_test() -> None:
    one = reaching([">9", ">9"], [">9", ">5"])
    assert one.p is None and one.corrected is None and one.words == "no comparable pairs"
    assert one.censored == 4
    assert reaching([">9", 4], [">9", 3]).words == "only one seed with a known sign: more seeds needed"
    assert reaching([4, 4], [4, 4]).words == "not significant: no difference in any pair"
    assert reaching([4], [3]).words == "one pair: more seeds needed"


def test_no_epoch_beyond_the_last_is_averaged() -> None:
    curves = runs("activation", {"relu": [5, ">9"], "selu": [3, 4]}, "epochs_to_target")
    result = found(table(*curves))
    row = to_frame(result).iloc[0]
    assert pd.isna(row["mean"]) and (row["lower"], row["censored"]) == (2, 1)
    lines = [line for line in as_table(result).splitlines() if "activation=selu" in line]
    cells = [cell.strip() for cell in lines[0].split("│")[3:9]]
    assert cells == ["2", "2", "-", "-", "0.5000", "2 faster (1 run censored)"]


def test_where_a_target_was_missed_a_seed_has_the_sign_of_most_of_its_pairs() -> None:
    models: dict[str, dict[str, list[Any]]] = {
        "mlp": {"relu": [5, 5, 5, 5], "selu": [">9", 3, ">9", 4]},  # more, less, more, less
        "cnn": {"relu": [5, 5, ">3", 4], "selu": [6, 4, 9, 5]},  # more, less, unknown, more
        "vit": {"relu": [5, 5, ">3", 4], "selu": [4, 6, ">5", 4]},  # less, more, unknown, tied
    }
    rows: list[dict[str, Any]] = []
    for model, epochs in models.items():
        rows += runs("activation", epochs, "epochs_to_target", model=model)
    one = next(one for one in found(table(*rows)).comparisons if one.changes[0].axis == "activation")
    assert (one.pairs, one.higher, one.lower, one.tied, one.censored) == (12, 5, 4, 1, 5)
    assert (one.seeds, one.sign_counts, one.p) == (4, (2, 1, 1), 1)


# Interactions.


def grid_of(accs: dict[tuple[str, str], list[float]], measure: str = "test_acc") -> pd.DataFrame:
    return table(
        *(
            run
            for (model, activation), values in accs.items()
            for run in runs("model", {model: values}, measure, activation=activation)
        )
    )


CROSSED: dict[tuple[str, str], list[float]] = {
    ("cnn", "relu"): [1, 2, 3],
    ("cnn", "selu"): [2, 2, 4],
    ("mlp", "relu"): [5, 5, 5],
    ("mlp", "selu"): [9, 8, 10],
}


def test_an_interaction_is_the_difference_of_differences() -> None:
    (one,) = found(grid_of(CROSSED), {"model": "cnn", "activation": "relu"}).interactions
    # selu - relu: with mlp 4, 3, 5; with cnn 1, 0, 1. Difference: 3, 3, 4.
    assert [(change.axis, change.value, change.baseline) for change in one.changes] == [
        ("activation", "selu", "relu"),
        ("model", "mlp", "cnn"),
    ]
    assert one.pairs == 3 and one.mean == pytest.approx(10 / 3) and one.spread == pytest.approx(math.sqrt(1 / 3))
    assert one.p == pytest.approx(stats.ttest_1samp([3, 3, 4], 0).pvalue)
    assert one.words == "gains more with mlp than with cnn"
    (turned,) = found(grid_of(CROSSED), {"model": "mlp", "activation": "relu"}).interactions
    assert turned.words == "gains less with cnn than with mlp" and turned.mean == pytest.approx(-10 / 3)
    (epochs,) = found(grid_of(CROSSED, "convergence_epoch"), {"model": "cnn", "activation": "relu"}).interactions
    assert epochs.words == "saves fewer epochs with mlp than with cnn"


def test_interactions_have_a_family_of_their_own() -> None:
    frame = grid_of(CROSSED | {("vit", "relu"): [1, 1, 2], ("vit", "selu"): [1, 4, 2]})
    result = found(frame, {"model": "cnn", "activation": "relu"})
    ps = [one.p for one in result.interactions if one.p is not None]
    assert len(ps) == 2 and [one.corrected for one in result.interactions] == holm(ps)
    assert len([one for one in result.comparisons if one.metric == "test_acc"]) == 3


def test_interactions_need_all_four_cells_twice() -> None:
    lacking = CROSSED | {("mlp", "selu"): [9]}
    assert found(grid_of(lacking)).interactions == []
    assert found(grid_of({cell: accs for cell, accs in CROSSED.items() if cell != ("mlp", "selu")})).interactions == []
    assert [one.pairs for one in found(grid_of(CROSSED | {("mlp", "selu"): [9, 8]})).interactions] == [2]
    apart = grid_of(CROSSED)
    apart["batch_size"] = [32 if model == "cnn" else 64 for model in apart["model"]]
    assert found(apart).interactions == []


def test_censored_interactions_count_where_their_sign_is_known() -> None:
    # selu - relu with mlp: 2 - >9 is at most -8; with cnn 3 - 5 = -2: the difference is at most -6, faster with mlp.
    # The other seed: >9 - 5 is at least 5 with mlp, 3 - 5 = -2 with cnn: at least 7. The third: both unknown.
    accs: dict[tuple[str, str], list[Any]] = {
        ("cnn", "relu"): [5, 5, ">9"],
        ("cnn", "selu"): [3, 3, 3],
        ("mlp", "relu"): [">9", 5, ">9"],
        ("mlp", "selu"): [2, ">9", 3],
    }
    frame = grid_of(accs, "epochs_to_target")
    (one,) = found(frame, {"model": "cnn", "activation": "relu"}).interactions
    assert (one.pairs, one.lower, one.higher, one.tied, one.mean, one.censored) == (3, 1, 1, 0, None, 4)


# The baseline.


def test_the_baseline_is_the_given_value_then_the_configs_then_the_most_common() -> None:
    frame = table(*runs("model", {"mlp": [1, 2], "cnn": [3, 4, 5]}))
    assert found(frame).baseline == {"model": "cnn"}
    assert effects(frame, defaults={"model": "mlp"}).baseline == {"model": "mlp"}
    assert effects(frame, defaults={"model": "vit"}).baseline == {"model": "cnn"}
    assert effects(frame, {"model": "cnn"}, defaults={"model": "mlp"}).baseline == {"model": "cnn"}
    assert "Baseline: model=cnn" in as_table(found(frame))


def test_ties_go_to_the_smallest() -> None:
    assert found(table(*runs("batch_size", {128: [1], 64: [2], 256: [2]}))).baseline == {"batch_size": 64}
    assert found(table(*runs("activation", {"tanh": [1], "selu": [2]}))).baseline == {"activation": "selu"}


def test_the_baseline_run_is_read_from_conf() -> None:
    defaults = config_defaults()
    assert (defaults["activation"], defaults["model"], defaults["optimizer"]) == ("relu", "cnn_pool", "adam")
    assert (defaults["dropout.rate"], defaults["optimizer.lr"]) == (0, 0.0005)
    assert effects(table(*runs("activation", {"gelu": [1, 2, 3], "relu": [2, 2]}))).baseline == {"activation": "relu"}


def test_without_conf_there_are_no_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.summary.axes.CONF", tmp_path)
    assert config_defaults() == {}


@pytest.mark.parametrize("text", ["0.001", "1e-3", "0.0010"])
def test_a_number_may_be_spelled_in_any_way(text: str) -> None:
    frame = table(*runs("optimizer__lr", {0.1: [1, 2], 0.001: [2, 3]}, optimizer="sgd"))
    assert found(frame, {"optimizer.lr": text}).baseline == {"optimizer.lr": 0.001}


def test_lists_and_switches_may_too() -> None:
    frame = table(*runs("model__hidden", {"[64, 64]": [1, 2], "[128]": [2, 3]}))
    assert found(frame, {"model.hidden": "[64,64]"}).baseline == {"model.hidden": "[64, 64]"}
    frame = table(*runs("nesterov", {True: [1, 2], False: [2, 3]}))
    assert found(frame, {"nesterov": "true"}).baseline == {"nesterov": True}


@pytest.mark.parametrize(
    "baseline, sentence",
    [
        (
            {"activatoin": "relu"},
            "--baseline: unknown axis activatoin (did you mean activation?); axes that vary: activation",
        ),
        ({"seed": "0"}, "--baseline: unknown axis seed; axes that vary: activation"),
        ({"model": "mlp"}, "--baseline: unknown axis model; axes that vary: activation"),
        (
            {"activation": "rely"},
            "--baseline activation=rely: no finished run has it (did you mean relu?); values: relu, selu",
        ),
        ({"activation": ""}, "--baseline activation=: no finished run has it; values: relu, selu"),
    ],
)
def test_an_unknown_baseline_is_a_user_error(baseline: dict[str, str], sentence: str) -> None:
    frame = table(*runs("activation", {"relu": [1, 2], "selu": [2, 4]}))
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        found(frame, baseline)


# What is shown.


def many() -> pd.DataFrame:
    """Two models, three activations, two learning rates, three seeds, all measures."""
    generator = np.random.default_rng(3)
    return table(
        *(
            {
                "model": model,
                "activation": activation,
                "optimizer": "sgd",
                "optimizer__lr": lr,
                "seed": seed,
                "test_acc": generator.random(),
                "convergence_epoch": int(generator.integers(1, 9)),
                "epochs_to_target": (3, 4, ">9")[generator.integers(3)],
            }
            for model in ("mlp", "cnn")
            for activation in ("relu", "selu", "tanh")
            for lr in (0.1, 0.01)
            for seed in range(3)
        )
    )


def test_nothing_depends_on_the_order_of_rows_or_columns() -> None:
    frame = many()
    first = effects(frame)
    for seed in range(3):
        shuffled = frame.sample(frac=1, random_state=seed)
        columns = list(np.random.default_rng(seed).permutation(frame.columns.to_numpy()))
        again = effects(shuffled[columns])
        assert again == first and as_table(again) == as_table(first) and as_json(again) == as_json(first)
    # 4 comparisons and 5 interactions (activation x model, x lr: 2 each; model x lr: 1) by three measures.
    assert len(first.comparisons) == 12 and len(first.interactions) == 15


HOSTILE = ["[red]x[/red]", "[/b]", "=cmd()", "two\nlines", "\x1b[31mred", "a|b"]


def test_names_are_shown_as_they_are() -> None:
    accs: dict[Any, list[float]] = {name: [index, index + 1.5] for index, name in enumerate(HOSTILE)}
    result = found(table(*runs("activation", accs | {"=base[b]": [0, 0]})), {"activation": "=base[b]"})
    text = as_table(result)
    for name in HOSTILE:
        shown = "".join(char if char.isprintable() else " " for char in name)
        assert sum(f"│ activation={shown} " in line for line in text.splitlines()) == 1
    assert "\x1b" not in text and "Baseline: activation==base[b]" in text
    rows = list(csv.DictReader(io.StringIO(result_csv(result))))
    assert [row["value"] for row in rows] == sorted(f"'{name}" if name[0] == "=" else name for name in HOSTILE)
    assert {row["baseline"] for row in rows} == {"'=base[b]"}
    assert {row["value"] for row in json.loads(as_json(result))["comparisons"]} == set(HOSTILE)


def result_csv(result: Effects) -> str:
    return FORMATS["csv"](result)


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    result = found(table(*runs("activation", {"relu": [1, 2], "half \ud800": [2, 4]})))
    for form in FORMATS.values():
        write_output(tmp_path / "new" / "file", form(result))
        assert "half" in (tmp_path / "new" / "file").read_text(encoding="utf-8")


def test_a_hostile_axis_is_an_axis_like_any() -> None:
    result = found(table(*runs("=[b]axis\n", {1: [1, 2], 2: [2, 4]})))
    assert changes(result.comparisons) == {"=[b]axis\n=2<1": (1.5, 2)}
    assert "=[b]axis =2" in as_table(result) and "'=[b]axis" in result_csv(result)


def test_rows_have_all_columns() -> None:
    rows = to_frame(found(grid_of(CROSSED), {"model": "cnn"}))
    first, last = rows.iloc[0], rows.iloc[-1]
    assert list(first[["measure", "axis", "value", "baseline"]]) == ["test_acc", "activation", "selu", "relu"]
    assert list(last[["with_axis", "with_value", "with_baseline"]]) == ["model", "mlp", "cnn"]
    assert list(first[["pairs", "seeds", "higher", "lower", "tied"]]) == [6, 3, 5, 0, 1]
    assert first["low"] < first["mean"] < first["high"] and first["p"] <= first["p_holm"]
    assert to_frame(found(table())).columns.tolist() == rows.columns.tolist()


def test_a_narrow_terminal_keeps_the_numbers() -> None:
    file = io.StringIO()
    print_effects(effects(many()), Console(file=file, width=100, force_terminal=True, color_system=None))
    assert max(map(len, file.getvalue().splitlines())) <= 100 and "…" not in file.getvalue()
    for one in effects(many()).comparisons:
        digits = 4 if one.metric == "test_acc" else 2
        assert one.mean is None or f" {one.mean:+.{digits}f} " in file.getvalue()


# Nothing to compare.


@pytest.mark.parametrize(
    "rows, what",
    [
        ([], "nothing to compare: there are no runs. Sweep over a trick and seeds, for example: "),
        (
            [{"state": "failed"}, {"state": "running"}],
            "nothing to compare: no run is finished (1 failed, 1 running). Sweep over ",
        ),
        ([{}, {"state": "failed"}], "nothing to compare: one run is finished (1 failed). Sweep over "),
        (
            [{"seed": 0}, {"seed": 1}],
            "nothing to compare: the 2 finished runs differ in no setting but seed and data. Sweep over a trick, ",
        ),
        ([{"data.fingerprint": "a"}, {"data.fingerprint": "b"}], "the 2 finished runs differ in no setting but"),
        (
            [{"model": "mlp"}, {"model": "cnn", "seed": 1}],
            "the nearest runs of model=cnn differ in seed as well. Sweep over one trick at a time, ",
        ),
        (
            [{"model": "mlp"}, {"model": "cnn"}],
            "no comparable pairs. model=mlp has no matching pair: results are missing. Sweep over one trick ",
        ),
    ],
)
def test_nothing_to_compare_is_explained(rows: list[dict[str, Any]], what: str) -> None:
    result = found(table(*rows))
    assert result.nothing is not None and what in result.nothing and result.comparisons == []
    assert result.nothing.startswith(("nothing to compare: ", "no comparable pairs. "))
    assert "python train.py -m " in result.nothing
    assert as_table(result) == f"{result.nothing}\n"
    assert caption(result) == []
    assert json.loads(as_json(result))["nothing"] == result.nothing
    assert len(result_csv(result).splitlines()) == 1


def test_a_frame_without_columns_has_nothing() -> None:
    assert effects(pd.DataFrame()).nothing == found(table()).nothing


# The command.


def make(output_dir: Path, run_id: str, test_acc: float, **settings: Any) -> None:
    finish(output_dir, run_id, [0.5], test_acc, **settings)


def command(output_dir: Path, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *flags, "-m", "sweeper", "effects", "--output-dir", str(output_dir), *arguments]
    return subprocess.run(line, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


def test_the_command_prints_and_writes_without_torch(tmp_path: Path) -> None:
    for seed, (relu, selu) in enumerate([(0.5, 0.6), (0.4, 0.6)]):
        make(tmp_path, f"relu-{seed}", relu, activation={"name": "relu"}, seed=seed)
        make(tmp_path, f"selu-{seed}", selu, activation={"name": "selu"}, seed=seed)
    (tmp_path / "runs/foreign").mkdir()
    done = command(tmp_path, flags=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "scipy" in imported and not imported & {"torch", "torchvision", "hydra"}
    assert "activation=selu │ relu " in done.stdout and "+0.1500" in done.stdout  # (0.1 + 0.2) / 2
    assert "4 finished runs; 1 left out: 1 unreadable" in done.stdout

    file = tmp_path / "effects.json"
    done = command(tmp_path, "--baseline", "activation=selu", "--format", "json", "--output", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    content = json.loads(file.read_text())
    assert content["baseline"] == {"activation": "selu"} and content["left_out"] == {"unreadable": 1}
    assert content["comparisons"][0]["mean"] == pytest.approx(-0.15)


def test_a_user_error_is_an_error_and_nothing_to_compare_is_not(tmp_path: Path) -> None:
    done = command(tmp_path, "--format", "csv")
    assert done.returncode == 0 and done.stdout.startswith('"measure"') and len(done.stdout.splitlines()) == 1
    assert re.fullmatch(r"nothing to compare: there are no runs\. .*python train.py .*\n", done.stderr)
    make(tmp_path, "relu", 0.5, activation={"name": "relu"})
    make(tmp_path, "selu", 0.5, activation={"name": "selu"})
    done = command(tmp_path, "--baseline", "activation=tanh")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --baseline activation=tanh: no finished run has it; values: relu, selu\n"


def test_wrong_formats_files_and_sweeps_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format md: unknown format; choose from csv, json, table"):
        show_effects(tmp_path, None, [], format="md")
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(UserError, match=f"{path} is not a regular file"):
            show_effects(tmp_path, None, [], output=path)
    assert Path("/dev/null").is_char_device()
    for name in ("relu", "selu", "tanh"):
        make(tmp_path, name, 0.5, activation={"name": name})
    with pytest.raises(UserError, match=r"^--baseline activation=: no finished run has it; values: relu, selu$"):
        show_effects(tmp_path, {"relu", "selu"}, ["activation"])


# Statistical sanity.


def test_without_an_effect_one_in_twenty_is_significant_and_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(0)
    trials, false, true, covered, shift = 300, 0, 0, 0, 0.02
    for _ in range(trials):
        of_seed = generator.normal(0, 0.1, 5)  # shared by a pair, so that pairing matters
        relu, selu, tanh = of_seed + generator.normal(0, 0.01, (3, 5))
        frame = table(*runs("activation", {"relu": list(relu), "selu": list(selu), "tanh": list(tanh + shift)}))
        null, shifted = found(frame, {"activation": "relu"}).comparisons
        assert null.p is not None and shifted.p is not None and shifted.interval is not None
        false += null.p < 0.05
        true += shifted.p < 0.05
        covered += shifted.interval[0] <= shift <= shifted.interval[1]
    # Binomial, 300 trials of 0.05: 15 expected, standard deviation 3.8, three of them to either side.
    assert 4 <= false <= 26 and 4 <= trials - covered <= 26
    assert true > trials / 2  # 0.02 is three standard errors: 0.01 x sqrt 2 / sqrt 5 = 0.0063


def test_pairs_that_share_a_seed_keep_the_error_rate() -> None:
    generator = np.random.default_rng(2)
    wrong = naive = 0
    for _ in range(1000):
        of_seed = generator.normal(0, 1, 5)
        pairs = (of_seed + generator.normal(0, 0.5, (4, 5))).tolist()  # of four models
        differences = [Difference(value, value, seed) for model in pairs for seed, value in enumerate(model)]
        one = compare("test_acc", (Change("activation", "selu", "relu"),), differences)
        assert one.p is not None
        wrong += one.p < 0.05
        naive += stats.ttest_1samp(np.ravel(pairs), 0).pvalue < 0.05
    assert 30 <= wrong <= 70 and naive > 300  # binomial, 1000 trials of 0.05: 50, standard deviation 6.9


def test_epochs_that_agree_by_chance_are_no_effect() -> None:
    differences = np.random.default_rng(3).integers(-1, 2, (1000, 2)).tolist()
    tested = [
        compare("convergence_epoch", (), [Difference(value, value, seed) for seed, value in enumerate(pair)]).p
        for pair in differences
    ]
    assert min(p for p in tested if p is not None) > 0.05  # two of nine pairs agree: with p = 0 they would be effects


def test_holm_keeps_the_family_wise_error() -> None:
    values = np.random.default_rng(1).normal(0, 1, (1000, 6, 8))
    families = [[paired_t(list(differences))[3] or 0.0 for differences in family] for family in values]
    wrong = sum(min(holm(family)) < 0.05 for family in families)
    # 1 - (1 - 0.05 / 6)^6 = 4.9 % of 1000: 49, standard deviation 6.8, three of them to either side; 265 uncorrected.
    assert 28 <= wrong <= 70
    assert sum(min(family) < 0.05 for family in families) > 200

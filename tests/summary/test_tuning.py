"""Settings tuned for each configuration before configurations are compared."""

import json
import re
from typing import Any

import numpy as np
import pytest
from paired import found, of_axis, table
from scipy import stats

from sweeper.errors import UserError
from sweeper.summary.sentences import sentence
from sweeper.summary.verdicts import verdict

OFFSETS = (-0.001, 0.0, 0.001)  # of the seeds
TUNED = {"tuned": ["optimizer.lr"]}


def activations(skip: tuple[tuple[str, float], ...] = ()) -> list[dict[str, Any]]:
    """Return runs of two activations at three learning rates; averaged over these selu loses, tuned it wins."""
    accs = {
        ("relu", 0.0005): (0.640, (0, 0.001, -0.001)),
        ("relu", 0.005): (0.650, (0.001, 0, -0.001)),
        ("relu", 0.05): (0.600, (0, 0, 0)),
        ("selu", 0.0005): (0.662, (0.001, -0.001, 0)),
        ("selu", 0.005): (0.630, (0, 0.002, -0.001)),
        ("selu", 0.05): (0.300, (0.01, -0.01, 0)),
    }
    return [
        {"activation": name, "optimizer__lr": lr, "seed": seed, "test_acc": acc, "best_val_acc": acc + 0.005}
        for (name, lr), (base, twists) in accs.items()
        if (name, lr) not in skip
        for seed, acc in enumerate(base + offset + twist for offset, twist in zip(OFFSETS, twists, strict=True))
    ]


def test_each_value_is_compared_at_its_best_learning_rate() -> None:
    result = found(table(*activations()), {"activation": "relu"}, **TUNED)
    (one,) = result.comparisons
    assert one.means == (0.012, 0.011, 0.013) and one.mean == pytest.approx(0.0120)
    assert one.interval == pytest.approx((0.009516, 0.014484), abs=1e-6) and one.p == pytest.approx(0.002307, abs=1e-6)
    assert verdict(one) == "helps" and result.interactions == []
    assert result.baseline == {"activation": "relu"}
    assert (
        "optimizer.lr chosen on validation images: activation=relu: 0.005; activation=selu: 0.0005 (edge of its grid: "
        "widen it)"
    ) in result.notes


def test_a_choice_is_tuned_with_its_code() -> None:
    """A choice has code of its own, which must not keep the runs of one configuration apart."""
    made = [
        {"optimizer": name, "activation": activation, "seed": seed, "test_acc": acc + seed / 100}
        | {"best_val_acc": acc + seed / 100, "code": json.dumps({"core": "c", "optimizer": name})}
        for (name, activation), acc in {
            ("sgd", "relu"): 0.5, ("adam", "relu"): 0.6, ("sgd", "selu"): 0.8, ("adam", "selu"): 0.4,
        }.items()
        for seed in range(3)
    ]  # fmt: skip
    result = found(table(*made), {"activation": "relu"}, tuned=["optimizer"])
    (one,) = result.comparisons
    assert one.means == pytest.approx((0.2, 0.2, 0.2))
    assert "optimizer chosen on validation images: activation=relu: adam; activation=selu: sgd" in result.notes
    lacking = [run for run in made if (run["optimizer"], run["activation"]) != ("adam", "selu")]
    with pytest.raises(UserError, match=r"^--tune optimizer: activation=relu has 2 values, activation=selu has 1; "):
        found(table(*lacking), {"activation": "relu"}, tuned=["optimizer"])


def test_a_switch_has_no_edge() -> None:
    made = [
        {**run, "optimizer__lr": None, "optimizer__nesterov": run["optimizer__lr"] > 0.001}
        for run in activations()
        if run["optimizer__lr"] in (0.0005, 0.005)
    ]
    notes = found(table(*made), {"activation": "relu"}, tuned=["optimizer.nesterov"]).notes
    assert any("activation=relu: true" in note for note in notes) and not any("edge" in note for note in notes)


def test_the_sentence_says_which_choices_are_uncertain() -> None:
    def answer(*made: dict[str, Any]) -> str:
        return sentence(of_axis(found(table(*made), {"activation": "relu"}, **TUNED), "activation"))

    whole = [
        run | {"optimizer__lr": lr, "best_val_acc": run["best_val_acc"] - penalty}
        for run in activations()
        if run["optimizer__lr"] == 0.005
        for lr, penalty in ((0.0005, 0.1), (0.005, 0.0), (0.05, 0.1))
    ]
    assert "uncertain" not in answer(*whole)
    begin = "; the choices of optimizer.lr are uncertain: "
    assert answer(*activations()).endswith(f"3 seeds){begin}at the edge of its grid in 1 of 2")
    tied = [
        run | {"best_val_acc": 0.655 + run["seed"] / 100 * (run["optimizer__lr"] == 0.05)} if near else run
        for run in whole
        for near in (run["activation"] == "selu" and run["optimizer__lr"] > 0.0005,)
    ]
    # 0.05 is ahead by 0, 0.01 and 0.02: mean 0.01, standard error 0.0058; by 0, 0.02, -0.01: 0.0033 and 0.0088.
    assert answer(*tied).endswith(f"{begin}at the edge of its grid in 1 of 2")
    nearer = [
        run | {"best_val_acc": 0.655 + (0, 0.02, -0.01)[run["seed"]]} if run["optimizer__lr"] == 0.05 else run
        for run in tied
    ]
    nearer = [run if run["activation"] == "selu" else old for run, old in zip(nearer, tied, strict=True)]
    assert answer(*nearer).endswith(f"{begin}nearly tied in 1 of 2, at the edge of its grid in 1 of 2")
    notes = found(table(*nearer), {"activation": "relu"}, **TUNED).notes
    assert any("activation=selu: 0.05 (edge of its grid: widen it; nearly tied with 0.005)" in note for note in notes)
    two = [run for run in whole if run["seed"] < 2]
    assert answer(*two).endswith(f"2 seeds){begin}chosen from at most 2 seeds in 2 of 2")
    one = [run for run in whole if run["seed"] < 1]
    assert answer(*one).endswith(f"more seeds needed{begin}chosen from 1 seed in 2 of 2")


def optimizers() -> list[dict[str, Any]]:
    accs = {"sgd": {0.1: 0.70, 0.01: 0.68, 0.001: 0.60}, "adam": {0.1: 0.10, 0.01: 0.55, 0.001: 0.72}}
    noise = iter(np.random.default_rng(0).normal(0, 0.002, 18).round(4).tolist())
    return [
        {"optimizer": name, "optimizer__lr": lr, "seed": seed, "test_acc": acc + shift, "best_val_acc": acc + shift}
        for name, grid in accs.items()
        for lr, acc in grid.items()
        for seed, shift in ((seed, next(noise)) for seed in range(3))
    ]


def test_a_choice_whose_own_settings_vary_has_no_verdict_until_they_are_tuned() -> None:
    frame = table(*optimizers())
    one = of_axis(found(frame, {"optimizer": "sgd"}), "optimizer")
    assert one.is_significant and one.mean < -0.2
    assert verdict(one) == "no verdict: averaged over optimizer.lr; use --tune optimizer.lr"
    alike = of_axis(found(frame.assign(test_acc=frame["seed"] / 10), {"optimizer": "sgd"}), "optimizer")
    assert not alike.is_significant and verdict(alike).startswith("no verdict: averaged over")
    (one,) = found(frame, {"optimizer": "sgd"}, **TUNED).comparisons
    accs = frame.set_index(["optimizer", "optimizer.lr", "seed"])["test_acc"]
    expected = [accs["adam", 0.001, seed] - accs["sgd", 0.1, seed] for seed in range(3)]
    assert one.means == pytest.approx(expected, abs=1e-9) and verdict(one) == "helps"
    assert one.p == pytest.approx(stats.ttest_1samp(expected, 0).pvalue, rel=1e-6)


def test_the_choice_is_made_on_validation_images_over_the_seeds_that_all_have() -> None:
    frame = table(*activations())
    frame.loc[(frame["activation"] == "relu") & (frame["optimizer.lr"] == 0.05), "test_acc"] = 1.0
    frame.loc[(frame["activation"] == "relu") & (frame["optimizer.lr"] == 0.0005) & (frame["seed"] == 2), "seed"] = 7
    frame.loc[frame["seed"] == 7, "best_val_acc"] = 0.9  # no other learning rate has seed 7
    (one,) = found(frame, {"activation": "relu"}, **TUNED).comparisons
    assert one.means == (0.012, 0.011, 0.013)


def test_of_equal_points_the_smallest_is_chosen() -> None:
    frame = table(*activations()).assign(best_val_acc=0.7)
    notes = found(frame, {"activation": "relu"}, **TUNED).notes
    assert any("activation=relu: 0.0005 (edge" in note for note in notes)


def test_several_settings_are_tuned_over_their_product() -> None:
    rows = [run | {"weight_decay": decay} for run in activations() for decay in (0.0, 0.1)]
    for run in rows:
        run["test_acc"] += 0.02 * run["weight_decay"] * (run["activation"] == "selu")
        run["best_val_acc"] += 0.02 * run["weight_decay"] * (run["activation"] == "selu")
    result = found(table(*rows), {"activation": "relu"}, tuned=["optimizer.lr", "weight_decay"])
    (one,) = result.comparisons
    assert one.means == pytest.approx((0.014, 0.013, 0.015))
    (note,) = [note for note in result.notes if note.startswith("weight_decay chosen on")]
    assert "activation=selu: 0.1 (edge" in note


def test_a_diverged_run_is_the_worst_of_its_grid() -> None:
    frame = table(*activations())
    frame.loc[(frame["optimizer.lr"] == 0.05) & (frame["seed"] > 0), "state"] = "diverged"
    frame.loc[frame["state"] == "diverged", ["test_acc", "best_val_acc"]] = None
    (one,) = found(frame, {"activation": "relu"}, **TUNED).comparisons
    assert one.means == (0.012, 0.011, 0.013) and one.diverged is not None and one.diverged.is_empty


def test_a_failed_run_is_ignored_in_the_choice_and_counted() -> None:
    frame = table(*activations())
    for name, value, baseline in (("selu", 1, 0), ("relu", 0, 0)):
        failed = frame.copy()
        rows = failed["activation"].eq(name) & failed["optimizer.lr"].eq(0.0005) & failed["seed"].eq(2)
        failed.loc[rows, "state"] = "failed"
        failed.loc[rows, ["test_acc", "best_val_acc"]] = None
        (one,) = found(failed, {"activation": "relu"}, **TUNED).comparisons
        assert one.means == ((0.012, 0.011) if value else (0.012, 0.011, 0.013))  # the rates are chosen as before
        assert one.failed is not None and (one.failed.value, one.failed.baseline) == (value, baseline)


def test_grids_of_different_sizes_are_refused() -> None:
    frame = table(*activations(skip=(("relu", 0.05), ("relu", 0.0005))))
    sentence = (
        "--tune optimizer.lr: activation=selu has 3 values, activation=relu has 1; the larger grid would win by "
        "chance: run equal grids, or select runs with --where"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        found(frame, {"activation": "relu"}, **TUNED)


@pytest.mark.parametrize(
    ("tuned", "baseline", "sentence"),
    [
        ("optimizer.lrr", {}, "--tune optimizer.lrr: no such axis (did you mean optimizer.lr?); axes that vary: "),
        ("seed", {}, "--tune seed: no such axis; axes that vary: activation, optimizer.lr"),
        ("optimizer.lr", {"optimizer.lr": "0.005"}, "--baseline optimizer.lr=0.005: a tuned setting has no baseline"),
    ],
)
def test_what_cannot_be_tuned_is_a_user_error(tuned: str, baseline: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        found(table(*activations()), baseline, tuned=[tuned])


def test_the_tuned_difference_is_covered_and_unbiased() -> None:
    generator = np.random.default_rng(1)
    covered, errors = 0, []
    for _ in range(30):
        rows: list[dict[str, Any]] = []
        for name, peak in (("relu", 1), ("selu", 2)):
            for point, lr in enumerate((0.1, 0.03, 0.01, 0.003)):
                accs = 0.6 - 0.02 * abs(point - peak) + generator.normal(0, 0.0075, 5)
                vals = accs + generator.normal(0, 0.005, 5)
                measured = enumerate(zip(accs.tolist(), vals.tolist(), strict=True))
                same = {"activation": name, "optimizer__lr": lr}
                rows += [same | {"seed": seed, "test_acc": acc, "best_val_acc": val} for seed, (acc, val) in measured]
        (one,) = found(table(*rows), {"activation": "relu"}, **TUNED).comparisons
        low, high = one.interval or (0, 0)
        covered += low <= 0 <= high
        errors.append(one.mean)
    assert covered >= 25  # binomial, 30 trials of 0.95: 28.5, standard deviation 1.2
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 30**0.5


def test_a_setting_that_does_not_vary_on_a_dataset_is_said_not_to_be_tuned_there() -> None:
    other = [
        run | {"data": "cifar10", "data__fingerprint": "beef"} for run in activations() if run["optimizer__lr"] == 0.005
    ]
    notes = found(table(*activations(), *other), {"activation": "relu"}, **TUNED).notes
    assert "cifar10: --tune optimizer.lr does not vary" in notes
    assert not any(line.startswith("digits: --tune") for line in notes)

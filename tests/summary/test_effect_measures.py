"""The measures of effects that depend on learning curves."""

from statistics import fmean
from typing import Any

import numpy as np
import pytest
from paired import found, of_axis, runs, table

from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.effect_measures import METRICS, Runs
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table
from sweeper.summary.inference import Comparison
from sweeper.summary.verdicts import verdict

BASE = [0.40, 0.55, 0.60, 0.62, 0.63, 0.635, 0.63]
VALUE = [0.50, 0.58, 0.62, 0.64, 0.655, 0.66, 0.665]


def text(curve: list[float]) -> str:
    return " ".join(map(repr, curve))


def measured(metric: str, *curves: list[float], fraction: float = 0.99, **same: Any) -> list[float]:
    frame = table(*({"val_curve": text(curve), **same} for curve in curves))
    results = Runs(frame, ConvergenceOptions(fraction=fraction))
    return list(METRICS[metric].values(results, range(len(curves))))


def test_convergence_is_compared_at_a_level_that_both_reach() -> None:
    # 0.99 x 0.635 = 0.62865: reached in epoch 5 and in epoch 4. At 99% of its own best the value takes an epoch more.
    assert measured("epochs_to_level", BASE, VALUE) == [5, 4]
    assert measured("epochs_to_level", BASE, VALUE, fraction=0.9) == [3, 2]
    frame = table(*runs("activation", {"relu": [text(BASE)] * 3, "selu": [text(VALUE)] * 3}, "val_curve"))
    one = of_axis(found(frame), "activation", "epochs_to_level")
    assert one.means == (-1, -1, -1) and verdict(one) == "not significant"
    assert "convergence_epoch" not in {one.metric for one in found(frame).comparisons}


def test_the_level_is_symmetric_and_always_reached() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        one, other = (generator.random(6).tolist() for _ in range(2))
        level = 0.99 * min(max(one), max(other))
        expected = [next(1 + epoch for epoch, acc in enumerate(curve) if acc >= level) for curve in (one, other)]
        assert measured("epochs_to_level", one, other) == expected
        assert measured("epochs_to_level", other, one) == expected[::-1]


def test_a_better_curve_that_still_rises_is_faster() -> None:
    generator = np.random.default_rng(1)
    rows = []
    for seed in range(6):
        noise = generator.normal(0, 0.004, (2, 12))
        base = 0.6 - 0.3 * np.exp(-np.arange(12) / 3)
        rising = base + 0.02 + 0.004 * np.arange(12)
        rows += [
            {"activation": name, "seed": seed, "val_curve": text((curve + shift).tolist())}
            for name, curve, shift in (("relu", base, noise[0]), ("selu", rising, noise[1]))
        ]
    one = of_axis(found(table(*rows), {"activation": "relu"}), "activation", "epochs_to_level")
    assert verdict(one) == "faster"


def test_the_mean_of_the_best_so_far_is_over_the_epochs_allowed() -> None:
    assert measured("mean_val_acc", BASE, VALUE, epochs=10) == pytest.approx([0.597500, 0.631500], abs=1e-9)
    falling = [0.5, 0.7, 0.1]
    assert measured("mean_val_acc", falling, epochs=3) == [pytest.approx((0.5 + 0.7 + 0.7) / 3)]
    frame = table({"val_curve": text(BASE), "epochs": 30}, {"val_curve": text(VALUE), "epochs": 4})
    values = METRICS["mean_val_acc"].values(Runs(frame, ConvergenceOptions()), [0, 1])
    assert values == pytest.approx([fmean(BASE[:4]), fmean(VALUE[:4])])  # the epochs that both were allowed


def test_runs_without_a_curve_are_left_out_of_convergence_only() -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, 5]}))
    frame["val_curve"] = [text(BASE), None, text(BASE), text(VALUE), text(VALUE), text(VALUE)]
    result = found(frame)
    assert of_axis(result, "activation").seeds == 3
    assert of_axis(result, "activation", "epochs_to_level").seeds == 2
    assert "1 finished run without a learning curve" in result.notes


def test_omissions_from_only_some_measures_name_these_measures() -> None:
    rows = [
        run
        for model in ("cnn", "mlp")
        for run in runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, 5]}, model=model, val_curve=text(BASE))
    ]
    frame = table(*rows)
    frame.loc[0, "val_curve"] = None
    lines = caption(found(frame, {"activation": "relu", "model": "cnn"}))
    line = "activation=selu by epochs to a common val_acc, mean best-so-far val_acc: left out seed 0 (lacks cnn)"
    assert line in lines
    frame.loc[0, "test_acc"] = None
    lines = caption(found(frame, {"activation": "relu", "model": "cnn"}))
    assert "activation=selu: left out seed 0 (lacks cnn)" in lines


# Targets.


def reaching(relu: list[Any], selu: list[Any], **same: Any) -> Comparison:
    (one,) = found(table(*runs("activation", {"relu": relu, "selu": selu}, "epochs_to_target", **same))).comparisons
    return one


def test_a_target_not_reached_is_one_epoch_after_the_last_allowed() -> None:
    rows: list[dict[str, Any]] = []
    for model in ("cnn", "cnn_pool", "mlp", "mlp_deep"):
        rows += runs("norm", {"none": [">4"] * 5, "batch": [3] * 5}, "epochs_to_target", model=model, epochs=4)
    result = found(table(*rows), {"norm": "none", "model": "cnn"})
    one = of_axis(result, "norm", "epochs_to_target")
    assert one.mean == -2 and one.spread == pytest.approx(0.204124, abs=5e-7)
    assert one.p == pytest.approx(2.6e-05, abs=5e-7) and verdict(one) == "faster"
    assert one.reached is not None and one.reached.text == "20 of 20 vs. 0 of 20"
    assert "│ 20 of 20 vs. 0 of 20 │" in as_table(result)
    row = to_frame(result).query("axis == 'norm' and model.isna()").iloc[0]
    assert (row["value_reached"], row["baseline_reached"]) == (20, 0)


def test_a_run_that_stopped_early_is_known_not_to_reach_the_target() -> None:
    one = reaching([">5"] * 8, [7] * 8, epochs=30)
    assert one.means == (-24,) * 8 and verdict(one) == "faster"
    assert one.reached is not None and one.reached.text == "8 of 8 vs. 0 of 8"


def test_targets_of_different_budgets_are_compared_within_the_smaller() -> None:
    frame = table(*runs("epochs", {10: [">10", 4], 30: [25, 8]}, "epochs_to_target"))
    one = of_axis(found(frame, {"epochs": 10}), "epochs", "epochs_to_target")
    assert one.means == (0, 4)  # in epoch 25 the other run was over


@pytest.mark.parametrize("damaged", [">", "> 5", ">5x", "five", ">12345678901", float("nan"), None])
def test_invalid_epochs_are_not_compared(damaged: Any) -> None:
    one = reaching([5, damaged, 5], [4, 4, 3], epochs=9)
    assert one.means == (-1, -2)

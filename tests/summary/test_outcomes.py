"""How the runs of a comparison ended: survivors, and budgets that bind."""

from typing import Any

import pandas as pd
import pytest
from paired import found, of_axis, runs, table

from sweeper.errors import UserError
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.study import Method
from sweeper.summary.verdicts import verdict


def diverging(gains: list[float | None], base: list[float | None] | None = None) -> pd.DataFrame:
    """Return runs of relu and selu; None diverged."""
    measured: dict[str, list[Any]] = {
        "relu": base or [0.5] * len(gains),
        "selu": [None if gain is None else 0.5 + gain for gain in gains],
    }
    frame = table(*runs("activation", measured))
    frame["state"] = ["diverged" if pd.isna(acc) else "finished" for acc in frame["test_acc"]]
    return frame


def test_survivors_are_not_all_runs() -> None:
    result = found(diverging([0.02, None, 0.018, None, 0.019]))
    one = of_axis(result, "activation")
    assert one.pairs == 3 and one.is_significant and one.diverged is not None
    assert (one.diverged.value, one.diverged.baseline) == (2, 0) and one.diverged.text == "2 of 5 vs. 0 of 5"
    assert verdict(one) == "helps where both runs finish; diverged: 2 of 5 vs. 0 of 5"
    assert list(to_frame(result).iloc[0][["value_diverged", "baseline_diverged"]]) == [2, 0]


def test_runs_that_diverge_in_a_comparison_without_an_effect_are_counted_too() -> None:
    one = of_axis(found(diverging([0.02, -0.02, None], [0.5, 0.5, None])), "activation")
    assert verdict(one) == "not significant; diverged: 1 of 3 vs. 1 of 3"


def test_only_the_comparisons_of_a_diverged_run_count_it() -> None:
    frame = diverging([0.02, None, 0.018, None, 0.019])
    other = table(*runs("activation", {"tanh": [0.52, 0.518, 0.519, 0.521, 0.52]}))
    other["run_id"] = [f"tanh-{seed}" for seed in other["seed"]]
    result = found(pd.concat([frame, other], ignore_index=True), {"activation": "relu"})
    selu, tanh = (one for one in result.comparisons if one.metric == "test_acc")
    assert "diverged" in verdict(selu) and verdict(tanh) == "helps"


def test_a_value_without_a_finished_run_is_named() -> None:
    frame = diverging([None, None])
    other = table(*runs("activation", {"tanh": [0.52, 0.53]})).assign(run_id=["a", "b"])
    result = found(pd.concat([frame, other], ignore_index=True), {"activation": "relu"})
    assert "activation=selu: no run finished, 2 diverged" in result.notes
    frame.loc[frame["seed"].eq(1) & frame["activation"].eq("selu"), "state"] = "failed"
    result = found(pd.concat([frame, other], ignore_index=True), {"activation": "relu"})
    assert "activation=selu: no run finished, 1 diverged, 1 failed" in result.notes


def test_failed_runs_are_counted() -> None:
    frame = diverging([0.02, None, 0.018, None, 0.019])
    frame.loc[frame["state"].eq("diverged") & frame["seed"].eq(3), "state"] = "failed"
    one = of_axis(found(frame), "activation")
    assert one.failed is not None and (one.failed.value, one.failed.of_value, one.failed.baseline) == (1, 5, 0)
    assert verdict(one) == "helps where both runs finish; diverged: 1 of 5 vs. 0 of 5; failed: 1 of 5 vs. 0 of 5"
    assert list(to_frame(found(frame)).iloc[0][["value_failed", "baseline_failed"]]) == [1, 0]
    frame = frame.replace({"state": {"diverged": "failed"}})
    assert verdict(of_axis(found(frame), "activation")) == "helps where both runs finish; failed: 2 of 5 vs. 0 of 5"
    running = frame.replace({"state": {"failed": "running"}})  # not due to the change
    assert verdict(of_axis(found(running), "activation")) == "helps"


def test_diverged_runs_can_count_as_chance() -> None:
    frame = diverging([0.02, None, 0.018, None, 0.019]).assign(num_classes=10, val_curve="0.5")
    frame.loc[frame["state"].eq("diverged"), "val_curve"] = None
    result = found(frame, is_chance=True)
    one = of_axis(result, "activation")
    assert one.means == (0.02, -0.4, 0.018, -0.4, 0.019)
    assert verdict(one) == "not significant; diverged, as chance: 2 of 5 vs. 0 of 5"
    assert any(
        note.startswith("2 diverged runs count as chance accuracy, 1 / number of classes") for note in result.notes
    )
    assert not any("test_acc: with" in line for line in caption(result))  # the differences are far from normal
    curves = of_axis(result, "activation", "mean_val_acc")
    assert curves.seeds == 3 and not curves.is_scored  # only accuracies have a known chance level
    hurt = of_axis(found(diverging([-0.39, None, -0.41]).assign(num_classes=10), is_chance=True), "activation")
    assert verdict(hurt) == "hurts; diverged, as chance: 1 of 3 vs. 0 of 3"
    unknown = of_axis(found(diverging([0.02, None, 0.018]), is_chance=True), "activation")
    assert unknown.seeds == 2 and verdict(unknown).startswith("helps where both runs finish")


def test_a_value_without_a_finished_run_is_compared_as_chance() -> None:
    frame = diverging([None, None], [0.5, 0.6]).assign(num_classes=4)
    assert found(frame).nothing is not None
    assert of_axis(found(frame, {"activation": "relu"}, is_chance=True), "activation").means == (-0.25, -0.35)


def test_diverged_as_chance_requires_a_measure_with_a_known_chance_level() -> None:
    sentence = "--diverged-as-chance affects only test_acc and test_balanced_acc; add one of them with --measure"
    with pytest.raises(UserError, match=sentence):
        Method(measures=["test_ece"], is_chance=True)


def test_diverged_runs_of_segmentation_do_not_count_as_chance() -> None:
    accuracies = diverging([0.02, None, 0.018]).assign(num_classes=10)
    masks = accuracies.rename(columns={"test_acc": "test_miou", "test_miou": "test_acc"})
    masks = masks.assign(run_id=[f"masks-{number}" for number in range(len(masks))], data="digit_scenes")
    masks["data.fingerprint"] = "beef"
    with pytest.raises(UserError, match=r"^--diverged-as-chance affects only .*, which no run here has$"):
        found(masks, is_chance=True)
    both = found(pd.concat([accuracies, masks], ignore_index=True), is_chance=True)
    acc, miou = (of_axis(both, "activation", metric) for metric in ("test_acc", "test_miou"))
    assert (acc.seeds, acc.is_scored, miou.seeds, miou.is_scored) == (3, True, 2, False)
    assert verdict(miou) == "helps where both runs finish; diverged: 1 of 3 vs. 0 of 3"
    assert "digit_scenes: --diverged-as-chance has no effect: no accuracies" in both.notes


def test_an_interaction_counts_runs_that_diverge() -> None:
    accs = {("cnn", "relu"): 0.5, ("cnn", "selu"): 0.6, ("mlp", "relu"): 0.5, ("mlp", "selu"): 0.8}
    rows = [
        run
        for (model, name), acc in accs.items()
        for run in runs("activation", {name: [acc, acc + 0.001, acc, acc]}, model=model)
    ]
    frame = table(*rows)
    frame.loc[frame["seed"].eq(3) & frame["activation"].eq("selu") & frame["model"].eq("mlp"), "state"] = "diverged"
    frame["test_images"] = 1000
    (one,) = found(frame, {"activation": "relu", "model": "cnn"}).interactions
    assert verdict(one) == "effect better with mlp than with cnn where all runs finish; diverged: 1 of 8 vs. 0 of 8"


@pytest.mark.parametrize(
    ("epochs_done", "best_epoch", "patience", "is_limited"),
    [(30, 28, 5, True), (30, 25, 5, False), (30, 26, 5, True), (29, 28, 5, False), (30, 30, None, False)],
)
def test_a_run_is_limited_where_early_stopping_did_not_end_it(
    epochs_done: int, best_epoch: int, patience: int | None, is_limited: bool
) -> None:
    ended: dict[str, Any] = {"epochs": 30, "patience": patience, "epochs_done": epochs_done, "best_epoch": best_epoch}
    early: dict[str, Any] = {"epochs": 30, "patience": patience, "epochs_done": 12, "best_epoch": 7}
    frame = table(*runs("activation", {"relu": [1, 2, 3]}, **early), *runs("activation", {"selu": [2, 4, 7]}, **ended))
    result = found(frame, {"activation": "relu"})
    one = of_axis(result, "activation")
    assert one.limited is not None and (one.limited.value, one.limited.baseline) == (3 * is_limited, 0)
    line = "Ended by the epoch limit, not by early stopping: activation=selu 3 of 3 vs. 0 of 3"
    assert (line in caption(result)) == is_limited

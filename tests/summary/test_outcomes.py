"""How the runs of a comparison ended: survivors, and budgets that bind."""

from typing import Any

import pandas as pd
import pytest
from paired import found, of_axis, runs, table

from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
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
    assert "activation=selu: no run finished, all diverged" in result.notes


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
    assert verdict(one) == "gains more with mlp than with cnn where all runs finish; diverged: 1 of 8 vs. 0 of 8"


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

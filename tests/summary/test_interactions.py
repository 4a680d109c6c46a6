"""Interactions: whether the effect of a change depends on another setting."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from paired import found, runs, table
from scipy import stats

from sweeper.summary.intervals import holm
from sweeper.summary.verdicts import verdict


def grid_of(accs: Mapping[tuple[str, str], Sequence[Any]], measure: str = "test_acc") -> pd.DataFrame:
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
    assert verdict(one) == "effect better with mlp than with cnn"
    (turned,) = found(grid_of(CROSSED), {"model": "mlp", "activation": "relu"}).interactions
    assert verdict(turned) == "effect worse with cnn than with mlp" and turned.mean == pytest.approx(-10 / 3)
    (epochs,) = found(grid_of(CROSSED, "epochs_to_target"), {"model": "cnn", "activation": "relu"}).interactions
    assert verdict(epochs) == "effect slower with mlp than with cnn"


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
    (one,) = found(apart).interactions  # the batch size changes with the model
    assert {"model=mlp + batch_size=64"} < {change.name for change in one.changes}


def test_a_target_not_reached_is_one_epoch_after_the_last_in_an_interaction_too() -> None:
    # E = 9. selu - relu with mlp: 2 - 10, 10 - 5, 3 - 10; with cnn: 3 - 5, 3 - 5, 3 - 10. Differences: -6, 7, 0.
    accs: dict[tuple[str, str], list[Any]] = {
        ("cnn", "relu"): [5, 5, ">9"],
        ("cnn", "selu"): [3, 3, 3],
        ("mlp", "relu"): [">9", 5, ">9"],
        ("mlp", "selu"): [2, ">9", 3],
    }
    frame = grid_of(accs, "epochs_to_target").assign(epochs=9)
    (one,) = found(frame, {"model": "cnn", "activation": "relu"}).interactions
    assert (one.pairs, one.means, one.lower, one.higher, one.tied) == (3, (-6, 7, 0), 1, 1, 1)


def test_the_level_of_a_quadruple_is_reached_by_all_four_runs() -> None:
    curves = {
        ("cnn", "relu"): "0.5 0.6",
        ("cnn", "selu"): "0.6 0.6",
        ("mlp", "relu"): "0.4 0.5 0.6 0.7 0.8",
        ("mlp", "selu"): "0.5 0.7 0.8",
    }
    frame = grid_of({cell: [curve, curve] for cell, curve in curves.items()}, "val_curve")
    found_by = {one.metric: one for one in found(frame, {"model": "cnn", "activation": "relu"}).interactions}
    # Level 0.99 x 0.6: epochs 2, 1, 3, 2.
    assert found_by["epochs_to_level"].means == ((2 - 3) - (1 - 2),) * 2


def test_an_interaction_over_models_that_disagree_is_one_on_average() -> None:
    rows = [
        run
        for model, gain in (("cnn", 0.03), ("mlp", -0.01))
        for norm in ("none", "batch")
        for run in runs(
            "activation",
            {
                "relu": [0.5, 0.5, 0.5],
                "selu": [0.5 + (gain + step if norm == "batch" else 0) for step in (0, 0.001, -0.001)],
            },
            model=model,
            norm=norm,
        )
    ]
    result = found(table(*rows), {"norm": "none", "activation": "relu", "model": "cnn"})
    (one,) = [one for one in result.interactions if {change.axis for change in one.changes} == {"activation", "norm"}]
    assert one.models_up == 1
    assert verdict(one) == "effect better with batch than with none on average: from -0.0100 (mlp) to +0.0300 (cnn)"

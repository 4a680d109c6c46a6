"""Known intervals of real runs: the effects of the exercises as version 0.1 trained them, and of transfer."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from processes import REPOSITORY

from sweeper.summary.columns import RESULTS
from sweeper.summary.effects import effects
from sweeper.summary.effects_lines import format_p
from sweeper.summary.inference import Comparison
from sweeper.summary.intervals import new_model_interval
from sweeper.summary.study import Method
from sweeper.summary.verdicts import verdict

SWEPT: Mapping[str, Mapping[str, str | float]] = {
    "norm": {"activation": "relu", "dropout.rate": 0.0},
    "dropout.rate": {"activation": "relu", "norm": "none"},
    "activation": {"norm": "none", "dropout.rate": 0.0},
}


def compared(axis: str) -> list[Comparison]:
    """Return the comparisons of an axis in the exercises' runs of version 0.1 with Adam, by test_acc."""
    frame = pd.read_csv(Path(__file__).parent / "exercises_01.csv").drop(columns="sweeps")
    frame["dropout.rate"] = frame["dropout.rate"].fillna(0.0)
    frame = frame[(frame["optimizer"] == "adam") & (frame["optimizer.lr"] == 0.0005)]
    for column, value in SWEPT[axis].items():
        frame = frame[frame[column] == value]
    result = effects(frame.reindex(columns=list(dict.fromkeys([*frame.columns, *RESULTS]))))
    return [one for one in result.comparisons if one.changes[0].axis == axis and one.metric == "test_acc"]


@pytest.mark.parametrize(
    ("axis", "value", "family", "new_model", "result"),
    [
        ("norm", "batch", (0.0107, 0.0295), (0.007, 0.033), "helps"),
        (
            *("dropout.rate", 0.1, (0.0086, 0.0210), (-0.038, 0.067)),
            "helps on average: from -0.0004 (mlp) to +0.0306 (cnn)",
        ),
        ("dropout.rate", 0.5, (-0.0231, 0.0079), (-0.052, 0.037), "not significant"),
        ("activation", "leaky_relu", (-0.0190, 0.0245), (-0.007, 0.012), "not significant"),
        ("activation", "selu", (-0.0511, 0.0056), (-0.072, 0.027), "not significant"),
    ],
)
def test_intervals_are_those_of_the_specification(
    axis: str, value: str | float, family: tuple[float, float], new_model: tuple[float, float], result: str
) -> None:
    (one,) = [one for one in compared(axis) if one.changes[0].value == value]
    assert (one.pairs, one.seeds, len(one.models)) == (12, 3, 4)
    assert one.family == pytest.approx(family, abs=5.1e-5)
    from_models = new_model_interval([model.mean for model in one.models], 0.05) or (0.0, 0.0)
    assert from_models == pytest.approx(new_model, abs=5.1e-4)
    assert verdict(one) == result
    high = (one.family or (0.0, 0.0))[1]
    wide = (one.new_model or (0.0, 0.0))[1] - one.mean  # known no better than the mean of these models
    assert wide == pytest.approx(math.hypot(from_models[1] - one.mean, high - one.mean))


@pytest.mark.parametrize(
    ("seeds", "method", "cells"),
    [
        (5, Method(), ("-0.1334", "[-0.1843, -0.0826]", "0.0016", "hurts")),
        (3, Method(), ("-0.1412", "[-0.2915, +0.0091]", "0.0563", "not significant")),
        (5, Method(is_anytime=True), ("-0.1334", "[-0.2317, -0.0352]", "0.0228", "hurts")),
    ],
)
def test_the_documented_effects_of_transfer(seeds: int, method: Method, cells: tuple[str, ...]) -> None:
    frame = pd.read_csv(REPOSITORY / "docs/transfer.csv").drop(columns="sweeps")
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *RESULTS])))
    result = effects(frame[frame["seed"] < seeds], method=method)
    (one,) = [one for one in result.comparisons if one.metric == "test_acc" and one.changes[0].axis == "model.weights"]
    low, high = one.family or (0.0, 0.0)
    assert (f"{one.mean:+.4f}", f"[{low:+.4f}, {high:+.4f}]", format_p(one.corrected), verdict(one)) == cells


def test_runs_that_the_epoch_limit_ended_are_counted() -> None:
    texts = [one.limited.text for one in compared("dropout.rate") if one.limited is not None]
    assert texts == ["3 of 12 vs. 0 of 12", "7 of 12 vs. 0 of 12"]

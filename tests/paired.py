"""Frames of runs as `gather` returns them, made of the results that a test compares."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sweeper.summary.columns import RESULTS
from sweeper.summary.effects import Effects, effects
from sweeper.summary.inference import Comparison
from sweeper.summary.study import Method


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


def found(frame: pd.DataFrame, baseline: dict[str, Any] | None = None, **method: Any) -> Effects:
    return effects(frame, baseline, defaults={}, method=Method(**method))


def of_axis(result: Effects, axis: str, metric: str = "test_acc") -> Comparison:
    """Return the only comparison of an axis by a metric."""
    (one,) = [one for one in result.comparisons if one.changes[0].axis == axis and one.metric == metric]
    return one


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

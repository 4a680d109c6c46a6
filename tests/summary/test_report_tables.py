"""The report's tables of effects."""

import pytest
from paired import found, runs, table

from sweeper.summary.report_tables import effect_tables


def test_the_report_has_a_line_for_each_model_and_draws_the_interval_that_p_was_judged_at() -> None:
    gains = {"cnn": [0.02, 0.021, 0.019], "mlp": [-0.001, 0.002, 0.001]}
    rows = [
        run
        for model, values in gains.items()
        for run in runs("norm", {"none": [0.5] * 3, "batch": [0.5 + gain for gain in values]}, model=model)
    ]
    result = found(table(*rows), {"norm": "none", "model": "cnn"})
    first, crossed = effect_tables(result)
    change = next(row for row in first["rows"] if row["changes"][:1] == [("norm=batch", "none")])
    models = [row for row in first["rows"] if row["model"] is not None]
    assert change["models"] == "2 of 2 up" and [row["model"] for row in models] == ["cnn", "mlp"]
    assert [row["mean"] for row in models] == ["+0.0200", "+0.0007"]
    assert crossed["crossed"] and crossed["title"] == "test_acc: interactions (exploratory)"
    one = next(one for one in result.comparisons if one.changes[0].axis == "norm")
    low, high = one.family or (0.0, 0.0)
    assert change["interval"] == f"{low:+.4f} to {high:+.4f}"
    left, right = map(float, change["ends"])
    assert (left, right) == pytest.approx((low * right / high, right), abs=0.06)
    assert all(abs(float(row["middle"])) <= 100 for row in first["rows"])

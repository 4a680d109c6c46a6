"""Parallel coordinates: positions of settings and results on their axes."""

from pathlib import Path
from typing import Any

import pytest
from reports import exercises

from sweeper.summary.report_parallel import measure_axis, parallel, setting_axis, settings_shown
from sweeper.summary.table import lay_out, read_runs


def test_every_configuration_has_a_place_on_every_axis(tmp_path: Path) -> None:
    exercises(tmp_path)
    frame, _ = read_runs(tmp_path)
    table, _ = lay_out(frame, over="seed")
    found = parallel(table, settings_shown(table))
    assert found is not None
    assert [axis["name"] for axis in found["axes"]] == [
        "model",
        "optimizer.lr",
        "validation accuracy (%)",
        "training seconds",
        "test accuracy (%)",
    ]
    assert len(found["rows"]) == len(table) == len(found["names"]) and {len(row) for row in found["rows"]} == {5}
    rates = {text: place for place, text in found["axes"][1]["ticks"]}
    assert rates == {"0.0005": 0.0, "0.001": 0.5, "0.01": 1.0}
    for row, lr in zip(found["rows"], table["optimizer.lr"], strict=True):
        assert row[1] == rates[f"{lr:.6g}"]
    assert found["rows"][0][-1] == 1.0 and found["names"][0] == "model=cnn, optimizer.lr=0.01: test accuracy 73.5%"


@pytest.mark.parametrize(
    "values, places, texts",
    [
        (["b", "a", None], [0.5, 0.0, 1.0], ["a", "b", "-"]),
        ([10.0, 2.0, 2.0], [1.0, 0.0, 0.0], ["2", "10"]),
        (["x", "x"], [0.5, 0.5], ["x"]),
        ([True, False], [1.0, 0.0], ["no", "yes"]),
    ],
)
def test_values_of_a_setting_are_one_above_the_other(values: list[Any], places: list[float], texts: list[str]) -> None:
    axis = setting_axis("name", values)
    assert axis["places"] == places and [text for _, text in axis["ticks"]] == texts and axis["steps"]


def test_many_numbers_are_on_a_scale_that_is_logarithmic_where_they_differ_much() -> None:
    linear = setting_axis("width", [float(value) for value in range(10, 20)])
    assert not linear["steps"] and linear["places"][:2] == [0.0, pytest.approx(1 / 9, abs=1e-4)]
    rates = [10.0**-power for power in range(9)]
    log = setting_axis("lr", rates)
    assert log["is_log"] and log["places"] == pytest.approx([1 - power / 8 for power in range(9)], abs=1e-4)
    assert [text for _, text in log["ticks"]][-1] == "1"


def test_a_missing_result_has_no_place() -> None:
    axis = measure_axis("test_acc", "test accuracy", [0.5, None, float("nan"), 0.7])
    assert axis["places"] == [0.0, None, None, 1.0] and axis["name"] == "test accuracy (%)"


def test_little_that_varies_has_no_picture(tmp_path: Path) -> None:
    exercises(tmp_path)
    frame, _ = read_runs(tmp_path)
    table, _ = lay_out(frame, over="seed")
    assert parallel(table.iloc[:2], ["model"]) is None and parallel(table, []) is None

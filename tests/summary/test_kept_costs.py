"""Measured costs are kept, and effects take them in place of recorded speeds."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from paired import found, of_axis, table
from records import finish

from sweeper.summary.cost import CAPTION, MEASURED_CAPTION, Cost, format_cost
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.gather import gather
from sweeper.summary.kept_costs import FILE, KeptCost, keep_costs, read_costs
from sweeper.summary.run_row import digest
from sweeper.sweep.designs import screening


def cell(ratio: float, memory: float | None = None, key: str = "reference on here", spread: float = 0.0) -> str:
    return json.dumps({key: [ratio, spread, memory, 1.0]})


def runs(**costs: str | None) -> list[dict[str, Any]]:
    """Three activations and two seeds, twice as slow by their records with gelu, and the given cells of seed 0."""
    return [
        {"activation": name, "seed": seed, "test_acc": 0.5 + seed / 100, "machine": "here"}
        | {"images_per_second": 500 if name == "gelu" else 1000, "costs": costs.get(name) if seed == 0 else None}
        for name in ("relu", "gelu", "selu")
        for seed in (0, 1)
    ]


def cost(made: list[dict[str, Any]], value: str) -> Cost:
    (one,) = [
        comparison.cost
        for comparison in found(table(*made), {"activation": "relu"}).comparisons
        if comparison.metric == "test_acc" and comparison.changes[0].value == value
    ]
    assert one is not None
    return one


def test_a_measured_pair_counts_more_than_recorded_speeds() -> None:
    made = runs(relu=cell(1.0, 4e9), gelu=cell(1.25, 5e9))
    gelu, selu = cost(made, "gelu"), cost(made, "selu")
    assert gelu.step_time == pytest.approx(1.25) and gelu.memory == pytest.approx(1.25) and gelu.is_measured
    assert [(len(plus), len(minus)) for plus, minus in gelu.pairs] == [(1, 1)]  # that of seed 0
    assert selu == Cost(1.0, None, None, selu.pairs, half_width=0) and len(selu.pairs) == 2
    result = found(table(*made), {"activation": "relu"})
    lines = caption(result)
    assert CAPTION in lines and "measured by `python -m sweeper cost`: activation=gelu" in lines
    assert "Peak memory: activation=gelu +25.0%" in lines
    rows = to_frame(result).head(2).set_index("value")
    assert rows["cost_measured"].to_dict() == {"gelu": True, "selu": False}
    assert rows.loc["gelu", "memory_ratio"] == pytest.approx(1.25)


def test_a_measured_cost_is_no_better_known_than_its_blocks_agree() -> None:
    """Half the interquartile range of the blocks of both sides; where that is a tenth, recorded speeds count."""
    clear, unclear, noisy = (
        cost(runs(relu=cell(1.0, spread=0.03), gelu=cell(ratio, spread=spread)), "gelu")
        for ratio, spread in ((1.25, 0.04), (0.96, 0.04), (0.95, 0.68))
    )
    assert clear.interval == pytest.approx((1.25 * math.exp(-0.05), 1.25 * math.exp(0.05)))
    assert (clear.is_clear, unclear.is_clear, unclear.is_measured) == (True, False, True)
    assert (format_cost(clear), format_cost(unclear)) == ("+25%", "±9%")
    assert (noisy.step_time, noisy.is_measured) == (2.0, False)


def test_where_all_costs_are_measured_no_recorded_speed_is_spoken_of() -> None:
    lines = caption(found(table(*runs(relu=cell(1.0), gelu=cell(2.0), selu=cell(1.5))), {"activation": "relu"}))
    assert MEASURED_CAPTION in lines and CAPTION not in lines and not any("memory" in line for line in lines)


def test_only_what_one_measurement_has_is_compared() -> None:
    apart = cost(runs(relu=cell(1.0), gelu=cell(9.0, key="reference on there")), "gelu")
    assert (apart.step_time, apart.is_measured) == (2.0, False)
    both = json.dumps({"reference on here": [1.5, 0, None, 1.0], "reference on there": [9.0, 0, None, 2.0]})
    assert cost(runs(relu=cell(1.0), gelu=both), "gelu").step_time == 1.5


def test_the_newest_measurement_counts() -> None:
    def both(ratio: float, at: float) -> str:
        return json.dumps(
            {"a on here, threads=1": [ratio, 0, None, 2.0], "b on here, threads=4": [1 / ratio, 0, None, at]}
        )

    assert cost(runs(relu=both(1.0, 1.0), gelu=both(1.5, 1.0)), "gelu").step_time == pytest.approx(1.5)
    assert cost(runs(relu=both(1.0, 3.0), gelu=both(1.5, 3.0)), "gelu").step_time == pytest.approx(1 / 1.5)


def test_a_screen_is_balanced_by_all_pairs_of_a_seed() -> None:
    tricks = ("norm", "loss", "mixing", "averaging", "views", "init", "augmentation.flip")
    slower = [math.log(factor) for factor in (1.3, 1.0, 1.1, 1.0, 1.2, 1.0, 2.0)]
    made = [
        {name: "on" if sign > 0 else "off" for name, sign in zip(tricks, row, strict=True)}
        | {"seed": seed, "test_acc": 0.5 + seed / 100, "machine": "here", "images_per_second": 1000}
        | {"costs": cell(math.exp(sum(map(float.__mul__, map(float, row), slower)) / 2)) if seed == 0 else None}
        for seed in range(2)
        for row in screening(7)
    ]

    def of_norm() -> Cost:
        one = of_axis(found(table(*made), dict.fromkeys(tricks, "off")), "norm").cost
        assert one is not None
        return one

    assert of_norm().is_measured and of_norm().step_time == pytest.approx(1.3)
    made[0]["costs"] = None
    assert not of_norm().is_measured and of_norm().step_time == 1


def test_measurements_are_added_to_those_that_are_kept(tmp_path: Path) -> None:
    here, there = "a on here", "a on there"
    keep_costs(tmp_path, {here: {"a": KeptCost(1.0, 0.1, None, "c"), "b": KeptCost(2.0, 0.1, None, "c")}})
    first = read_costs(tmp_path)[here]["a"].at
    keep_costs(tmp_path, {here: {"b": KeptCost(3.0, 0.1, None, "c")}, there: {"b": KeptCost(5.0, 0.1, 7.0, "d")}})
    kept = read_costs(tmp_path)
    assert kept[here] == {
        "a": KeptCost(1.0, 0.1, None, "c", first),
        "b": KeptCost(3.0, 0.1, None, "c", kept[here]["b"].at),
    }
    assert kept[there].keys() == {"b"} and kept[here]["b"].at == kept[there]["b"].at >= first > 1.7e9


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": 2, "measurements": []}',
        '{"schema": 2, "measurements": {"k": {"a": [0, null], "b": 3, "c": [1.5, -1, null, "c", 1]}}}',
    ],
)
def test_a_file_that_is_damaged_or_foreign_has_no_costs(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_costs(tmp_path) == {}


def test_runs_are_read_with_what_was_measured_of_their_code(tmp_path: Path) -> None:
    finish(tmp_path, "a", [0.1, 0.2])
    frame = gather(tmp_path / "runs")[0]
    assert frame["costs"].tolist() == [None]  # and the run is in the index now
    code = digest(frame["code"].iloc[0])
    keep_costs(
        tmp_path,
        {"a on here": {"a": KeptCost(1.0, 0.1, None, code)}, "b on here": {"a": KeptCost(1.0, 0.1, 3.0, "old")}},
    )
    (costs,) = gather(tmp_path / "runs")[0]["costs"]
    assert json.loads(costs).keys() == {"a on here"}


def test_a_memory_that_none_can_have_is_not_known(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"schema": 2, "measurements": {"here": {"a": [1.5, 0.2, -2, "c", 1]}}}')
    assert read_costs(tmp_path) == {"here": {"a": KeptCost(1.5, 0.2, None, "c", 1.0)}}

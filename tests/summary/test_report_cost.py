"""The report's cost: in the tables, and in the picture of effect against cost."""

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from paired import found, table
from records import curve, finish
from reports import Page

from sweeper.files import write_json
from sweeper.summary.report import render
from sweeper.summary.report_cost import (
    CHARACTER,
    LEFT,
    RIGHT,
    Point,
    cost_picture,
    label_places,
    overlap,
    pareto_front,
    picture,
)
from sweeper.summary.report_forest import effect_tables

# norm: effect on test_acc, seconds per step over the baseline's
KINDS = {"none": (0.0, 1.0), "batch": (0.02, 1.1), "group": (0.01, 1.5), "layer": (0.03, 2.0)}


def runs(**same: Any) -> list[dict[str, Any]]:
    return [
        {"norm": norm, "seed": seed, "test_acc": 0.5 + effect + seed / 1000, "images_per_second": 1000 / step_time}
        | {"machine": "here", **same}
        for norm, (effect, step_time) in KINDS.items()
        for seed in range(3)
    ]


def test_the_front_has_what_no_other_beats() -> None:
    points = [Point(norm, *values) for norm, values in KINDS.items()]
    assert [point.name for point in pareto_front(points)] == ["none", "batch", "layer"]
    twins = [Point("one", 0.1, 1.2), Point("other", 0.1, 1.2), Point("dearer", 0.1, 1.3), Point("worse", 0.0, 1.2)]
    assert {point.name for point in pareto_front(twins)} == {"one", "other"}
    faster = [Point("baseline", 0.0, 1.0), Point("fast", 0.0, 0.8)]
    assert [point.name for point in pareto_front(faster)] == ["fast"]


def test_the_picture_has_a_point_for_each_change_and_the_baseline() -> None:
    drawn = cost_picture(found(table(*runs()), {"norm": "none"}))
    assert drawn is not None
    points = {point["name"]: point for point in drawn["points"]}
    assert {name for name, point in points.items() if point["is_best"]} == {"baseline", "norm=batch", "norm=layer"}
    assert points["norm=layer"]["text"] == "norm=layer: +3.0 points, +100% a step"
    assert drawn["front"].count(",") == 3
    ticks = {text: float(x) for x, text in drawn["x_ticks"]}
    assert ticks["0%"] == float(points["baseline"]["x"]) and ticks["+100%"] == float(points["norm=layer"]["x"])
    heights = {text: float(y) for y, text in drawn["y_ticks"]}
    assert heights["0"] == float(points["baseline"]["y"]) and heights["+3"] == float(points["norm=layer"]["y"])


def test_cost_is_on_a_log_scale() -> None:
    drawn = picture([Point(str(ratio), 0.0, ratio) for ratio in (0.5, 1, 2)])
    places = [float(point["x"]) for point in drawn["points"]]
    assert places[1] == pytest.approx((LEFT + RIGHT) / 2) and places[1] - places[0] == pytest.approx(
        places[2] - places[1]
    )
    margin = 0.08 * math.log(4) / (math.log(4) * 1.16) * (RIGHT - LEFT)
    assert places[0] == pytest.approx(LEFT + margin, abs=0.1)


def test_labels_cover_neither_points_nor_each_other() -> None:
    points = [(200.0, 100.0), (206.0, 104.0), (212.0, 96.0), (430.0, 100.0)]
    names = ["baseline", "norm=batch", "dropout.rate=0.5", "activation=gelu"]
    labels = label_places(points, names)
    boxes = [label.box(CHARACTER * len(name)) for label, name in zip(labels, names, strict=True)]
    dots = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    assert not any(overlap(box, dot) for box in boxes for dot in dots)
    assert labels[3].anchor == "end"  # at the right edge


def test_a_ruined_change_has_its_number() -> None:
    points = [Point("baseline", 0.0, 1.0), Point("a", 0.01, 1.1), Point("b", 0.02, 1.2), Point("ruin", -0.6, 1.3)]
    assert [point["name"] for point in picture(points)["points"]][2:] == ["b", "ruin (-60.0)"]


def test_without_known_costs_there_is_neither_picture_nor_column() -> None:
    unknown = found(table(*runs(machine=None)), {"norm": "none"})
    assert cost_picture(unknown) is None and not any(one["cost"] for one in effect_tables(unknown))
    first, *others = effect_tables(found(table(*runs()), {"norm": "none"}))
    assert first["cost"] and [row["cost"] for row in first["rows"]] == ["+10%", "+50%", "+100%"]
    assert not any(one["cost"] for one in others)


def test_the_page_has_the_column_and_the_picture(tmp_path: Path) -> None:
    for norm, (effect, step_time) in KINDS.items():
        record = finish(tmp_path, norm, [0.5], 0.5 + effect, norm={"name": norm})
        here = {"host": (record.status() or {})["host"], "device": "x86_64", "threads": 2}
        write_json(record.folder / "run.json", (record.run() or {}) | here)
        record.write_metrics([row | {"images_per_second": 1000 / step_time} for row in curve([0.5])])
    text = render(tmp_path)
    page = Page(text)
    assert "cost" in [heading.strip() for _, heading in page.of("th")] and "+50%" in page.texts
    assert text.count('<svg class="cost"') == 1 and text.count('<circle class="point') == 4
    assert "norm=group: +1.0 points, +50% a step" in [title for _, title in page.of("title")]

"""What a change costs by the records of its runs: times of a training step and parameters, from pairs."""

import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paired import found, of_axis, table
from records import curve, finish

from sweeper.summary.columns import is_missing
from sweeper.summary.cost import CAPTION, SINGLE, UNCERTAIN, Cost, format_ratio
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table
from sweeper.summary.gather import gather
from sweeper.summary.report_cost import cost_picture
from sweeper.summary.report_forest import forest
from sweeper.summary.sentences import answers
from sweeper.sweep.designs import screening

# images per second of each seed: without batch normalization, with
SPEEDS = {"cnn": ((1000, 900), (1100, 950), (900, 850)), "mlp": ((9000, 8100), (8000, 7000), (8500, 7440))}
PARAMETERS = {("cnn", "none"): 1000, ("cnn", "batch"): 1010, ("mlp", "none"): 5000, ("mlp", "batch"): 5000}


def crossed(**same: Any) -> list[dict[str, Any]]:
    """Two models with and without batch normalization, three seeds each."""
    return [
        {"model": model, "norm": norm, "seed": seed, "test_acc": 0.5 + seed / 100, "images_per_second": speed}
        | {"parameters": PARAMETERS[model, norm], "machine": "here", "batch_size": 64, **same}
        for model, speeds in SPEEDS.items()
        for seed, pair in enumerate(speeds)
        for norm, speed in zip(("none", "batch"), pair, strict=True)
    ]


BASELINE = {"norm": "none", "model": "cnn"}


def cost(*made: dict[str, Any], axis: str = "norm", **baseline: Any) -> Cost:
    """Return what the only change of an axis costs."""
    found_cost = of_axis(found(table(*made), baseline or BASELINE), axis).cost
    assert found_cost is not None
    return found_cost


def test_cost_is_the_geometric_mean_over_pairs() -> None:
    ratios = [before / after for pairs in SPEEDS.values() for before, after in pairs]
    norm = cost(*crossed())
    assert norm.step_time == pytest.approx(math.prod(ratios) ** (1 / 6))
    assert norm.parameters == pytest.approx(math.sqrt(1.01))
    assert len(norm.pairs) == 6 and (["run-0001"], ["run-0000"]) in [(list(one), list(two)) for one, two in norm.pairs]


def test_cost_is_that_of_a_step_whatever_the_size_of_a_batch() -> None:
    small, large = ({"batch_size": size, "images_per_second": 1000, "machine": "here"} for size in (64, 128))
    made = [one | {"seed": seed, "test_acc": 0.5} for seed in range(2) for one in (small, large)]
    assert cost(*made, axis="batch_size", batch_size=64).step_time == pytest.approx(2)


def test_only_runs_of_one_machine_are_compared() -> None:
    made = crossed()
    for run in made[:6]:
        run["machine"] = f"{run['norm']} ran here"
    made[6]["machine"] = None
    norm = cost(*made)
    assert norm.step_time == pytest.approx(math.sqrt(8000 / 7000 * 8500 / 7440)) and len(norm.pairs) == 2
    assert norm.parameters == pytest.approx(math.sqrt(1.01))  # these do not depend on the machine
    assert cost(*[run | {"machine": None} for run in made]) == Cost(None, norm.parameters)


def test_a_run_without_its_speed_leaves_no_cost() -> None:
    made = crossed()
    made[0]["images_per_second"] = None
    assert cost(*made).step_time is None


def test_tables_captions_and_rows_have_the_cost_where_it_is_known() -> None:
    result = found(table(*crossed()), BASELINE)
    text = as_table(result)
    step_time = cost(*crossed()).step_time or 0
    assert f" +{round(100 * (step_time - 1))}% " in text
    assert text.count(" cost ┃") == 1  # interactions have none
    assert CAPTION in caption(result) and "Parameters: model=mlp +397.5%, norm=batch +0.5%" in caption(result)
    row = to_frame(result).set_index("axis").loc["norm"]
    row = row if isinstance(row, pd.Series) else row.iloc[0]
    assert row["step_time_ratio"] == step_time and row["parameters_ratio"] == pytest.approx(math.sqrt(1.01))
    unknown = found(table(*crossed(images_per_second=None)), BASELINE)
    assert "cost" not in as_table(unknown) and CAPTION not in caption(unknown)


def test_a_cost_on_which_the_pairs_disagree_is_shown_nowhere() -> None:
    made = crossed()
    for run in made[7::2]:
        run["images_per_second"] /= 3  # models may differ in what a change costs
    assert cost(*made).step_time is not None
    made[1]["images_per_second"] = 500  # something else ran beside it
    result = found(table(*made), BASELINE)
    unsteady = cost(*made)
    assert (unsteady.step_time, len(unsteady.pairs), unsteady.is_steady) == (None, 6, False) and unsteady.parameters
    (plotted,) = [row for row in (forest(result) or {"rows": []})["rows"] if row["name"] == "norm=batch"]
    assert plotted["cost"] == "-" and cost_picture(result) is None
    text = as_table(result)
    (row,) = [line for line in text.splitlines() if line.startswith("│ norm=batch") and "rather" not in line][:1]
    assert "%" not in row
    assert "the pairs disagree by more than a tenth" in text and "measures it): model=mlp, norm=batch\n" in text
    assert to_frame(result).loc[lambda rows: rows["axis"] == "norm", "step_time_ratio"].isna().all()


def test_recorded_speeds_that_show_no_difference_are_not_called_slower_or_faster() -> None:
    speeds = {"none": (1000, 1000, 1000), "batch": (1000, 960, 980), "group": (900, 880, 890)}
    made = [
        {
            "norm": norm,
            "seed": seed,
            "test_acc": 0.5 + seed / 100 + (norm != "none") * (1 + seed / 9) / 10,
            "images_per_second": speed,
        }
        | {"machine": "here"}
        for norm, of_norm in speeds.items()
        for seed, speed in enumerate(of_norm)
    ]
    result = found(table(*made), {"norm": "none"})
    batch, group = (
        next(one for one in result.comparisons if one.changes[0].value == name) for name in speeds if name != "none"
    )
    logs = [math.log(1000 / speed) for speed in speeds["batch"]]
    middle, error = fmean(logs), stdev(logs) / math.sqrt(3)
    assert batch.cost is not None and group.cost is not None and batch.cost.interval is not None
    ends = [math.exp(middle + sign * 4.302653 * error) for sign in (-1, 1)]  # Student's t, two degrees of freedom
    assert batch.cost.interval == pytest.approx(ends) and ends[0] < 1 < ends[1]
    assert not batch.cost.is_clear and group.cost.is_clear
    text, lines = as_table(result), caption(result)
    assert f" ±{math.ceil(100 * (ends[1] - 1))}% " in text and " +12% " in text and UNCERTAIN in lines
    sentences = [sentence for answer in answers(result) for sentence in answer.sentences]
    assert ["12% slower a step" in sentence for sentence in sentences] == ["norm=group" in it for it in sentences]
    assert not any("a step" in sentence for sentence in sentences if "norm=batch" in sentence) and len(sentences) == 2
    rows = to_frame(result).set_index("value")
    assert (rows.loc["batch", "low_step_time"], rows.loc["batch", "high_step_time"]) == batch.cost.interval
    drawn = cost_picture(result)
    assert drawn is not None and [point["times"] is None for point in drawn["points"]] == [True, False, False]
    without = found(table(*(run for run in made if run["norm"] != "batch")), {"norm": "none"})
    assert UNCERTAIN not in caption(without)


def test_the_cost_of_a_single_pair_is_said_to_be_one_that_other_load_may_have_changed() -> None:
    made = [run for run in crossed() if run["model"] == "cnn" and run["seed"] == 0]
    assert cost(*made, norm="none").step_time == pytest.approx(1000 / 900)
    assert f"{SINGLE}: norm=batch" in caption(found(table(*made), {"norm": "none"}))
    assert not any(line.startswith(SINGLE) for line in caption(found(table(*crossed()), BASELINE)))


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(None, "-"), (1.0, "0%"), (1.041, "+4%"), (0.999, "0%"), (0.5, "-50%"), (9.9, "+890%"), (1234.5, "x1,234")],
)
def test_a_ratio_is_shown_as_the_change_that_it_is(ratio: float | None, text: str) -> None:
    assert format_ratio(ratio) == text


def test_the_cost_of_a_screened_trick_is_a_contrast_and_needs_all_runs_on_one_machine() -> None:
    tricks = ("norm", "loss", "mixing", "averaging", "views", "init", "augmentation.flip")
    slower = np.log([1.3, 1.0, 1.1, 1.0, 1.02, 1.0, 2.0])
    made = [
        {name: "on" if sign > 0 else "off" for name, sign in zip(tricks, row, strict=True)}
        | {"seed": seed, "test_acc": 0.5 + seed / 100, "machine": "here"}
        | {"images_per_second": 1000 / math.exp(row @ slower / 2)}
        for seed in range(2)
        for row in screening(7)
    ]
    result = found(table(*made), dict.fromkeys(tricks, "off"))
    for name, effect in zip(tricks, slower, strict=True):
        known = of_axis(result, name).cost
        assert known is not None and known.step_time == pytest.approx(math.exp(effect))
    made[1] |= {"images_per_second": 5000}
    result = found(table(*made), dict.fromkeys(tricks, "off"))
    assert not any(one.cost.is_steady for one in result.comparisons if one.cost is not None)
    made[0]["machine"] = "there"
    result = found(table(*made), dict.fromkeys(tricks, "off"))
    assert {one.cost.step_time for one in result.comparisons if one.cost is not None} == {None}


def test_speed_and_machine_are_read_from_the_records(tmp_path: Path) -> None:
    record = finish(tmp_path, "measured", [0.1, 0.2, 0.3])
    host = (record.status() or {})["host"]
    there = {"device": "x86_64", "threads": 2}
    here = {"host": host} | there
    for run_id, of_run in (
        ("here", here),
        ("moved", {"host": "elsewhere"} | there),
        ("shared", here | {"runs_per_gpu": 2}),
    ):
        record = finish(tmp_path, run_id, [0.1, 0.2, 0.3], run=of_run)
        speeds = zip(curve([0.1, 0.2, 0.3]), (500.0, 900.0, 800.0), strict=True)
        record.write_metrics([row | {"images_per_second": speed} for row, speed in speeds])
    for _ in range(2):  # from the records, then from the index
        frame = gather(tmp_path / "runs")[0].set_index("run_id")
        speeds_read, machines = frame["images_per_second"].to_dict(), frame["machine"].to_dict()
        assert speeds_read["here"] == speeds_read["moved"] == 800.0 and math.isnan(speeds_read["measured"])
        assert host in machines.pop("here") and all(map(is_missing, machines.values()))

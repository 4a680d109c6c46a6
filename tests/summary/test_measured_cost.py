"""The measured cost of a sweep's changes: which runs are measured, and what a change's row says."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from paired import table
from records import finish, make

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.step_cost import StepCost
from sweeper.summary.measured_cost import as_json, as_table, format_ms, measured_costs, show_costs, to_csv

SECONDS = {("cnn", "none"): 0.01, ("cnn", "batch"): 0.012, ("mlp", "none"): 0.001, ("mlp", "batch"): 0.0015}
PARAMETERS = {("cnn", "none"): 1000, ("cnn", "batch"): 1010, ("mlp", "none"): 5000, ("mlp", "batch"): 5020}
BASELINE = {"norm": "none", "model": "cnn"}


class Fake:
    """Measures runs as they are told to be; `calls` has the runs of each call, the reference first."""

    def __init__(self, frame: pd.DataFrame, memory: int | None = None) -> None:
        self.kinds = dict(zip(frame["run_id"], zip(frame["model"], frame["norm"], strict=True), strict=True))
        self.memory, self.spread = memory, 0.03
        self.calls: list[list[str]] = []

    def __call__(
        self, reference: RunDirectory, others: Sequence[RunDirectory], report: Callable[[str], None]
    ) -> tuple[dict[str, StepCost], dict[str, object]]:
        run_ids = [reference.run_id, *(record.run_id for record in others)]
        self.calls.append(run_ids)
        base = SECONDS[self.kinds[reference.run_id]]
        costs = {}
        for run_id in run_ids:
            kind = self.kinds[run_id]
            spread = 0.0 if run_id == reference.run_id else self.spread
            memory = None if self.memory is None else self.memory * (2 if kind[1] == "batch" else 1)
            costs[run_id] = StepCost(run_id, SECONDS[kind], SECONDS[kind] / base, spread, PARAMETERS[kind], memory)
        return costs, {"device": "x86_64", "threads": 2}


def crossed(seeds: Sequence[int] = (0, 1), **same: Any) -> pd.DataFrame:
    made = [
        {"model": model, "norm": norm, "seed": seed, "test_acc": 0.5, **same}
        for model, norm in SECONDS
        for seed in seeds
    ]
    return table(*made)


def test_each_configuration_is_measured_once_against_the_most_common_baseline() -> None:
    frame = crossed().iloc[1:]  # without the baseline's run of seed 0
    fake = Fake(frame)
    measured = measured_costs(frame, BASELINE, Path("runs"), fake)
    ((reference, *others),) = fake.calls
    assert fake.kinds[reference] == ("cnn", "none") and len({reference, *others}) == len(others) + 1 == 4
    assert set(frame[frame["run_id"].isin(fake.calls[0])]["seed"]) == {1}  # which has all four
    assert measured.notes[0].startswith(
        f"digits: seed 1, 4 configurations, each timed alternately with {reference} on "
    )
    assert measured.notes[0].endswith(" (x86_64, threads=2), current code")
    assert [run["is_reference"] for run in measured.runs] == [True, False, False, False]


def test_configurations_without_a_pair_are_counted() -> None:
    frame = pd.concat([crossed(), crossed((2,), activation="selu").iloc[:1]])
    frame["run_id"] = [f"run-{index}" for index in range(len(frame))]
    measured = measured_costs(frame, BASELINE, Path("runs"), Fake(frame))
    assert measured.notes[1:] == ["Configurations not measured, since they have no pair among the runs of this seed: 1"]


def test_a_row_has_the_means_over_its_pairs() -> None:
    frame = crossed()
    measured = measured_costs(frame, BASELINE, Path("runs"), Fake(frame, memory=10**9))
    rows = {row["axis"]: row for row in measured.rows}
    norm = rows["norm"]
    assert (norm["value"], norm["baseline"], norm["pairs"], norm["data"]) == ("batch", "none", 2, "digits")
    assert norm["seconds"] == pytest.approx(math.sqrt(0.012 * 0.0015))
    assert norm["baseline_seconds"] == pytest.approx(math.sqrt(0.01 * 0.001))
    assert norm["step_time_ratio"] == pytest.approx(math.sqrt(1.2 * 1.5))
    assert norm["parameters"] == 15 and norm["memory_ratio"] == 2
    assert norm["spread"] == pytest.approx(math.sqrt((0.03**2 + 2 * 0.03**2) / 2))  # the reference itself has none
    assert rows["model"]["step_time_ratio"] == pytest.approx(math.sqrt(0.1 * 0.125))


def test_a_measurement_beside_other_load_is_said_to_be_one() -> None:
    frame = crossed()

    def notes(spread: float) -> str:
        fake = Fake(frame)
        fake.spread = spread
        return " ".join(measured_costs(frame, BASELINE, Path("runs"), fake).notes)

    assert "other programs ran beside" not in notes(0.03) and "other programs ran beside" in notes(0.2)


def test_milliseconds_have_three_digits() -> None:
    texts = [format_ms(seconds) for seconds in (0.053, 0.0000123, 0.09994, 0.09996, 1.2345)]
    assert texts == ["53.0", "0.0123", "99.9", "100", "1,234"]


def test_formats_agree() -> None:
    frame = crossed((0,))
    measured = measured_costs(frame, BASELINE, Path("runs"), Fake(frame))
    text = as_table(measured)
    assert "norm=batch │ none" in text and "+34.2%" in text and "+15 │" in text and "memory" not in text
    assert measured.notes[0] in text
    content = json.loads(as_json(measured))
    assert content["comparisons"] == measured.rows and len(content["runs"]) == 4
    header, first, second = to_csv(measured).splitlines()
    assert (
        header.startswith('"data","axis","value","baseline","change","against","pairs"') and '"model"' in first + second
    )
    several = measured_costs(frame, BASELINE, Path("runs"), Fake(frame, memory=10**6))
    assert "+100.0%" in as_table(several)


def test_each_dataset_is_measured_against_its_own_baseline() -> None:
    frame = pd.concat([crossed((0,)), crossed((0,), data="cifar10", data__fingerprint="beef")])
    frame["run_id"] = [f"run-{index}" for index in range(8)]
    fake = Fake(frame)
    measured = measured_costs(frame, BASELINE, Path("runs"), fake)
    assert [len(call) for call in fake.calls] == [4, 4] and not {*fake.calls[0]} & {*fake.calls[1]}
    assert "cifar10 │" in as_table(measured)


def test_nothing_to_measure_is_a_user_error(tmp_path: Path) -> None:
    fake = Fake(crossed())
    with pytest.raises(UserError, match=r"^there are no runs in "):
        show_costs(tmp_path, None, [], fake)
    make(tmp_path, "stopped", [0.5], "interrupted")
    sentence = r"^nothing to measure: nothing to compare: no run is finished \(1 interrupted\)"
    with pytest.raises(UserError, match=sentence):
        show_costs(tmp_path, None, [], fake)
    for seed in range(2):
        finish(tmp_path, f"run-{seed}", [0.5], seed=seed)
    with pytest.raises(UserError, match=r"^nothing to measure: nothing to compare: "):
        show_costs(tmp_path, None, [], fake)
    with pytest.raises(UserError, match=r"^--format latex: unknown format; choose from csv, json, table"):
        show_costs(tmp_path, None, [], fake, format="latex")
    assert not fake.calls

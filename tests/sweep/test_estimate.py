"""Estimates: from runs of the same kind, else of the same model, else from a probe."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from estimated import MLP, case_maker, seconds_of

from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import RunSpec
from sweeper.sweep import estimate
from sweeper.sweep.estimate import PER_RUN, PROBED_PARAMETERS, Estimator, measured_speeds, speed_keys


@pytest.fixture
def case(small: list[str]) -> Any:
    return case_maker(small)


def recorded(runs: Path, name: str, case: RunSpec, seconds: Sequence[float], **changes: Any) -> RunDirectory:
    """A run of that kind, its epochs of so many seconds for each image."""
    record = RunDirectory(runs / name)
    dataset = {"input_shape": list(case.cached.input_shape), "train": 96}
    record.create({"effective": case.effective, "device_type": "cpu", "threads": 1, "dataset": dataset} | changes, {})
    record.write_metrics([{"train_seconds": 72.0 * speed, "eval_seconds": 24.0 * speed} for speed in seconds])
    return record


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were probed; each takes a quarter of a second for an image."""
    models: list[str] = []

    def stand_in(spec: RunSpec, _: int) -> float:
        models.append(f"{spec.config.model.name} {spec.config.model.hidden}")
        return 0.25

    monkeypatch.setattr(estimate, "probe", stand_in)
    return models


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        ([], [True, True]),
        (["optimizer.lr=0.5", "seed=3", "epochs=2", "dropout.rate=0.5", "scheduler=cosine"], [True, True]),
        (["activation=selu"], [False, True]),
        (["norm=batch"], [False, True]),
        (["augmentation=cutout"], [False, True]),
        (["optimizer=sgd"], [False, True]),
        (["batch_size=17"], [False, True]),
        (["model.hidden=[17]"], [False, False]),
        (["model=softmax", "model.hidden=null"], [False, False]),
    ],
)
def test_speed_keys(overrides: list[str], same: list[bool], case: Any) -> None:
    found = [speed_keys(spec.effective, [3, 16, 16], "cpu") for spec in (case(*MLP), case(*MLP, *overrides))]
    assert [first == second for first, second in zip(*found, strict=True)] == same


def test_speed_keys_contain_the_image_size_and_the_device() -> None:
    effective = {"model": {"name": "softmax"}, "batch_size": 16}
    images = (([3, 8, 8], "cpu"), ([3, 9, 8], "cpu"), ([3, 8, 8], "cuda"))
    found = [speed_keys(effective, shape, device) for shape, device in images]
    assert len({kind for pair in found for kind in pair}) == 6


def test_a_speed_is_that_of_the_median_epoch(case: Any, tmp_path: Path) -> None:
    spec = case(*MLP)
    record = recorded(tmp_path, "a", spec, [0.9, 0.1, 0.2, 0.2, 0.1])
    found = measured_speeds(record)
    assert list(found) == speed_keys(spec.effective, [3, 16, 16], "cpu with 1 threads")
    assert list(found.values()) == pytest.approx([0.2, 0.2])


CPU = '"device_type": "cpu", "threads": 1}'
FOREIGN: list[Any] = [
    ("run.json", ""),
    ("run.json", '{"schema": 2, "effective": {"mod'),
    ("run.json", '{"schema": 2}'),
    ("run.json", '{"schema": 2, "effective": [], "dataset": {"train": 96, "input_shape": [1]}, ' + CPU),
    ("run.json", '{"schema": 2, "effective": {"norm":3}, "dataset": {"train": 9, "input_shape": 1}, ' + CPU),
    ("run.json", '{"schema": 2, "effective": {}, "dataset": {"train": 0, "input_shape": []}, ' + CPU),
    ("run.json", '{"schema": 2, "effective": {}, "dataset": {"train": "x", "input_shape": []}, ' + CPU),
    ("run.json", '{"schema": 2, "effective": {}, "dataset": [], ' + CPU),
    ("run.json", '{"schema": 2, "effective": {}, "dataset": {"train": 96, "input_shape": []}}'),
    ("metrics.jsonl", ""),
    ("metrics.jsonl", '{"train_seconds": 1.0, "eval'),
    ("metrics.jsonl", "\\x00\\xff"),
    ("metrics.jsonl", "{}\n"),
    ("metrics.jsonl", '{"train_seconds": 1.0}\n'),
    ("metrics.jsonl", '{"train_seconds": null, "eval_seconds": 1.0}\n'),
    ("metrics.jsonl", '{"train_seconds": "x", "eval_seconds": "y"}\n'),
    ("metrics.jsonl", '{"train_seconds": [1], "eval_seconds": [2]}\n'),
    pytest.param("metrics.jsonl", '{"train_seconds": 1%s, "eval_seconds": 1}\n' % ("0" * 400), id="a huge number"),
    pytest.param("metrics.jsonl", '{"train_seconds": 1%s, "eval_seconds": 0.5}\n' % ("0" * 400), id="a huge summand"),
    pytest.param("run.json", '{"schema": 2, "effective": {}, "dataset": {"train": 1%s, "input_shape": []}, '
                 '"device_type": "cpu", "threads": 1}' % ("0" * 400), id="a huge dataset"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "content"), FOREIGN)
def test_an_unreadable_record_is_left_out(
    file: str, content: str, case: Any, probed: list[str], tmp_path: Path
) -> None:
    spec = case(*MLP)
    (recorded(tmp_path, "bad", spec, [0.1]).folder / file).write_text(content)
    recorded(tmp_path, "good", spec, [0.5])
    assert seconds_of(Estimator(tmp_path), spec) == PER_RUN + 10 * 96 * 0.5
    assert probed == []


def test_a_run_that_is_moved_during_reading_is_left_out(
    case: Any, probed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = case(*MLP)
    metrics = [recorded(tmp_path, name, spec, [seconds]).folder / "metrics.jsonl" for name, seconds in SPEEDS.items()]
    shutil.rmtree(tmp_path / "moved")
    monkeypatch.setattr(Path, "glob", lambda *_: iter(metrics))
    assert seconds_of(Estimator(tmp_path), spec) == PER_RUN + 10 * 96 * 0.5
    monkeypatch.setattr(estimate, "READ_AT_MOST", 1)  # the missing file is not the newest
    assert seconds_of(Estimator(tmp_path), spec) == PER_RUN + 10 * 96 * 0.5
    assert probed == []


SPEEDS = {"there": 0.5, "moved": 9.0}


def test_without_a_folder_of_runs_the_model_is_probed(case: Any, probed: list[str], tmp_path: Path) -> None:
    assert seconds_of(Estimator(tmp_path / "runs"), case(*MLP)) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [16]"]


def test_the_exact_kind_counts_before_the_model_and_the_model_before_a_probe(
    case: Any, probed: list[str], tmp_path: Path
) -> None:
    relu, selu, wide = case(*MLP), case(*MLP, "activation=selu"), case("model=mlp", "model.hidden=[32]")
    recorded(tmp_path, "relu", relu, [0.5])
    recorded(tmp_path, "selu-1", selu, [2.0])
    recorded(tmp_path, "selu-2", selu, [4.0])
    recorded(tmp_path, "selu-3", selu, [8.0])
    estimator = Estimator(tmp_path)
    assert seconds_of(estimator, relu) == PER_RUN + 10 * 96 * 0.5
    assert seconds_of(estimator, selu) == PER_RUN + 10 * 96 * 4.0
    assert seconds_of(estimator, case(*MLP, "activation=gelu")) == PER_RUN + 10 * 96 * 3.0  # the median of all four
    assert probed == []
    assert seconds_of(estimator, wide) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [32]"]


def test_runs_on_other_devices_or_images_do_not_count(case: Any, probed: list[str], tmp_path: Path) -> None:
    spec = case(*MLP)
    recorded(tmp_path, "a", spec, [9.0], device_type="cuda")
    recorded(tmp_path, "c", spec, [9.0], threads=2)
    recorded(tmp_path, "b", spec, [9.0], dataset={"input_shape": [3, 32, 32], "train": 96})
    assert seconds_of(Estimator(tmp_path), spec) == PER_RUN + 10 * 96 * 0.25


def test_a_model_is_probed_once_whatever_else_is_swept(case: Any, probed: list[str], tmp_path: Path) -> None:
    estimator = Estimator(tmp_path)
    for overrides in ((), ("activation=selu",), ("optimizer.lr=0.5",), ("batch_size=8",)):
        assert seconds_of(estimator, case(*MLP, *overrides)) == PER_RUN + 10 * 96 * 0.25
    seconds_of(estimator, case("model=softmax"))
    seconds_of(estimator, case("model=mlp", "model.hidden=[32]"))
    assert probed == ["mlp [16]", "softmax None", "mlp [32]"]


def test_a_model_that_cannot_be_probed_has_no_estimate(
    case: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    estimator = Estimator(tmp_path)
    monkeypatch.setattr(estimate, "probe", lambda *_: None)
    assert seconds_of(estimator, case(*MLP)) is None
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.5)
    assert seconds_of(estimator, case(*MLP)) == PER_RUN + 10 * 96 * 0.5


def test_a_huge_model_is_not_probed(case: Any, probed: list[str], tmp_path: Path) -> None:
    estimator, spec = Estimator(tmp_path), case(*MLP)
    assert seconds_of(estimator, spec, parameters=PROBED_PARAMETERS + 1) is None
    assert probed == []
    assert seconds_of(estimator, spec, parameters=PROBED_PARAMETERS) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [16]"]


def test_a_huge_model_that_has_been_trained_has_an_estimate(case: Any, probed: list[str], tmp_path: Path) -> None:
    spec = case(*MLP)
    recorded(tmp_path, "a", spec, [0.5])
    assert seconds_of(Estimator(tmp_path), spec, parameters=10**10, done=4) == PER_RUN + 6 * 96 * 0.5
    assert probed == []


@pytest.mark.parametrize(("overrides", "images"), [([], 96), (["data.val_size=0"], 120), (["data.val_size=null"], 108)])
@pytest.mark.parametrize("done", [0, 4, 10])
def test_the_time_left_is_proportional_to_the_epochs_left_and_the_training_images(
    overrides: list[str], images: int, done: int, case: Any, probed: list[str], tmp_path: Path
) -> None:
    expected = PER_RUN + (10 - done) * images * 0.25
    assert seconds_of(Estimator(tmp_path), case(*MLP, *overrides), done=done) == expected


def test_the_newest_runs_are_read(
    case: Any, probed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "READ_AT_MOST", 2)
    spec = case(*MLP)
    for time, (name, seconds) in enumerate((("c", 9.0), ("b", 1.0), ("a", 3.0))):
        os.utime(recorded(tmp_path, name, spec, [seconds]).folder / "metrics.jsonl", (time, time))
    assert seconds_of(Estimator(tmp_path), spec) == PER_RUN + 10 * 96 * 2.0


def test_records_give_a_range_without_the_slowest_and_the_fastest_tenth(
    case: Any, probed: list[str], tmp_path: Path
) -> None:
    spec = case(*MLP)
    for number, speed in enumerate([9.0, 0.01, *[0.5] * 8, 0.4, 0.6]):
        recorded(tmp_path, f"run-{number}", spec, [speed])
    found = Estimator(tmp_path).estimate(spec, 1000, 0)
    assert found is not None
    assert found.seconds == PER_RUN + 960 * 0.5
    assert (found.low, found.high) == pytest.approx((PER_RUN + 960 * 0.4 / 1.1, PER_RUN + 960 * 0.6 * 1.1))


def test_a_probe_gives_a_range_above_it(case: Any, probed: list[str], tmp_path: Path) -> None:
    found = Estimator(tmp_path).estimate(case(*MLP), 1000, 0)
    assert found is not None
    assert (found.seconds, found.low, found.high) == (PER_RUN + 240, PER_RUN + 240, PER_RUN + 480)

"""Estimates: from runs of the same kind, else of the same model, else from a probe that changes nothing."""

import copy
import functools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import TIMINGS, composed

from sweeper.config import Config
from sweeper.data.cache import load
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import RunSpec, resolve
from sweeper.sweep import estimate
from sweeper.sweep import probe as probe_module
from sweeper.sweep.durations import format_duration, makespan
from sweeper.sweep.estimate import PER_RUN, PROBED_PARAMETERS, Estimator, measured_speeds, speed_keys
from sweeper.sweep.probe import SMALL_BATCH, probe
from sweeper.training.build import TrainingComponents, build
from sweeper.training.loop import evaluate, fit

MLP = ("model=mlp", "model.hidden=[16]")
known = functools.cache(composed)


def seconds_of(estimator: Estimator, spec: RunSpec, *, parameters: int = 1000, done: int = 0) -> float | None:
    return estimator.seconds(spec, parameters, done)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Measure on a single thread: other tests may run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def case(small: list[str]) -> Any:
    """Resolve a planned run; its 96 training images take as long as the records and the probe of a test say."""

    def make(*overrides: str) -> RunSpec:
        return resolve(copy.deepcopy(known(*small, "device=cpu", "epochs=10", *overrides)))

    return make


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
    ("seconds", "slots", "expected"),
    [
        ([], 3, 0.0),
        ([1.5], 4, 1.5),
        ([3, 2, 2, 1], 1, 8),
        ([3, 2, 2, 1], 2, 4),  # 3+1 and 2+2
        ([2, 2, 3], 2, 4),  # in the order given it would be 5
        ([1, 1, 1, 5], 2, 5),
        ([4, 3, 3, 2], 2, 6),  # 4+2 and 3+3
        ([3, 3, 2, 2, 2], 2, 7),  # 3+2+2 and 3+2, not the optimum
        ([2, 2, 2], 3, 2),
        ([2, 2, 2], 2, 4),
    ],
)
def test_makespan(seconds: list[float], slots: int, expected: float) -> None:
    given = list(seconds)
    assert makespan(seconds, slots) == expected
    assert makespan(seconds[::-1], slots) == expected
    assert seconds == given


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "about 1 s"),
        (0.4, "about 1 s"),
        (2.6, "about 3 s"),
        (89.4, "about 89 s"),
        (90, "about 2 min"),
        (150.1, "about 3 min"),
        (89 * 60, "about 89 min"),
        (90 * 60, "about 1.5 h"),
        (100 * 3600, "about 100.0 h"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


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


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=softmax",),
        MLP,
        (*MLP, "norm=batch", "dropout=heavy", "activation=selu", "augmentation=cutout", "optimizer=momentum"),
        (*MLP, "optimizer=sgd", "optimizer.lr=1e30"),  # a rate that diverges takes as long
        (*MLP, "scheduler=plateau", "batch_size=500"),
        ("model=cnn_pool", "scheduler=onecycle"),
        ("model=resnet18_pretrained", "batch_size=2"),  # whose weights are not fetched
    ],
    ids=" ".join,
)
def test_a_probe_measures_every_model_that_can_be_built(overrides: tuple[str, ...], case: Any) -> None:
    spec = case(*overrides)
    before = copy.deepcopy(spec.config)
    seconds = probe(spec, 1)
    assert seconds is not None
    assert seconds > 0
    assert spec.config == before


@pytest.mark.parametrize(("long", "sizes"), [(1e9, [SMALL_BATCH, 32]), (0.0, [SMALL_BATCH])])
def test_a_whole_batch_is_probed_unless_it_takes_long(
    long: float, sizes: list[int], case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def spy(config: Config, *arguments: Any, **more: Any) -> TrainingComponents:
        tried.append(config.batch_size)
        return build(config, *arguments, **more)

    monkeypatch.setattr(probe_module, "build", spy)
    monkeypatch.setattr(probe_module, "LONG_STEP", long)
    assert probe(case("model=softmax", "batch_size=32"), 1) is not None
    assert tried == sizes


@pytest.mark.parametrize(("unit", "expected"), [(1.0, 2 / SMALL_BATCH), (0.01, 0.04 / 32)])
def test_a_speed_is_that_of_the_faster_of_two_steps_after_the_first(
    unit: float, expected: float, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, whole = [0, 100, 103, 105, 105.5], [200, 300, 304, 310, 310.5]
    clock = iter([unit * time for time in small + whole])
    monkeypatch.setattr(probe_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert probe(case("model=softmax", "batch_size=32"), 1) == pytest.approx(expected)


@pytest.mark.parametrize("error", [RuntimeError("not enough memory"), MemoryError(), UserError("x"), OverflowError()])
def test_a_model_that_cannot_be_built_has_no_speed(
    error: Exception, case: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(probe_module, "build", fail)
    spec = case(*MLP)
    assert probe(spec, 1) is None
    assert seconds_of(Estimator(tmp_path), spec) is None


def trained(case: RunSpec) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], float]:
    """Metrics, weights and test loss of two epochs."""
    built = build(case.config, case.choices, load(case.cached), torch.device("cpu"))
    fit(built.state, built.recipe, built.train_loader, built.val_loader, epochs=2)
    rows = [{key: value for key, value in row.items() if key not in TIMINGS} for row in built.state.loop.history]
    model = built.state.eval_model()
    return rows, model.state_dict(), evaluate(model, built.test_loader(), built.recipe.num_classes).loss


@pytest.mark.parametrize("probed_as", ["itself", "another"])
def test_a_probe_changes_no_later_run(probed_as: str, case: Any) -> None:
    overrides = (*MLP, "norm=batch", "dropout=heavy", "augmentation=cutout", "optimizer=momentum")
    rows, weights, loss = trained(case(*overrides))
    spec = case(*overrides)
    tried = spec if probed_as == "itself" else case("model=cnn_pool")
    assert probe(tried, 1) is not None
    again, weights_again, loss_again = trained(spec)
    assert json.dumps(again) == json.dumps(rows)
    assert loss_again == loss
    assert all(torch.equal(weights_again[name], value) for name, value in weights.items())


def test_a_probe_is_close_to_the_duration_of_training(case: Any) -> None:
    spec = case("model=mlp", "model.hidden=[512]", "batch_size=96")
    built = build(spec.config, spec.choices, load(spec.cached), torch.device("cpu"))
    fit(built.state, built.recipe, built.train_loader, built.val_loader, epochs=3)
    taken = min(row["train_seconds"] + row["eval_seconds"] for row in built.state.loop.history)
    seconds = probe(spec, 1)
    assert seconds is not None
    assert taken / 30 < 96 * seconds < 30 * taken

"""Estimates: from runs of the same kind, else of the same model, else from a few steps that change nothing."""

import copy
import dataclasses
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
from support import composed

from sweeper.config import Config
from sweeper.data.cache import Cached, load, prepare, settle_val_size
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import effective_config
from sweeper.sweep import estimate
from sweeper.sweep.estimate import (
    PER_RUN,
    PROBED_PARAMETERS,
    SMALL_BATCH,
    Estimator,
    about,
    kinds,
    makespan,
    probe,
    speeds,
)
from sweeper.training import build
from sweeper.training.build import Choices, choose_all
from sweeper.training.loop import Progress, evaluate, fit

TIMINGS = ("train_seconds", "eval_seconds", "images_per_second")
MLP = ("model=mlp", "model.hidden=[16]")
known = functools.cache(composed)


@dataclasses.dataclass
class Case:
    """A run that is planned; its 96 training images take as long as the records and the probe of a test say."""

    config: Config
    choices: Choices
    cached: Cached

    @property
    def effective(self) -> dict[str, Any]:
        return effective_config(self.config, self.choices, self.cached.fingerprint)

    def seconds(self, estimator: Estimator, *, parameters: int = 1000, done: int = 0) -> float | None:
        return estimator.seconds(self.config, self.choices, self.cached, parameters, done)

    def probe(self) -> float | None:
        return probe(self.config, self.choices, self.cached, 1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Measure where other tests may run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def case(small: list[str]) -> Any:
    def make(*overrides: str) -> Case:
        config = copy.deepcopy(known(*small, "device=cpu", "epochs=10", *overrides))
        cached = prepare(config.data)
        settle_val_size(config.data, cached)
        return Case(config, choose_all(config), cached)

    return make


def recorded(runs: Path, name: str, case: Case, seconds: Sequence[float], **changes: Any) -> RunDirectory:
    """A run of that kind, its epochs of so many seconds for each image."""
    record = RunDirectory(runs / name)
    dataset = {"input_shape": list(case.cached.input_shape), "train": 96}
    record.create({"effective": case.effective, "device_type": "cpu", "threads": 1, "dataset": dataset} | changes, {})
    record.write_metrics([{"train_seconds": 72.0 * one, "eval_seconds": 24.0 * one} for one in seconds])
    return record


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were tried; each takes a quarter of a second for an image."""
    models: list[str] = []

    def stand_in(config: Config, *_: Any) -> float:
        models.append(f"{config.model.name} {config.model.hidden}")
        return 0.25

    monkeypatch.setattr(estimate, "probe", stand_in)
    return models


@pytest.mark.parametrize(
    ("seconds", "places", "expected"),
    [
        ([], 3, 0.0),
        ([1.5], 4, 1.5),
        ([3, 2, 2, 1], 1, 8),
        ([3, 2, 2, 1], 2, 4),  # 3+1 and 2+2
        ([2, 2, 3], 2, 4),  # in the order given it would be 5
        ([1, 1, 1, 5], 2, 5),
        ([4, 3, 3, 2], 2, 6),  # 4+2 and 3+3
        ([3, 3, 2, 2, 2], 2, 7),  # 3+2+2 and 3+2, not the best that there is
        ([2, 2, 2], 3, 2),
        ([2, 2, 2], 2, 4),
    ],
)
def test_makespan(seconds: list[float], places: int, expected: float) -> None:
    given = list(seconds)
    assert makespan(seconds, places) == expected
    assert makespan(seconds[::-1], places) == expected
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
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text


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
def test_kinds(overrides: list[str], same: list[bool], case: Any) -> None:
    found = [kinds(one.effective, [3, 16, 16], "cpu") for one in (case(*MLP), case(*MLP, *overrides))]
    assert [one == other for one, other in zip(*found, strict=True)] == same


def test_kinds_know_the_images_size_and_the_device() -> None:
    effective = {"model": {"name": "softmax"}, "batch_size": 16}
    images = (([3, 8, 8], "cpu"), ([3, 9, 8], "cpu"), ([3, 8, 8], "cuda"))
    found = [kinds(effective, shape, device) for shape, device in images]
    assert len({kind for pair in found for kind in pair}) == 6


def test_a_speed_is_the_median_epochs(case: Any, tmp_path: Path) -> None:
    one = case(*MLP)
    record = recorded(tmp_path, "a", one, [0.9, 0.1, 0.2, 0.2, 0.1])
    found = speeds(record)
    assert list(found) == kinds(one.effective, [3, 16, 16], "cpu with 1 threads")
    assert list(found.values()) == pytest.approx([0.2, 0.2])


CPU = '"device_type": "cpu", "threads": 1}'
FOREIGN: list[Any] = [
    ("run.json", ""),
    ("run.json", '{"schema": 1, "effective": {"mod'),
    ("run.json", '{"schema": 1}'),
    ("run.json", '{"schema": 1, "effective": [], "dataset": {"train": 96, "input_shape": [1]}, ' + CPU),
    ("run.json", '{"schema": 1, "effective": {"norm":3}, "dataset": {"train": 9, "input_shape": 1}, ' + CPU),
    ("run.json", '{"schema": 1, "effective": {}, "dataset": {"train": 0, "input_shape": []}, ' + CPU),
    ("run.json", '{"schema": 1, "effective": {}, "dataset": {"train": "x", "input_shape": []}, ' + CPU),
    ("run.json", '{"schema": 1, "effective": {}, "dataset": [], ' + CPU),
    ("run.json", '{"schema": 1, "effective": {}, "dataset": {"train": 96, "input_shape": []}}'),
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
    pytest.param("run.json", '{"schema": 1, "effective": {}, "dataset": {"train": 1%s, "input_shape": []}, '
                 '"device_type": "cpu", "threads": 1}' % ("0" * 400), id="a huge dataset"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "content"), FOREIGN)
def test_an_unreadable_record_is_left_out(
    file: str, content: str, case: Any, probed: list[str], tmp_path: Path
) -> None:
    one = case(*MLP)
    (recorded(tmp_path, "bad", one, [0.1]).folder / file).write_text(content)
    recorded(tmp_path, "good", one, [0.5])
    assert one.seconds(Estimator(tmp_path)) == PER_RUN + 10 * 96 * 0.5
    assert probed == []


def test_a_run_that_is_moved_while_the_runs_are_read_is_left_out(
    case: Any, probed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = case(*MLP)
    metrics = [recorded(tmp_path, name, one, [seconds]).folder / "metrics.jsonl" for name, seconds in SPEEDS.items()]
    shutil.rmtree(tmp_path / "moved")
    monkeypatch.setattr(Path, "glob", lambda *_: iter(metrics))
    assert one.seconds(Estimator(tmp_path)) == PER_RUN + 10 * 96 * 0.5
    monkeypatch.setattr(estimate, "READ_AT_MOST", 1)  # what is gone is not the newest
    assert one.seconds(Estimator(tmp_path)) == PER_RUN + 10 * 96 * 0.5
    assert probed == []


SPEEDS = {"there": 0.5, "moved": 9.0}


def test_where_there_is_no_folder_of_runs_the_model_is_tried(case: Any, probed: list[str], tmp_path: Path) -> None:
    assert case(*MLP).seconds(Estimator(tmp_path / "runs")) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [16]"]


def test_the_exact_kind_counts_before_the_model_and_that_before_a_trial(
    case: Any, probed: list[str], tmp_path: Path
) -> None:
    relu, selu, wide = case(*MLP), case(*MLP, "activation=selu"), case("model=mlp", "model.hidden=[32]")
    recorded(tmp_path, "relu", relu, [0.5])
    recorded(tmp_path, "selu-1", selu, [2.0])
    recorded(tmp_path, "selu-2", selu, [4.0])
    recorded(tmp_path, "selu-3", selu, [8.0])
    estimator = Estimator(tmp_path)
    assert relu.seconds(estimator) == PER_RUN + 10 * 96 * 0.5
    assert selu.seconds(estimator) == PER_RUN + 10 * 96 * 4.0
    assert case(*MLP, "activation=gelu").seconds(estimator) == PER_RUN + 10 * 96 * 3.0  # the median of all four
    assert probed == []
    assert wide.seconds(estimator) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [32]"]


def test_runs_elsewhere_or_with_other_images_say_nothing(case: Any, probed: list[str], tmp_path: Path) -> None:
    one = case(*MLP)
    recorded(tmp_path, "a", one, [9.0], device_type="cuda")
    recorded(tmp_path, "c", one, [9.0], threads=2)
    recorded(tmp_path, "b", one, [9.0], dataset={"input_shape": [3, 32, 32], "train": 96})
    assert one.seconds(Estimator(tmp_path)) == PER_RUN + 10 * 96 * 0.25


def test_a_model_is_tried_once_whatever_else_is_swept(case: Any, probed: list[str], tmp_path: Path) -> None:
    estimator = Estimator(tmp_path)
    for overrides in ((), ("activation=selu",), ("optimizer.lr=0.5",), ("batch_size=8",)):
        assert case(*MLP, *overrides).seconds(estimator) == PER_RUN + 10 * 96 * 0.25
    case("model=softmax").seconds(estimator)
    case("model=mlp", "model.hidden=[32]").seconds(estimator)
    assert probed == ["mlp [16]", "softmax None", "mlp [32]"]


def test_what_cannot_be_tried_has_no_estimate(case: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    estimator = Estimator(tmp_path)
    monkeypatch.setattr(estimate, "probe", lambda *_: None)
    assert case(*MLP).seconds(estimator) is None
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.5)
    assert case(*MLP).seconds(estimator) == PER_RUN + 10 * 96 * 0.5


def test_a_huge_model_is_not_tried(case: Any, probed: list[str], tmp_path: Path) -> None:
    estimator, one = Estimator(tmp_path), case(*MLP)
    assert one.seconds(estimator, parameters=PROBED_PARAMETERS + 1) is None
    assert probed == []
    assert one.seconds(estimator, parameters=PROBED_PARAMETERS) == PER_RUN + 10 * 96 * 0.25
    assert probed == ["mlp [16]"]


def test_a_huge_model_that_has_been_trained_has_an_estimate(case: Any, probed: list[str], tmp_path: Path) -> None:
    one = case(*MLP)
    recorded(tmp_path, "a", one, [0.5])
    assert one.seconds(Estimator(tmp_path), parameters=10**10, done=4) == PER_RUN + 6 * 96 * 0.5
    assert probed == []


@pytest.mark.parametrize(("overrides", "images"), [([], 96), (["data.val_size=0"], 120), (["data.val_size=null"], 108)])
@pytest.mark.parametrize("done", [0, 4, 10])
def test_what_is_left_is_the_epochs_to_come_times_the_training_images(
    overrides: list[str], images: int, done: int, case: Any, probed: list[str], tmp_path: Path
) -> None:
    expected = PER_RUN + (10 - done) * images * 0.25
    assert case(*MLP, *overrides).seconds(Estimator(tmp_path), done=done) == expected


def test_the_newest_runs_are_read(
    case: Any, probed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "READ_AT_MOST", 2)
    one = case(*MLP)
    for time, (name, seconds) in enumerate((("c", 9.0), ("b", 1.0), ("a", 3.0))):
        os.utime(recorded(tmp_path, name, one, [seconds]).folder / "metrics.jsonl", (time, time))
    assert one.seconds(Estimator(tmp_path)) == PER_RUN + 10 * 96 * 2.0


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
def test_a_trial_measures_what_can_be_built(overrides: tuple[str, ...], case: Any) -> None:
    one = case(*overrides)
    before = copy.deepcopy(one.config)
    seconds = one.probe()
    assert seconds is not None
    assert seconds > 0
    assert one.config == before


@pytest.mark.parametrize(("long", "sizes"), [(1e9, [SMALL_BATCH, 32]), (0.0, [SMALL_BATCH])])
def test_a_whole_batch_is_tried_unless_it_takes_long(
    long: float, sizes: list[int], case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    original = build.build

    def spy(config: Config, *arguments: Any, **more: Any) -> build.Built:
        tried.append(config.batch_size)
        return original(config, *arguments, **more)

    monkeypatch.setattr(build, "build", spy)
    monkeypatch.setattr(estimate, "LONG_STEP", long)
    assert case("model=softmax", "batch_size=32").probe() is not None
    assert tried == sizes


@pytest.mark.parametrize(("unit", "expected"), [(1.0, 2 / SMALL_BATCH), (0.01, 0.04 / 32)])
def test_a_speed_is_that_of_the_faster_of_two_steps_after_the_first(
    unit: float, expected: float, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, whole = [0, 100, 103, 105, 105.5], [200, 300, 304, 310, 310.5]
    clock = iter([unit * time for time in small + whole])
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert case("model=softmax", "batch_size=32").probe() == pytest.approx(expected)


@pytest.mark.parametrize("error", [RuntimeError("not enough memory"), MemoryError(), UserError("x"), OverflowError()])
def test_a_model_that_cannot_be_built_has_no_speed(
    error: Exception, case: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(build, "build", fail)
    one = case(*MLP)
    assert one.probe() is None
    assert one.seconds(Estimator(tmp_path)) is None


def trained(case: Case) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], float]:
    """Metrics, weights and test loss of two epochs."""
    built = build.build(case.config, case.choices, load(case.cached))
    progress = Progress()
    fit(built.training, built.train, built.val_batches, progress, epochs=2)
    rows = [{key: value for key, value in row.items() if key not in TIMINGS} for row in progress.rows]
    return rows, built.training.model.state_dict(), evaluate(built.training, built.test_batches())[0]


@pytest.mark.parametrize("probed_as", ["itself", "another"])
def test_a_trial_changes_no_run_after_it(probed_as: str, case: Any) -> None:
    overrides = (*MLP, "norm=batch", "dropout=heavy", "augmentation=cutout", "optimizer=momentum")
    rows, weights, loss = trained(case(*overrides))
    one = case(*overrides)
    tried = one if probed_as == "itself" else case("model=cnn_pool")
    assert tried.probe() is not None
    again, weights_again, loss_again = trained(one)
    assert json.dumps(again) == json.dumps(rows)
    assert loss_again == loss
    assert all(torch.equal(weights_again[name], value) for name, value in weights.items())


def test_a_trial_is_near_what_training_takes(case: Any) -> None:
    one = case("model=mlp", "model.hidden=[512]", "batch_size=96")
    progress = Progress()
    built = build.build(one.config, one.choices, load(one.cached))
    fit(built.training, built.train, built.val_batches, progress, epochs=3)
    taken = min(row["train_seconds"] + row["eval_seconds"] for row in progress.rows)
    seconds = one.probe()
    assert seconds is not None
    assert taken / 30 < 96 * seconds < 30 * taken

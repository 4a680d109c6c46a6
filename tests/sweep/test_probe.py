"""Probes: the speed of a model from steps on random images, which change nothing."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from estimated import MLP, case_maker, seconds_of
from support import TIMINGS

from sweeper.config import Config
from sweeper.data.cache import load
from sweeper.errors import UserError
from sweeper.runs.spec import RunSpec
from sweeper.sweep import probe as probe_module
from sweeper.sweep.estimate import Estimator
from sweeper.sweep.probe import MOST_STEPS, SMALL_BATCH, probe
from sweeper.training.build import TrainingComponents, build
from sweeper.training.loop import evaluate, fit


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Measure on a single thread: other tests may run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def case(small: list[str]) -> Any:
    return case_maker(small)


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


def test_a_probe_of_segmentation_has_masks(mask_root: Path, case: Any) -> None:
    pixels = ("task=segmentation", "data=segmentation_folder", f"data.root={mask_root}")
    seconds = probe(case(*pixels, "model=unet", "model.widths=[4,8]"), 1)
    assert seconds is not None and seconds > 0


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


@pytest.mark.parametrize(
    ("budget", "fastest"),
    [
        (0.0, 3.0),  # of one epoch, whose first step warms up: 9, 4, 3, and 0.5 for the two images that are left
        (25.0, 2.0),  # of two epochs
        (1e9, 1.0),  # of as many epochs as MOST_STEPS needs
    ],
)
def test_a_speed_is_that_of_the_fastest_whole_step_within_the_budget(
    budget: float, fastest: float, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter([9.0, 4.0, 3.0, 0.5, 5.0, 2.0, 6.0, 0.5, *[7.0, 1.0, 8.0, 0.5] * MOST_STEPS])
    now = [0.0]

    def train_epoch(_state: Any, _recipe: Any, _loader: Any, after_step: Any) -> None:
        for _ in range(4):
            now[0] += next(steps)
            after_step()

    monkeypatch.setattr(probe_module, "train_epoch", train_epoch)
    monkeypatch.setattr(probe_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(probe_module, "BUDGET", budget)
    assert probe_module.time_step(case("model=softmax"), 16, torch.device("cpu")) == fastest


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

"""What a training step of recorded runs takes: alternating blocks, positions in the training, exact parameters."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import composed
from typer.testing import CliRunner

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.runs import step_cost
from sweeper.runs.directory import RunDirectory
from sweeper.runs.job import Job
from sweeper.runs.run import run
from sweeper.runs.step_cost import ROUNDS, Trainer, measure
from sweeper.training.build import build
from sweeper.training.device import choose_device

STEPS_PER_EPOCH, EPOCHS = 6, 3
HIDDEN = 8


@pytest.fixture(scope="module")
def outputs(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with finished runs of an MLP with ReLU and with SiLU."""
    folder = tmp_path_factory.mktemp("outputs")
    for activation in ("relu", "silu"):
        overrides = ["model=mlp", f"model.hidden=[{HIDDEN}]", f"activation={activation}", f"epochs={EPOCHS}"]
        run(composed(*small, *overrides, f"output_dir={folder}"), Job("python train.py"))
    return folder


@pytest.fixture
def records(outputs: Path) -> list[RunDirectory]:
    """The runs, that with ReLU first."""
    return [RunDirectory(next(outputs.glob(f"runs/mlp-{name}-*"))) for name in ("relu", "silu")]


@pytest.fixture
def trainer(records: list[RunDirectory]) -> Trainer:
    return Trainer(records[0], torch.device("cpu"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_slower_network_is_measured_as_slower_and_records_stay(
    records: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, now = build, [0.0]

    def timed(config: Any, *arguments: Any, **named: Any) -> Any:
        components = real(config, *arguments, **named)
        seconds = 0.03 if config.activation.name == "silu" else 0.001

        def forward(*_: object) -> None:
            now[0] += seconds

        components.state.model.register_forward_pre_hook(forward)
        return components

    monkeypatch.setattr(step_cost, "build", timed)
    monkeypatch.setattr(step_cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(step_cost, "BLOCK_SECONDS", 0.002)
    before, lines = contents(records[0].folder.parent), list[str]()
    costs, device = measure(records[0], records[1:], lines.append)
    relu, silu = costs.values()
    assert [relu.run_id, silu.run_id] == [record.run_id for record in records]
    assert (relu.ratio, relu.spread, relu.seconds) == pytest.approx((1, 0, 0.001))
    assert (silu.ratio, silu.spread, silu.seconds) == pytest.approx((30, 0, 0.03))
    parameters = 3 * 16 * 16 * HIDDEN + HIDDEN + HIDDEN * 3 + 3
    assert relu.parameters == silu.parameters == parameters
    assert (relu.memory is None) == (not torch.cuda.is_available())
    assert lines == [f"measuring 1 of 1: {records[1].run_id}"]
    assert device["device_type"] == choose_device("auto").type and device["threads"] == 1
    assert contents(records[0].folder.parent) == before


def test_ratios_are_medians_at_a_position_and_means_over_positions(
    records: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocks(base: Trainer, other: Trainer) -> Iterator[list[tuple[float, float]]]:
        yield [(1.0, 2.0), (10.0, 20.0), (1.0, 2.5), (1.0, 1.5), (1.0, 90.0)]  # median 2, the middle half to 2.5
        yield [(1.0, 4.0)] * 5

    monkeypatch.setattr(step_cost, "alternate", blocks)
    relu, silu = measure(records[0], records[1:])[0].values()
    assert (relu.ratio, relu.spread, relu.seconds) == (1, 0, 1)
    assert (silu.ratio, silu.seconds) == (3, 3) and silu.spread == pytest.approx((0.25 / 2 + 0) / 2)


def test_blocks_alternate_and_change_places(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, int, int]] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def go_to(self, position: float) -> None:
            self.position = position

        def steps_of_block(self) -> int:
            return 7 if self.name == "base" else 9

        def seconds_a_step(self, steps: int) -> float:
            order.append((self.name, round(6 * self.position), steps))
            return 1.0 if self.name == "base" else 2.0

    found = list(step_cost.alternate(Fake("base"), Fake("other")))  # type: ignore[arg-type]
    assert found == [[(1.0, 2.0)] * ROUNDS] * 3
    base, other = ("base", 1, 7), ("other", 1, 9)
    assert order[:8] == [base, other, other, base, base, other, other, base]
    assert [position for _, position, _ in order] == [1] * 2 * ROUNDS + [3] * 2 * ROUNDS + [5] * 2 * ROUNDS


def test_steps_are_those_of_a_position_and_change_no_weight(trainer: Trainer) -> None:
    seen: list[int] = []
    trainer.recipe = replace(trainer.recipe, courses=[lambda _, step: seen.append(step.index)])
    weights = [weight.clone() for weight in trainer.state.model.parameters()]
    trainer.go_to(1 / 2)
    trainer.seconds_a_step(4)
    first = STEPS_PER_EPOCH * EPOCHS // 2  # in the middle of the second of three epochs
    assert seen == [first, first + 1, first + 2, first - 3, first - 2]  # the end of the epoch, then its start again
    assert all(torch.equal(*pair) for pair in zip(weights, trainer.state.model.parameters(), strict=True))
    assert {group["lr"] for group in trainer.state.optimizer.param_groups} == {0.0}


def test_the_first_step_is_not_timed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((5.0, 11.0))
    monkeypatch.setattr(trainer, "now", lambda: next(clock))
    assert trainer.seconds_a_step(3) == 2.0


@pytest.mark.parametrize(
    ("seconds", "augmentation", "steps"),
    [
        (0.02, {}, 16),  # chunks of 256 images, 16 batches
        (0.02, {"flip": None}, 24),  # chunks of 30 batches at most, here of the whole epoch
        (0.5, {}, 4),  # no longer than two seconds
        (9.0, {}, 1),
    ],
)
def test_a_block_has_whole_chunks_of_images_and_some_length(
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    augmentation: dict[str, Any],
    steps: int,
) -> None:
    class Loader:
        batch_size = 16
        data = trainer.loader.data

        def __len__(self) -> int:
            return 24

    loader: Any = Loader()
    loader.augmentation = augmentation
    trainer.loader = loader
    monkeypatch.setattr(trainer, "seconds_a_step", lambda _: seconds)
    assert trainer.steps_of_block() == steps


def test_records_that_cannot_be_repeated_are_user_errors(records: list[RunDirectory], tmp_path: Path) -> None:
    content = records[0].run() or {}

    def changed(name: str, **changes: Any) -> RunDirectory:
        record = RunDirectory(tmp_path / name)
        record.create(content | changes, {})
        return record

    with pytest.raises(UserError, match=r"/old/run\.json was written by another version of this program$"):
        measure(changed("old", config={"epoch": 1}), [])
    other = changed("other", dataset=content["dataset"] | {"fingerprint": "f00d"})
    with pytest.raises(UserError, match=r"^data=image_folder: images differ from those that other was trained on$"):
        measure(records[0], [other])
    if not torch.cuda.is_available():
        with pytest.raises(
            UserError, match=r"^gpu was trained on a GPU, and there is none here; measure where there is one$"
        ):
            measure(changed("gpu", device_type="cuda"), [])


def test_the_command_measures_the_changes_of_finished_runs(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def now(trainer: Trainer) -> float:
        is_slower = any(isinstance(module, torch.nn.SiLU) for module in trainer.state.model.modules())
        clock[0] += 0.00125 if is_slower else 0.001
        return clock[0]

    monkeypatch.setattr(Trainer, "now", now)
    monkeypatch.setattr(step_cost, "BLOCK_SECONDS", 0.001)
    file = tmp_path / "cost.json"
    arguments = ["cost", "--output-dir", str(outputs), "--format", "json", "--output", str(file)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    content = json.loads(file.read_text())
    (change,) = content["comparisons"]
    assert (change["axis"], change["value"], change["baseline"], change["pairs"]) == ("activation", "silu", "relu", 1)
    assert change["step_time_ratio"] == pytest.approx(1.25)
    assert change["step_time_ratio"] == pytest.approx(change["seconds"] / change["baseline_seconds"])
    compared = CliRunner().invoke(app, ["effects", "--output-dir", str(outputs), "--format", "json"])
    of_effects = json.loads(compared.stdout)["comparisons"][0]
    assert of_effects["cost_measured"] and of_effects["step_time_ratio"] == pytest.approx(change["step_time_ratio"])
    assert change["parameters"] == 0

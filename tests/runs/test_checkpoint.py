"""Checkpoints: everything is restored, damage is noticed, nothing foreign is executed."""

import errno
import io
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from choices import presets
from processes import REPOSITORY
from support import composed
from torch import Tensor, nn

from sweeper.data.batches import Step
from sweeper.errors import UserError, WriteError
from sweeper.runs.checkpoint import FORMAT, Checkpoint, Damaged, capture, load, load_weights, restore, save
from sweeper.training.averaging import Averaging
from sweeper.training.build import choose_all
from sweeper.training.state import LoopState, TrainState

ROWS = [{"epoch": 1, "train_loss": 0.1 + 0.2, "val_acc": 1 / 3, "lr": 1e-300}, {"epoch": 2, "val_acc": 0.0}]


class Mean(Averaging):
    """The mean of the weights after all steps; it has a state of its own."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.num_steps = 0

    def update(self, model: nn.Module, step: Step) -> None:
        self.num_steps += 1
        for name, weight in model.named_parameters():
            self.sums[name] = self.sums.get(name, torch.zeros(())) + weight.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.num_steps = dict(state["sums"]), state["num_steps"]


def fresh(preset: str, seed: int) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    optimizer = choose_all(composed(f"optimizer={preset}")).optimizer(list(model.named_parameters()))
    return TrainState(model, optimizer, Mean())


def steps(state: TrainState, num: int) -> None:
    """Train on random images; both these and dropout draw from the global generator."""
    for index in range(num):

        def closure() -> Tensor:
            state.optimizer.zero_grad()
            loss: Tensor = state.model(torch.rand(5, 6)).square().mean()
            loss.backward()
            return loss

        state.optimizer.step(closure)  # type: ignore[arg-type]
        state.averaging.update(state.model, Step(index, num, 0))


def same(first: Any, second: Any) -> bool:
    """Whether two values are bit-identical, in type and in order."""
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


def loop() -> LoopState:
    loss_sum, num_correct = torch.tensor(0.1, dtype=torch.float64), torch.tensor(7)
    return LoopState(
        epoch=3,
        step_in_epoch=2,
        loss_sum=loss_sum,
        num_correct=num_correct,
        num_samples=10,
        seconds=1.5,
        history=list(ROWS),
    )


def trained(preset: str = "adam") -> TrainState:
    state = fresh(preset, seed=0)
    steps(state, 3)
    state.loop = loop()
    return state


def content_of(preset: str = "adam") -> Checkpoint:
    return capture("a-run", trained(preset))


@pytest.mark.parametrize("preset", presets("optimizer"))
def test_a_restored_run_trains_as_if_never_interrupted(preset: str, tmp_path: Path) -> None:
    state = trained(preset)
    captured = capture("a-run", state)
    save(tmp_path / "last.pt", captured)
    loaded = load(tmp_path / "last.pt")
    assert same(loaded, captured)
    steps(state, 4)

    other = fresh(preset, seed=1)
    steps(other, 2)
    restore(loaded, other)
    assert same(asdict(other.loop), asdict(loop()))
    steps(other, 4)
    assert same(other.state_dict(), state.state_dict())


def test_everything_that_training_changes_is_in_a_checkpoint() -> None:
    captured = content_of()
    assert captured.keys() == {"format", "run_id", "state"}
    assert captured["state"].keys() == {item.name for item in fields(TrainState)} | {"generators"}
    assert captured["state"]["loop"].keys() == {item.name for item in fields(LoopState)}
    assert captured["state"]["averaging"]["num_steps"] == 3


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "last.pt", content_of() | {"run_id": f"{number}"})
    found = {path.name: load(path)["run_id"] for path in tmp_path.iterdir()}
    assert found == {"last.pt": "2", "previous_last.pt": "1"}


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "last.pt", content_of() | {"run_id": "one"})
    assert load(tmp_path / "last.pt", "one")["run_id"] == "one"
    with pytest.raises(UserError, match="is a checkpoint of one, not of other; delete it"):
        load(tmp_path / "last.pt", "other")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Checkpoint]:
    """A checkpoint file; its generator state cut short, to damage it in every part in little time."""
    path = tmp_path_factory.mktemp("whole") / "last.pt"
    content = content_of("momentum")
    content["state"]["generators"]["cpu"] = content["state"]["generators"]["cpu"][:64]
    save(path, content)
    return path.read_bytes(), load(path)


def outcome(path: Path, damaged: bytes, expected: Checkpoint) -> str:
    path.write_bytes(damaged)
    try:
        return "equal" if same(load(path), expected) else "silently different"
    except (Damaged, UserError):
        return "noticed"
    except Exception as error:
        return type(error).__name__


def test_a_file_cut_off_anywhere_is_noticed(whole: tuple[bytes, Checkpoint], tmp_path: Path) -> None:
    content, expected = whole
    cuts = [*range(0, len(content), 97), *range(len(content) - 40, len(content))]
    assert {outcome(tmp_path / "last.pt", content[:cut], expected) for cut in cuts} == {"noticed"}


@pytest.mark.parametrize("left", range(32))
def test_a_file_cut_off_in_its_checksum_is_damaged_and_not_foreign(
    left: int, whole: tuple[bytes, Checkpoint], tmp_path: Path
) -> None:
    content, _ = whole
    (tmp_path / "last.pt").write_bytes(content[: len(content) - 32 + left])
    with pytest.raises(Damaged, match=r"last\.pt is damaged: its checksum is wrong"):
        load(tmp_path / "last.pt")


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EIO, Damaged), (errno.ESTALE, Damaged), (errno.EACCES, UserError)]
)
def test_a_file_that_cannot_be_read_is_damaged_only_where_the_disk_is(
    number: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(error, match=rf"last\.pt .*{os.strerror(number)}"):
        load(tmp_path / "last.pt")


@pytest.mark.parametrize("bits", [0xFF, 0x10, 0x01])
def test_a_wrong_byte_is_noticed_or_does_not_matter(bits: int, whole: tuple[bytes, Checkpoint], tmp_path: Path) -> None:
    content, expected = whole
    directory = content.index(b"PK\x01\x02")  # the zip file's table, which its checksums do not cover
    found: dict[str, list[int]] = {}
    for index in [*range(0, directory, 23), *range(directory, len(content), 2)]:
        damaged = content[:index] + bytes([content[index] ^ bits]) + content[index + 1 :]
        found.setdefault(outcome(tmp_path / "last.pt", damaged, expected), []).append(index)
    assert found.keys() <= {"noticed", "equal"}, {key: indices[:5] for key, indices in found.items()}
    assert len(found["noticed"]) > 50


class Hostile:
    """Unpickling it creates a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


def plain(content: Any) -> bytes:
    """Return what torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content, error",
    [
        ({"format": 2, "model": Hostile()}, UserError),
        (plain({"format": 2, "model": Hostile()}), (UserError, Damaged)),
        (plain({"epoch": 1, "model": {}}), (UserError, Damaged)),
        (pickle.dumps(Hostile()), Damaged),
        ({"epoch": 1, "model": {}}, UserError),
        ({"format": 1, "model": {}}, UserError),
        ([1, 2], UserError),
        (torch.zeros(3), UserError),
        (b"", Damaged),
        (b"not a checkpoint" * 99, Damaged),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_foreign_file(content: Any, error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("last.pt")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save(path, content)
    with pytest.raises(error, match=r"last\.pt"):
        load(path)
    assert not Path("canary").exists()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "model", [nn.Linear(6, 4), nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3))]
)
def test_a_checkpoint_of_another_model_is_refused(model: nn.Module) -> None:
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=1.0))
    sentence = "the checkpoint of a-run does not fit this model"
    with pytest.raises(UserError, match=sentence):
        restore(content_of(), state)
    with pytest.raises(UserError, match=sentence):
        load_weights({"run_id": "a-run", "model": trained().model.state_dict()}, model)


@pytest.mark.parametrize("content", [{}, {"state": {}}, {"state": {"model": {}}}])
def test_an_incomplete_checkpoint_is_refused(content: Checkpoint) -> None:
    with pytest.raises(UserError, match="the checkpoint of another run does not fit this model"):
        restore(content, trained())
    with pytest.raises(UserError, match="the checkpoint of another run does not fit this model"):
        load_weights(content, trained().model)


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG])
def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_whole(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    path, content = tmp_path / "last.pt", {"format": FORMAT, "weights": torch.zeros(3)}
    for _ in range(2):
        save(path, content)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with monkeypatch.context() as broken:
        broken.setattr(call, fail)
        with pytest.raises(WriteError, match=rf"last\.pt cannot be written: {os.strerror(number)}"):
            save(path, content)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    save(tmp_path / "last.pt", content_of())
    save(tmp_path / "last.pt", content_of())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    script = """import pathlib, resource, sys, torch; from sweeper.runs.checkpoint import save
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save(pathlib.Path(sys.argv[1]), {"format": 2, "weights": torch.zeros(100_000)})
except (OSError, RuntimeError):
    sys.exit(3)"""
    child = subprocess.run([sys.executable, "-c", script, tmp_path / "last.pt"], cwd=REPOSITORY, check=False)
    assert child.returncode == 3
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

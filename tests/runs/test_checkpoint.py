"""Checkpoints: everything comes back, damage is noticed, nothing foreign is run."""

import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import REPOSITORY
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.errors import UserError
from sweeper.runs.checkpoint import Checkpoint, Damaged, capture, load, load_model, restore, save
from sweeper.training.loop import Progress
from sweeper.training.optimizers import OPTIMIZERS

ROWS = [{"epoch": 1, "train_loss": 0.1 + 0.2, "val_acc": 1 / 3, "lr": 1e-300}, {"epoch": 2, "val_acc": 0.0}]
KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.01, "weight_decay": 0.0},
    "momentum": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "adam": {"lr": 0.01, "betas": [0.9, 0.99], "weight_decay": 0.0},
    "adamw": {"lr": 0.01, "betas": [0.8, 0.9], "weight_decay": 0.1},
}


def fresh(kind: str, seed: int) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    return model, OPTIMIZERS[kind](model.parameters(), **KINDS[kind])


def steps(model: nn.Module, optimizer: Optimizer, num: int) -> None:
    """Train on random images; both these and dropout draw from the global generator."""
    for _ in range(num):
        optimizer.zero_grad()
        model(torch.rand(5, 6)).square().mean().backward()
        optimizer.step()


def same(first: Any, second: Any) -> bool:
    """Equal to the bit, in type and in order."""
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


def progress() -> Progress:
    loss_sum, correct = torch.tensor(0.1, dtype=torch.float64), torch.tensor(7)
    return Progress(epoch=3, batch=2, loss_sum=loss_sum, correct=correct, seen=10, seconds=1.5, rows=list(ROWS))


def trained(kind: str = "adam") -> Checkpoint:
    model, optimizer = fresh(kind, seed=0)
    steps(model, optimizer, 3)
    return capture("a-run", model, optimizer, progress())


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_run_goes_on_as_if_nothing_had_happened(kind: str, tmp_path: Path) -> None:
    model, optimizer = fresh(kind, seed=0)
    steps(model, optimizer, 3)
    captured = capture("a-run", model, optimizer, progress())
    save(tmp_path / "last.pt", captured)
    loaded = load(tmp_path / "last.pt")
    assert same(dict(loaded), captured)
    steps(model, optimizer, 4)

    other, other_optimizer = fresh(kind, seed=1)
    steps(other, other_optimizer, 2)
    restored = restore(loaded, other, other_optimizer)
    assert same(vars(restored), vars(progress()))
    steps(other, other_optimizer, 4)
    assert same(other.state_dict(), model.state_dict())
    assert same(other_optimizer.state_dict(), optimizer.state_dict())


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "last.pt", trained() | {"run_id": f"{number}"})
    found = {path.name: load(path)["run_id"] for path in tmp_path.iterdir()}
    assert found == {"last.pt": "2", "previous_last.pt": "1"}


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "last.pt", trained() | {"run_id": "one"})
    assert load(tmp_path / "last.pt", "one")["run_id"] == "one"
    with pytest.raises(UserError, match="is a checkpoint of one, not of other; delete it"):
        load(tmp_path / "last.pt", "other")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Checkpoint]:
    """A checkpoint file; its generator state cut short, to damage it in every part in little time."""
    path = tmp_path_factory.mktemp("whole") / "last.pt"
    content = trained("momentum")
    content["generators"]["cpu"] = content["generators"]["cpu"][:64]
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


@pytest.mark.parametrize("bits", [0xFF, 0x10, 0x01])
def test_a_wrong_byte_is_noticed_or_does_not_matter(bits: int, whole: tuple[bytes, Checkpoint], tmp_path: Path) -> None:
    content, expected = whole
    directory = content.index(b"PK\x01\x02")  # the zip file's table, which its checksums do not cover
    found: dict[str, list[int]] = {}
    for place in [*range(0, directory, 23), *range(directory, len(content), 2)]:
        damaged = content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]
        found.setdefault(outcome(tmp_path / "last.pt", damaged, expected), []).append(place)
    assert found.keys() <= {"noticed", "equal"}, {key: places[:5] for key, places in found.items()}
    assert len(found["noticed"]) > 50


class Hostile:
    """Unpickling it creates a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


def plain(content: Any) -> bytes:
    """The file that torch.save makes of it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content, error",
    [
        ({"format": 1, "model": Hostile()}, UserError),
        (plain({"format": 1, "model": Hostile()}), (UserError, Damaged)),
        (plain({"epoch": 1, "model": {}}), (UserError, Damaged)),
        (pickle.dumps(Hostile()), Damaged),
        ({"epoch": 1, "model": {}}, UserError),
        ({"format": 2, "model": {}}, UserError),
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
def test_another_model(model: nn.Module) -> None:
    with pytest.raises(UserError, match="the checkpoint of a-run does not fit this model"):
        load_model(trained(), model)


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path) -> None:
    save(tmp_path / "last.pt", trained())
    save(tmp_path / "last.pt", trained())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    script = """import pathlib, resource, sys, torch; from sweeper.runs.checkpoint import save
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save(pathlib.Path(sys.argv[1]), {"format": 1, "weights": torch.zeros(100_000)})
except (OSError, RuntimeError):
    sys.exit(3)"""
    child = subprocess.run([sys.executable, "-c", script, tmp_path / "last.pt"], cwd=REPOSITORY, check=False)
    assert child.returncode == 3
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

"""predictions.npz: written whole or not at all, damage noticed, compared with what `evaluate` predicts."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from processes import REPOSITORY, Program
from support import CLASSES, TEST_IMAGES, TINY, finish, start, the_run

from sweeper.files import read_json
from sweeper.runs.predictions import read_predictions, write_predictions

LOGITS = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
LABELS = np.arange(30) % 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.npz"
    write_predictions(path, LOGITS, LABELS)
    return path


def is_equal(found: tuple[NDArray[Any], NDArray[Any]] | None) -> bool:
    return found is not None and np.array_equal(found[0], LOGITS) and np.array_equal(found[1], LABELS)


def test_what_is_written_is_read(file: Path) -> None:
    found = read_predictions(file)
    assert found is not None and is_equal(found)
    assert [array.dtype.name for array in found] == ["float32", "int64"]
    assert [path.name for path in file.parent.iterdir()] == ["predictions.npz"]
    with np.load(file, allow_pickle=False) as content:  # as a user reads it
        assert {name: content[name].shape for name in content.files} == {"logits": (30, 3), "labels": (30,)}


def test_equal_predictions_give_equal_files(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    write_predictions(other, LOGITS.copy(), LABELS.copy())
    assert other.read_bytes() == file.read_bytes()


def test_types_are_converted_when_written(file: Path) -> None:
    write_predictions(file, LOGITS.astype(np.float64), LABELS.astype(np.int32))
    assert is_equal(read_predictions(file))


def test_a_failed_write_leaves_the_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    script = """import pathlib, resource, signal, sys, numpy
from sweeper.runs.predictions import write_predictions
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_predictions(pathlib.Path(sys.argv[1]), numpy.zeros((5000, 10)), numpy.zeros(5000))
except OSError:
    sys.exit(3)"""
    assert subprocess.run([sys.executable, "-c", script, file], cwd=REPOSITORY, check=False).returncode == 3
    assert file.read_bytes() == before
    assert len([*file.parent.iterdir()]) == 1


def test_a_file_cut_off_anywhere_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    for size in range(0, len(content), 7):
        file.write_bytes(content[:size])
        assert read_predictions(file) is None


@pytest.mark.parametrize("bits", [0xFF, 0x01])
def test_a_wrong_byte_is_noticed_or_does_not_matter(bits: int, file: Path) -> None:
    content = file.read_bytes()
    num_noticed = 0
    for index in range(len(content)):
        file.write_bytes(content[:index] + bytes([content[index] ^ bits]) + content[index + 1 :])
        found = read_predictions(file)
        assert found is None or is_equal(found), index
        num_noticed += found is None
    assert num_noticed > len(content) / 2


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip file",
        saved(logits=LOGITS),
        saved(labels=LABELS),
        saved(logits=LOGITS, labels=LABELS[:-1]),
        saved(logits=LOGITS[0], labels=LABELS[:3]),
        saved(logits=LOGITS, labels=LABELS[:, None]),
        saved(logits=LOGITS, labels=LABELS.astype(np.float64)),
        saved(logits=LOGITS.astype(str), labels=LABELS),
        saved(logits=np.array([[print]]), labels=LABELS[:1]),  # an object, pickled
    ],
    ids=range(10),
)
def test_a_foreign_file_is_not_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "predictions.npz").write_bytes(content)
    assert read_predictions(tmp_path / "predictions.npz") is None


def test_no_file(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / "predictions.npz") is None
    assert read_predictions(tmp_path) is None


@pytest.fixture(scope="module")
def run(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    finish(start([*small, *TINY, "epochs=3"], folder))
    return the_run(folder)


def evaluate(run: Path) -> subprocess.CompletedProcess[str]:
    return Program(["evaluate", str(run)], REPOSITORY, module="sweeper", separate_errors=True).completed()


def test_a_finished_run_has_the_predictions_of_its_best_epoch(run: Path) -> None:
    found, result = read_predictions(run / "predictions.npz"), read_json(run / "result.json")
    assert found is not None and result is not None
    logits, labels = found
    assert logits.shape == (len(CLASSES) * TEST_IMAGES, len(CLASSES))
    assert labels.tolist() == [label for label in range(len(CLASSES)) for _ in range(TEST_IMAGES)]
    assert (logits.argmax(1) == labels).mean() == pytest.approx(result["test_acc"])
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (labels, logits.argmax(1)), 1)
    assert confusion.tolist() == result["confusion"]
    shifted = logits - logits.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(30), labels]
    assert losses.mean() == pytest.approx(result["test_loss"], rel=1e-5)


def test_evaluate_compares_predicted_classes(run: Path) -> None:
    found = read_predictions(run / "predictions.npz")
    assert found is not None
    logits, labels = found
    assert evaluate(run).returncode == 0
    try:
        write_predictions(run / "predictions.npz", 2 * logits, labels)  # the same classes
        assert evaluate(run).returncode == 0
        swapped = logits.copy()
        swapped[:2] = -swapped[:2]
        num_changed = int((swapped.argmax(1) != logits.argmax(1)).sum())
        write_predictions(run / "predictions.npz", swapped, labels)
        different = evaluate(run)
        assert different.returncode == 1
        assert f"error: {num_changed} predicted classes differ from those in" in different.stderr
        assert "Traceback" not in different.stderr
    finally:
        write_predictions(run / "predictions.npz", logits, labels)


@pytest.mark.parametrize("content", [None, b"damaged", saved(logits=LOGITS[:7], labels=LABELS[:7])])
def test_evaluate_warns_where_there_is_nothing_to_compare_with(content: bytes | None, run: Path) -> None:
    file = run / "predictions.npz"
    before = file.read_bytes()
    try:
        file.unlink() if content is None else file.write_bytes(content)
        done = evaluate(run)
        assert done.returncode == 0, done.stderr
        assert "predictions.npz is missing or damaged" in done.stdout + done.stderr
    finally:
        file.write_bytes(before)

"""A run's files: replaced whole, read without trust, and the state that they show."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sweeper.files import read_json, write_json, write_text
from sweeper.runs.directory import RunDirectory, flat_settings, is_lost


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("text", ["", "new", "ö\n\u2028|", "x" * 1_000_000])
def test_text_is_replaced_whole(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    write_text(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("old", ["old", None])
def test_a_failed_write_leaves_what_was_there(old: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    if old is not None:
        path.write_text(old)
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "x" * 100_000 + "\ud800")  # no such character in UTF-8
    assert names(tmp_path) == ([] if old is None else ["file.json"])
    assert old is None or path.read_text() == old


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    script = """import itertools, pathlib, sys; from sweeper.files import write_json
for number in itertools.count():
    write_json(pathlib.Path(sys.argv[1]), {"numbers": [number] * 5000})"""
    path = tmp_path / "file.json"
    write_json(path, {"numbers": [0] * 5000})
    with subprocess.Popen([sys.executable, "-c", script, path]) as writer:
        try:
            seen: set[int] = set()
            while len(seen) < 20:
                assert writer.poll() is None
                content = read_json(path)
                assert content is not None and len(content["numbers"]) == 5000
                seen.add(content["numbers"][0])
                assert len(set(content["numbers"])) == 1
        finally:
            writer.kill()


@pytest.mark.parametrize(
    "content, expected",
    [
        (b'{"schema": 2, "a": [1, null]}', {"schema": 2, "a": [1, None]}),
        (b'{"schema": 2, "a": [1', None),
        (b"", None),
        (b"\x00" * 100, None),
        (b"\xff\xfe\x00", None),
        (b"{}", None),
        (b'{"a": 1}', None),
        (b'{"schema": 1, "a": 1}', None),
        (b'{"schema": 3, "a": 1}', None),
        (b'{"schema": null}', None),
        (b"[1]", None),
        (b'"schema"', None),
        (b"null", None),
        (b"[" * 100_000, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_read_json(content: bytes, expected: dict[str, Any] | None, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert read_json(tmp_path / "run.json") == expected


def test_read_json_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_json(tmp_path / "run.json") is None
    assert read_json(tmp_path) is None


def test_what_the_checkpoint_has_too_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, synced = RunDirectory(tmp_path), list[int]()
    monkeypatch.setattr(os, "fsync", synced.append)
    record.write_status(state="running", epoch=2)
    record.write_metrics([{"epoch": 1}], sync=False)
    assert synced == [] and record.metrics() == [{"epoch": 1}]
    record.write_status(state="finished", epoch=2)
    record.write_metrics([{"epoch": 1}])
    record.write_result({"test_acc": 0.1})
    assert len(synced) == 3


def test_a_record_is_created_once_and_written_again(tmp_path: Path) -> None:
    record = RunDirectory(tmp_path / "runs" / "a-run")
    assert (record.run(), record.status(), record.result(), record.metrics()) == (None, None, None, [])
    record.create({"a": 1}, {"config.yaml": "first"})
    record.create({"a": 2}, {"config.yaml": "second"})
    rows = [{"epoch": 1, "val_acc": 1 / 3}, {"epoch": 2, "val_acc": 1e-300}]
    record.write_metrics(rows)
    record.write_result({"test_acc": 0.1})
    record.write_status(state="running", epoch=2)
    assert record.run() == {"schema": 2, "a": 1}
    assert record.result() == {"schema": 2, "test_acc": 0.1}
    assert record.metrics() == rows
    status = record.status() or {}
    assert abs(status.pop("heartbeat") - time.time()) < 60
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "slurm_job": os.environ.get("SLURM_JOB_ID")}
    assert status == {"schema": 2, "state": "running", "epoch": 2, **owner}
    assert names(record.folder) == [".hydra", "checkpoints", "metrics.jsonl", "result.json", "run.json", "status.json"]
    assert (record.folder / ".hydra/config.yaml").read_text() == "second"
    paths = [path.relative_to(record.folder).as_posix() for path in (record.best, record.last, record.predictions)]
    assert paths == ["checkpoints/best.pt", "checkpoints/last.pt", "predictions.npz"]
    assert record.run_id == "a-run"


@pytest.fixture(scope="module")
def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.parametrize(
    "state, silent, owner, here, expected",
    [
        ("running", 0, "gone", True, "running"),
        ("running", 50, "gone", True, "running"),
        ("running", 70, "gone", True, "lost"),
        ("running", 70, "alive", True, "running"),  # it may have been suspended
        ("running", 1e9, "alive", True, "lost"),
        ("running", 70, "of another user", True, "running"),
        ("running", 800, "gone", False, "running"),
        ("running", 1000, "alive", False, "lost"),
        ("running", 1e9, None, True, "lost"),
        *((state, 1e9, "gone", True, state) for state in ("finished", "failed", "diverged", "interrupted")),
    ],
)
def test_state(
    state: str, silent: float, owner: str | None, here: bool, expected: str, gone: int, tmp_path: Path
) -> None:
    pids = {"gone": gone, "alive": os.getpid(), "of another user": 1}
    host = socket.gethostname() if here else "elsewhere"
    status = {"state": state, "heartbeat": time.time() - silent, "host": host}
    write_json(tmp_path / "status.json", status | ({} if owner is None else {"pid": pids[owner]}))
    assert (RunDirectory(tmp_path).status() or {})["state"] == expected


@pytest.mark.parametrize(
    "status", [{"heartbeat": None}, {"heartbeat": "yesterday"}, {"pid": "no"}, {"pid": 2**70}, {}], ids=str
)
def test_a_status_without_an_owner_is_lost(status: dict[str, Any]) -> None:
    assert is_lost({"host": socket.gethostname(), "heartbeat": 0.0, "pid": 2**22 + 1} | status)


@pytest.mark.parametrize(
    "content, epochs",
    [
        (b'{"epoch": 1}\n{"epoch": 2}\n', [1, 2]),
        (b'{"epoch": 1}\n{"epoch": 2}', [1, 2]),
        (b'{"epoch": 1}\n{"epoch": 2, "val', [1]),
        (b'{"epoch": 1}\n\x00\x00\x00\x00', [1]),
        (b'{"epoch": 1}\n{"epoch": 2, "\xff\xff', [1]),
        (b'{"epoch": 1}\n{"ep\n{"epoch": 3}\n', [1]),
        (b'{"epoch": 1}\n7\n', [1]),
        (b'{"epoch": 1}\n\n{"epoch": 2}\n', [1]),
        (b'{"epoch": 1}\n[{"epoch": 2}\n{"epoch": 3}]\n', [1]),  # two halves that together are something
        (b'{"epoch": 1}\n{"a": 1\n"b": 2}\n', [1]),
        (b'{"epoch": 1},{"epoch": 2}\n', []),
        (b"[]", []),
        (b"\xff\xfe", []),
        (b"", []),
    ],
)
def test_metrics_up_to_the_first_torn_row(content: bytes, epochs: list[int], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert RunDirectory(tmp_path).metrics() == [{"epoch": epoch} for epoch in epochs]


@pytest.mark.parametrize(
    ("state", "run", "result", "expected"),
    [
        ("finished", {"effective": {}, "config": {}}, {"best_val_acc": 1, "best_epoch": 1, "test_acc": 1}, True),
        ("running", {"effective": {}, "config": {}}, {"best_val_acc": 1, "best_epoch": 1, "test_acc": 1}, False),
        ("finished", {"effective": {}}, {"best_val_acc": 1, "best_epoch": 1, "test_acc": 1}, False),
        ("finished", {"effective": {}, "config": {}}, {"best_val_acc": 1, "best_epoch": 1}, False),
        ("finished", {"effective": {}, "config": {}}, None, False),
    ],
)
def test_a_finished_run_has_its_config_and_its_result(
    state: str, run: dict[str, Any], result: dict[str, Any] | None, expected: bool, tmp_path: Path
) -> None:
    record = RunDirectory(tmp_path)
    record.create(run, {})
    record.write_status(state=state)
    if result is not None:
        record.predictions.touch()
        record.write_result(result)
    assert record.is_finished() == expected


def test_a_changed_state_keeps_the_position(tmp_path: Path) -> None:
    record = RunDirectory(tmp_path)
    for position in ({"attempt": 0, "epoch": 1, "step": 0}, {"attempt": 2, "epoch": 3, "step": 4}):
        if position["attempt"] > 0:
            record.write_status(state="running", **position)
        record.change_state("failed", "killed")
        assert (record.status() or {}).items() >= (position | {"state": "failed", "error": "killed"}).items()


def test_settings_are_flattened_under_dotted_names() -> None:
    effective = {
        "model": {"name": "mlp", "hidden": [8, 4]}, "dropout": {"rate": 0.1}, "augmentation": {}, "seed": 0,
        "data": {"name": "digits", "source": {"name": "a", "b": 1}},
    }  # fmt: skip
    assert flat_settings(effective) == {
        "model": "mlp", "model.hidden": "[8, 4]", "dropout.rate": 0.1, "seed": 0,
        "data": "digits", "data.source": "a", "data.source.b": 1,
    }  # fmt: skip

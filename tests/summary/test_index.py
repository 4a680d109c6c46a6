"""The index, which saves a summary from reading records that did not change."""

import json
import os
from pathlib import Path

import pytest
from records import count_reads, make

from sweeper.runs.directory import RunDirectory
from sweeper.summary.index import COLUMNS
from sweeper.summary.table import read_runs


def test_the_index_is_used_only_while_records_are_unchanged(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, _ = read_runs(runs)
    assert (runs / ".index.json").exists()
    read = count_reads(monkeypatch)
    again, _ = read_runs(runs)
    assert again.equals(fresh)
    assert read == []
    record = RunDirectory(runs / "runs" / "relu-1")
    record.write_result((record.result() or {}) | {"test_acc": 0.123})
    make(runs, "new", [0.4], "running", activation={"name": "gelu"})
    changed, _ = read_runs(runs)
    assert sorted(read) == ["new", "relu-1"]
    assert changed.set_index("run_id")["test_acc"]["relu-1"] == 0.123
    read.clear()
    read_runs(runs)
    assert read == ["new"]  # a running run is read every time
    whole = json.loads((runs / ".index.json").read_text())
    for damage in (
        3,
        {},
        {"relu-1": 3},
        *({"relu-1": whole["rows"]["relu-1"] | {"row": row}} for row in (3, {"a": 1})),
    ):
        (runs / ".index.json").write_text(json.dumps(whole | {"rows": damage}))
        assert read_runs(runs)[0].equals(changed)
    saved = whole["rows"]["relu-1"]
    for name in (*sorted(COLUMNS), "activation"):  # a value of another type
        rows = {"relu-1": saved | {"row": saved["row"] | {name: ["x"]}}}
        (runs / ".index.json").write_text(json.dumps(whole | {"rows": rows}))
        assert read_runs(runs)[0].equals(changed), name
    rows = {"relu-1": saved | {"labels": {"activation": ["x"]}}}
    (runs / ".index.json").write_text(json.dumps(whole | {"rows": rows}))
    assert read_runs(runs)[0].equals(changed)
    for shared in ({}, dict.fromkeys(whole["shared"], 3)):
        (runs / ".index.json").write_text(json.dumps(whole | {"shared": shared}))
        assert read_runs(runs)[0].equals(changed)
    for damage in ({}, whole | {"index": {}}, whole | {"schema": 1}):
        (runs / ".index.json").write_text(json.dumps(damage))
        read.clear()
        assert read_runs(runs)[0].equals(changed)
        assert len(read) == 7


def test_a_read_only_folder_has_no_index(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("sweeper.summary.index.write_text", refuse)
    assert len(read_runs(runs)[0]) == 6
    assert not os.path.exists(runs / ".index.json")  # noqa: PTH110

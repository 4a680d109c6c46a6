"""Runs of other code, which are stale, and of version 0.1, which are not shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from processes import sweeper
from records import EFFECTIVE, finish, make

from sweeper.errors import UserError
from sweeper.runs import fingerprint
from sweeper.runs.fingerprint import code_of
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects_text import show_effects
from sweeper.summary.learning_curves import learning_curves
from sweeper.summary.report import write_report
from sweeper.summary.table import lay_out, read_runs


def changed(code: dict[str, Any], group: str) -> dict[str, Any]:
    return code | {group: dict.fromkeys(code[group], "another")}


def test_runs_of_different_code_are_stale_however_old_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_of(EFFECTIVE)
    recorded = {"now": code, "before": changed(code, "optimizer"), "none": None, "text": "x"}
    for seed, (name, content) in enumerate(recorded.items()):
        finish(tmp_path, name, [0.5], run={"code": content}, seed=seed)
    expected = {"now": False, "before": True, "none": True, "text": True}
    for _ in range(2):  # from the records, then from the index
        frame, skipped = read_runs(tmp_path)
        stale = dict(zip(frame["run_id"], frame["stale"], strict=True))
        assert stale == expected
    table, caption = lay_out(frame[frame["run_id"] == "before"], skipped)
    assert "stale" in table and not {"code", "torch", "device_type"} & {*table.columns}
    assert "1 stale: trained with different code" in caption
    current, caption = lay_out(frame[frame["run_id"] == "now"], skipped)
    assert "stale" not in current and "stale" not in caption

    monkeypatch.setattr(fingerprint, "code_of", lambda effective, files: changed(code, "model"))
    frame, _ = read_runs(tmp_path)  # the index is as it was, the code is not
    assert frame.set_index("run_id")["stale"]["now"]


def test_the_code_column_has_a_digest_of_each_group(tmp_path: Path) -> None:
    codes = [
        {"core": {"a": "1", "b": "2"}, "optimizer": {"c": "3"}},
        {"optimizer": {"c": "3"}, "core": {"b": "2", "a": "1"}},
    ]
    codes.append({"core": {"a": "1", "b": "2"}, "optimizer": {"c": "4"}})
    for seed, code in enumerate(codes):
        finish(tmp_path, f"run-{seed}", [0.5], run={"code": code}, seed=seed)
    frame, _ = read_runs(tmp_path)
    first, second, third = (json.loads(code) for code in frame["code"])
    assert first == second and frame["code"][0] == frame["code"][1]
    assert first["core"] == third["core"] and first["optimizer"] != third["optimizer"]
    assert frame[["torch", "device_type"]].to_numpy().tolist() == [["2.14.1", "cpu"]] * 3


def test_runs_of_different_code_are_not_averaged(tmp_path: Path) -> None:
    code = code_of(EFFECTIVE)
    for seed, (recorded, acc) in enumerate([(code, 0.5), (code, 0.7), (changed(code, "core"), 0.9)]):
        finish(tmp_path, f"run-{seed}", [acc], acc, run={"code": recorded}, seed=seed)
    frame, skipped = read_runs(tmp_path)
    table, caption = lay_out(frame, skipped, over="seed")
    assert table[["runs", "stale", "test_acc"]].to_numpy().tolist() == [[1, True, 0.9], [2, False, 0.6]]
    assert "1 configuration has one row per version of the code that trained it" in caption
    stale, current = learning_curves(tmp_path, frame)
    assert (current.name, current.seeds, stale.seeds) == ("model=mlp", [0, 1], [2])
    assert stale.name.startswith("model=mlp (stale, code ")


def test_a_row_of_unfinished_stale_runs_is_stale(tmp_path: Path) -> None:
    code = code_of(EFFECTIVE)
    for seed, recorded in enumerate((code, changed(code, "core"), changed(code, "core"))):
        make(tmp_path, f"run-{seed}", [0.5], "failed", run={"code": recorded}, seed=seed)
    table, _ = lay_out(*read_runs(tmp_path), over="seed")
    assert sorted(table["stale"]) == [False, True]


def test_averages_over_environments_are_reported(tmp_path: Path) -> None:
    for seed, (torch, device) in enumerate([("2.13", "cpu"), ("2.14", "cpu"), ("2.14", "cuda")]):
        run = {"versions": {"torch": torch}, "device_type": device}
        finish(tmp_path, f"run-{seed}", [0.5], run=run, seed=seed)
    table, caption = lay_out(*read_runs(tmp_path), over="seed")
    assert table["runs"].tolist() == [3]
    assert "1 row averages runs of several torch versions" in caption
    assert "1 row averages runs of several device types" in caption


def old(output_dir: Path, *names: str) -> None:
    for name in names:
        (output_dir / "runs" / name).mkdir(parents=True)
        contents: dict[str, dict[str, Any]] = {
            "run.json": {"effective": EFFECTIVE, "config": {}, "code": {"loop.py": "x"}},
            "result.json": {"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5, "convergence_epoch": 1},
            "status.json": {"state": "finished"},
        }
        for file, content in contents.items():
            (output_dir / "runs" / name / file).write_text(json.dumps({"schema": 1, **content}))


def test_runs_of_version_01_are_named_in_captions(tmp_path: Path) -> None:
    old(tmp_path, *(f"old-{index:02}" for index in range(12)))
    (tmp_path / "runs" / "notes").mkdir()
    for seed, activation in ((0, "relu"), (0, "selu"), (1, "relu"), (1, "selu")):
        finish(tmp_path, f"{activation}-{seed}", [0.5], seed=seed, activation={"name": activation})
    names = ", ".join(f"old-{index:02}" for index in range(10))
    sentence = f"12 runs of version 0.1 (schema 1) are not shown: {names} and 2 more"
    frame, skipped = read_runs(tmp_path)
    assert len(frame) == 4 and len(skipped.old) == 12 and skipped.unreadable == ["notes"]
    _, caption = lay_out(frame, skipped)
    assert sentence in caption and "Left out (not readable as runs): notes" in caption
    show_effects(tmp_path, None, EffectOptions(), format="json", output=tmp_path / "effects.json")
    content = json.loads((tmp_path / "effects.json").read_text())
    assert sentence in content["notes"] and content["left_out"] == {"of version 0.1": 12, "unreadable": 1}
    assert write_report(tmp_path).read_text(encoding="utf-8").count(sentence) == 2  # with the results and the effects


def test_runs_of_version_01_only_are_explained_in_one_sentence(tmp_path: Path) -> None:
    old(tmp_path, "old")
    sentence = "1 run of version 0.1 (schema 1) is not shown: old"
    with pytest.raises(UserError, match=r"there are no runs in .*; train one: .*; 1 run of version 0.1"):
        read_runs(tmp_path)
    for command in ("summary", "effects", "curves", "report"):
        done = sweeper(command, "--output-dir", str(tmp_path))
        printed = done.stdout + done.stderr
        assert sentence in printed and "Traceback" not in printed and len(printed.splitlines()) == 1
        assert done.returncode == 1

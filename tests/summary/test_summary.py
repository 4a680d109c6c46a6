"""The summary: a row for every run, whatever its state; what varies as columns, what does not in the caption."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import REPOSITORY, environment, sweeper
from records import EFFECTIVE, make, summarize

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects_text import show_effects
from sweeper.summary.export import FORMATS
from sweeper.summary.output import write_output
from sweeper.summary.report import write_report
from sweeper.summary.table import lay_out, read_runs


def csv_rows(output_dir: Path) -> list[dict[str, str]]:
    with (output_dir / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_run_has_a_row_best_first(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    make(tmp_path, "tie-2", [0.5, 0.7, 0.7]).write_result({"best_val_acc": 0.7, "best_epoch": 2, "test_acc": 0.25})
    make(tmp_path, "tie-1", [0.7], "running")
    make(tmp_path, "failed", [0.6, 0.1], "failed")
    make(tmp_path, "diverged", [], "diverged")
    make(tmp_path, "nan", [math.nan], "failed").write_result({"test_acc": math.nan})
    lost = make(tmp_path, "lost", [0.4, 0.9])
    gone = {"state": "running", "heartbeat": 1e9, "pid": ended.pid}
    write_json(lost.folder / "status.json", (lost.status() or {}) | gone)
    metrics = lost.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-20])  # the row of 0.9 is torn
    (make(tmp_path, "unknown", [0.8]).folder / "status.json").unlink()
    (make(tmp_path, "corrupt", [0.99]).folder / "run.json").write_text('{"schema": 2, "effec')
    (tmp_path / "runs/foreign/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/notes.txt").touch()

    frame, skipped = read_runs(tmp_path)
    assert (skipped.old, skipped.unreadable) == ([], ["corrupt", "foreign"])
    columns = ["run_id", "state", "best_val_acc", "best_epoch", "epochs_done", "train_seconds", "test_acc"]
    assert frame[columns].astype(object).where(frame[columns].notna(), None).to_numpy().tolist() == [
        ["unknown", "unknown", 0.8, 1, 1, 2, None],
        ["tie-1", "running", 0.7, 1, 1, 2, None],
        ["tie-2", "finished", 0.7, 2, 3, 6, 0.25],
        ["failed", "failed", 0.6, 1, 2, 4, None],
        ["lost", "lost", 0.4, 1, 1, 2, None],
        ["diverged", "diverged", None, None, 0, 0, None],
        ["nan", "failed", None, None, 1, 2, None],
    ]
    text = summarize(tmp_path)
    assert "7 runs: 1 diverged, 2 failed, 1 finished, 1 lost, 1 running, 1 unknown" in text
    assert "Left out (not readable as runs): corrupt, foreign" in text
    assert [line.split(" | ")[0] for line in text.splitlines()[2:9]] == [f"| {name}" for name in frame["run_id"]]


def test_a_backup_of_a_run_is_not_another_run(tmp_path: Path) -> None:
    for name in ("a-run", "b-run"):
        make(tmp_path, name, [0.5], run={"run_id": name}, seed=int(name == "b-run"))
    shutil.copytree(tmp_path / "runs" / "a-run", tmp_path / "runs" / "a-run.bak")
    (tmp_path / "runs" / "b-run").rename(tmp_path / "runs" / "renamed")
    for _ in range(2):  # from the records, then from the index
        frame, skipped = read_runs(tmp_path)
        assert frame["run_id"].tolist() == ["a-run"]
        assert (skipped.copies, skipped.unreadable) == (["a-run.bak", "renamed"], [])
        assert "Left out (copies, not named by their run's ID): a-run.bak, renamed" in summarize(tmp_path)


@pytest.mark.parametrize(
    "file, content",
    [
        ("status.json", '{"schema": 2}'),
        ("status.json", '{"schema": 2, "state": "running", "heartbeat": null}'),
        ("status.json", "[]"),
        ("status.json", '{"schema": 2, "state": ["finished"]}'),
        ("status.json", '{"schema": 2, "state": {"a": 1}, "error": [["no"]]}'),
        ("status.json", '{"schema": 2, "state": 7}'),
        ("metrics.jsonl", "{}\n"),
        ("metrics.jsonl", "7\n"),
        ("metrics.jsonl", '{"epoch": "1", "val_acc": "0.5", "train_seconds": [1]}\n'),
        ("metrics.jsonl", f'{{"epoch": 1{"0" * 400}, "val_acc": 1{"0" * 400}, "train_seconds": 1e999}}\n'),
        ("metrics.jsonl", '{"epoch": 1, "val_acc": null, "train_seconds": 1}\n'),
        ("result.json", '{"schema": 2}'),
        ("result.json", '{"schema": 2, "test_acc": null}'),
        ("result.json", '{"schema": 2, "test_acc": "0.5", "best_epoch": [1], "epochs": {}}'),
        ("run.json", '{"schema": 2, "effective": {}}'),
        ("run.json", '{"schema": 2, "effective": {"seed": [0], "model": {"name": ["mlp"]}}, "config": [], "code": 7}'),
        ("run.json", f'{{"schema": 2, "effective": {{"seed": 1{"0" * 400}, "lr": Infinity, "\\ud800": "\\ud800"}}}}'),
        ("run.json", '{"schema": 2, "effective": {"data": {"name": "digits", "test_acc": "x"}}}'),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_no_content_of_a_file_is_an_error(file: str, content: str, alone: bool, tmp_path: Path) -> None:
    bad = make(tmp_path, "bad", [0.5])
    bad.write_result({"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.4})
    (bad.folder / file).write_text(content)
    for seed in () if alone else (1, 2):
        make(tmp_path, f"good-{seed}", [0.6], seed=seed).write_result({"test_acc": 0.5})
    for _ in range(2):  # from the records, then from the index
        text = summarize(tmp_path)
        assert "bad" in text and ("good" in text) != alone
        show_effects(tmp_path, None, EffectOptions(), format="json", output=tmp_path / "effects.json")
        write_report(tmp_path)
        means, caption = lay_out(*read_runs(tmp_path), over="seed")
        for form in FORMATS.values():
            write_output(tmp_path / "means", form(means, caption))
        assert json.loads((tmp_path / "effects.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "depth", [10, 400, 700, 850, 900, 950, 980, 100_000]
)  # some of them are parsed and then too deep
@pytest.mark.parametrize("file, key", [("run.json", "effective"), ("status.json", "error"), ("run.json", "code")])
def test_deeply_nested_json_is_left_out(file: str, key: str, depth: int, tmp_path: Path) -> None:
    make(tmp_path, "good", [0.5])
    bad = make(tmp_path, "bad", [0.5])
    content = (bad.folder / file).read_text().rstrip()[:-1]
    (bad.folder / file).write_text(f'{content}, "{key}": {{"a": {"[" * depth}{"]" * depth}}}}}')
    assert "bad" in summarize(tmp_path)


def test_an_epoch_without_an_accuracy_is_skipped_and_reported(tmp_path: Path) -> None:
    record = make(tmp_path, "null", [0.5, 0.7, 0.6])
    metrics = record.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("0.7", "null"))
    frame, skipped = read_runs(tmp_path)
    assert skipped.unreadable == []
    (row,) = frame[["best_val_acc", "best_epoch", "epochs_done", "train_seconds"]].to_numpy().tolist()
    assert row == [0.6, 3, 3, 6]
    assert "null finished: 1 of 3 epochs have no val_acc in metrics.jsonl" in summarize(tmp_path)


ROW = '{"epoch": 1, "val_acc": 0.5}'


def test_a_setting_named_like_a_result_stays_a_setting(tmp_path: Path) -> None:
    for value in ("x", "y"):
        changes: dict[str, Any] = {"test_acc": value, "runs": value, "a_std": value}
        make(tmp_path, value, [0.5], **changes).write_result({"test_acc": 0.25})
    frame, _ = read_runs(tmp_path)
    assert (frame["run_id"].tolist(), frame["test_acc"].tolist()) == (["x", "y"], [0.25, 0.25])
    assert frame["test_acc (setting)"].tolist() == frame["runs (setting)"].tolist() == ["x", "y"]
    assert "| x | x | x | x | 0.5000 |" in summarize(tmp_path)


def test_no_text_of_a_record_controls_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        record = make(tmp_path, f"run-{seed}", [0.5], model={"name": f"\x1b[31m\x9b{seed}\x07"}, note="\x1b]0;x\x07")
        record.write_status(state="failed", error="\x1b[2J")
    summarize(tmp_path)
    printed = capsys.readouterr().out
    assert "[31m" in printed
    assert all(char.isprintable() for char in printed if char != "\n")


WIDE, CNN = {"name": "mlp", "hidden": [4096]}, {"name": "cnn", "channels": [16]}


@pytest.mark.parametrize(
    "runs, columns, shared",
    [
        ([{}], [], "data=digits, data.val_size=200, data.mean=[0.5, 0.5], model=mlp, model.hidden=[1024]"),
        ([{}, {"seed": 1}], ["seed"], "optimizer=adam, optimizer.lr=0.001, epochs=3"),
        ([{}, {"model": CNN}], ["model"], "data.mean=[0.5, 0.5], optimizer=adam"),  # hidden and channels are implied
        ([{}, {"model": WIDE}], ["model.hidden"], "model=mlp, optimizer=adam"),
        ([{}, {"model": WIDE}, {"model": CNN}], ["model", "model.hidden"], "data=digits"),
        ([{"dropout": {"rate": 0.0}}, {"dropout": {"rate": 0.5}}], ["dropout.rate"], "model.hidden=[1024]"),
        ([{}, {"optimizer": {"name": "sgd", "lr": 0.1}}], ["optimizer"], "model.hidden=[1024], epochs=3"),
        ([{}, {"data": EFFECTIVE["data"] | {"fingerprint": "beef"}}], ["data.fingerprint"], "data.val_size=200"),
        ([{}, {"data": EFFECTIVE["data"] | {"val_size": 0}}], ["data.val_size"], "best epoch on test images"),
    ],
)
def test_columns_are_what_runs_differ_in(runs: list[Any], columns: list[str], shared: str, tmp_path: Path) -> None:
    for number, changes in enumerate(runs):
        make(tmp_path, f"run-{number}", [0.5], **changes)
    table, caption = lay_out(*read_runs(tmp_path))
    assert list(table.columns[: len(columns) + 2]) == ["run_id", *columns, "best_val_acc"]
    assert shared in caption and "f00d" not in caption
    assert not any(f" {column}=" in caption.splitlines()[1] for column in columns)
    assert ("best epoch on test images" in caption) == ("data.val_size" in columns)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    record = make(tmp_path, "=run", [1 / 3], model={"name": text, "slope": -0.5})
    record.write_result({"best_val_acc": 1 / 3, "test_acc": -1e-7})
    summarize(tmp_path)
    (row,) = csv_rows(tmp_path)
    assert (row["run_id"], row["model"], row["model.slope"]) == ("'=run", f"'{text}", "-0.5")
    assert (row["best_val_acc"], row["test_acc"], row["parameters"]) == (repr(1 / 3), "-1e-07", "12345")


@pytest.mark.parametrize("key", ["=key", "a|b"])
def test_no_header_is_a_formula_or_two_cells(key: str, tmp_path: Path) -> None:
    for value in (1, 2):
        changes: dict[str, Any] = {key: value}
        make(tmp_path, f"run-{value}", [0.5], **changes)
    header, rule, *_ = summarize(tmp_path).splitlines()
    assert len(re.findall(r"(?<!\\)\|", header)) == rule.count("|")
    assert not any(name.startswith("=") for name in csv_rows(tmp_path)[0])


def test_texts_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "a|b", [0.5], model={"name": "one|two\nthree"}, note="[/b]")
    make(tmp_path, "[red]c", [0.4], note="[/b]")
    (tmp_path / "runs/[blue]foreign").mkdir()
    lines = summarize(tmp_path).splitlines()
    assert lines[2].startswith("| a\\|b | one\\|two three | 0.5000 |") and lines[3].startswith("| [red]c | mlp |")
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("[red]c", "note=[/b]", "runs): [blue]foreign"))


def test_the_files_do_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    accs = {"a": [0.5], "b": [0.7], "c": [0.5], "d": [], "e": [0.7, 0.8]}
    for folder, order in (("first", list(accs)), ("second", [*reversed(accs)])):
        for name in order:
            make(tmp_path / folder, name, accs[name], seed=ord(name))
        summarize(tmp_path / folder)
    for file in ("summary.csv", "summary.md"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert [row["run_id"] for row in csv_rows(tmp_path / "first")] == ["e", "b", "a", "c", "d"]


def test_the_command_prints_the_table_without_torch(tmp_path: Path) -> None:
    make(tmp_path, "a-run", [0.5])
    command = [sys.executable, "-X", "importtime", "-m", "sweeper", "summary", "--output-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "pandas" in imported and not imported & {"torch", "torchvision", "hydra", "omegaconf"}
    assert done.returncode == 0 and "a-run" in done.stdout and "1 finished" in done.stdout
    assert csv_rows(tmp_path)[0]["state"] == "finished"


@pytest.mark.parametrize("folders", [[], ["runs"], ["runs/foreign"]])
def test_no_runs_is_a_user_error(folders: list[str], tmp_path: Path) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    with pytest.raises(UserError, match=f"there are no runs in {tmp_path / 'runs'}"):
        read_runs(tmp_path)
    done = sweeper("summary", "--output-dir", str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(f"error: there are no runs in {tmp_path}/runs; train one: .*\n", done.stderr)

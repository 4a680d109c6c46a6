"""The summary's options: averages over seeds, filters, order, columns, formats; stale runs; the index."""

import csv
import io
import json
import os
import re
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from processes import sweeper
from records import count_reads, finish, make, summarize

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.summary.columns import text_cells
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.export import as_csv, as_json, as_latex
from sweeper.summary.output import output_format, write_output
from sweeper.summary.report import write_report
from sweeper.summary.table import lay_out, read_runs, sort, where

TEST_ACCS = {("relu", 0): 0.5, ("relu", 1): 0.6, ("relu", 2): 0.55, ("selu", 0): 0.7, ("selu", 1): 0.8}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Make two activations with three and two finished seeds, and a failed run of the second."""
    for (activation, seed), test_acc in TEST_ACCS.items():
        accs = [*[test_acc - 0.1] * seed, test_acc + 0.1]  # converges in epoch 1 + seed
        finish(tmp_path, f"{activation}-{seed}", accs, test_acc, seed=seed, activation={"name": activation})
    failed = make(tmp_path, "selu-2", [0.99], "failed", seed=2, activation={"name": "selu"})
    status = failed.status() or {}
    failed.write_status(**{key: status[key] for key in ("state",)}, error="Traceback ...\nRuntimeError: no memory")
    return tmp_path


def summary(output_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sweeper("summary", "--output-dir", str(output_dir), *arguments)


def rows(output_dir: Path, *arguments: str) -> list[dict[str, str]]:
    done = summary(output_dir, *arguments)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_runs_that_differ_only_in_their_seed_are_averaged(runs: Path) -> None:
    table, caption = lay_out(*read_runs(runs), over="seed")
    assert table["activation"].tolist() == ["selu", "relu"]  # best first
    assert table["runs"].tolist() == [2, 3]
    assert table["state"].tolist() == ["2 finished, 1 failed", "finished"]
    for row, activation in enumerate(("selu", "relu")):
        accs = [acc for (name, _), acc in TEST_ACCS.items() if name == activation]
        assert table["test_acc"][row] == pytest.approx(statistics.mean(accs), abs=1e-15)
        assert table["test_acc_std"][row] == pytest.approx(statistics.stdev(accs), abs=1e-15)
    assert table["convergence_epoch"].tolist() == [1.5, 2.0]  # of finished runs: the failed one counts in nothing
    assert "run_id" not in table
    assert "seed" not in table
    assert "6 runs: 1 failed, 5 finished" in caption
    assert "Mean ± standard deviation over the runs that differ only in seed" in caption
    assert "selu-2 failed: RuntimeError: no memory" in caption


def test_runs_of_one_seed_are_not_averaged(tmp_path: Path) -> None:
    for activation in ("relu", "selu"):
        finish(tmp_path, activation, [0.6], activation={"name": activation})
    averaged, plain = lay_out(*read_runs(tmp_path), over="seed"), lay_out(*read_runs(tmp_path))
    assert averaged[0].equals(plain[0])
    assert averaged[1] == plain[1]


def test_a_target_that_some_seeds_missed_is_not_averaged(tmp_path: Path) -> None:
    for seed, acc in ((0, 0.6), (1, 0.5)):
        finish(tmp_path, f"run-{seed}", [acc], seed=seed)
    table, _ = lay_out(*read_runs(tmp_path, options=ConvergenceOptions(target_acc=0.55)), over="seed")
    assert table["epochs_to_target"].tolist() == ["reached by 1/2"]


def test_states_of_any_kind_are_counted(tmp_path: Path) -> None:
    states: list[Any] = [["finished"], {}, 7, None, "finished"]
    for seed, state in enumerate(states):
        write_json(finish(tmp_path, f"run-{seed}", [0.6], seed=seed).folder / "status.json", {"state": state})
    table, caption = lay_out(*read_runs(tmp_path), over="seed")
    assert table[["runs", "state"]].to_numpy().tolist() == [[1, "1 finished, 4 unknown"]]
    assert "5 runs: 1 finished, 4 unknown" in caption


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["activation=relu"], ["relu-1", "relu-2", "relu-0"]),
        (["activation=relu", "seed=1"], ["relu-1"]),
        (["state=failed"], ["selu-2"]),
        (["test_acc=0.5000"], ["relu-0"]),
        (["test_acc=0.5"], ["relu-0"]),
    ],
)
def test_where(conditions: list[str], left: list[str], runs: Path) -> None:
    assert where(read_runs(runs)[0], conditions)["run_id"].tolist() == left


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("activation", "--where activation: must be COLUMN=VALUE"),
        (
            "activatoin=relu",
            r"unknown column activatoin \(did you mean activation\?\); choose from activation, best",
        ),
        ("activation=gelu", "--where activation=gelu: no such run; values of activation: relu, selu"),
    ],
)
def test_wrong_filters_are_user_errors(condition: str, sentence: str, runs: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        where(read_runs(runs)[0], [condition])


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("test_acc", ["selu-1", "selu-0", "relu-1", "relu-2", "relu-0", "selu-2"]),  # missing values come last
        ("convergence_epoch", ["relu-0", "selu-0", "relu-1", "selu-1", "relu-2", "selu-2"]),
        ("activation", ["relu-0", "relu-1", "relu-2", "selu-0", "selu-1", "selu-2"]),
    ],
)
def test_sort(by: str, order: list[str], runs: Path) -> None:
    frame = read_runs(runs)[0]
    assert sort(frame, by)["run_id"].tolist() == order
    assert sort(frame.iloc[::-1].reset_index(drop=True), by)["run_id"].tolist() == order


def test_what_runs_share_and_what_a_choice_implies_is_in_the_caption(tmp_path: Path) -> None:
    finish(tmp_path, "mlp", [0.6], model={"name": "mlp", "hidden": [32]}, epochs=5)
    finish(tmp_path, "softmax", [0.5], model={"name": "softmax"}, epochs=5)
    lines = lay_out(*read_runs(tmp_path))[1].splitlines()
    shared = next(index for index, line in enumerate(lines) if line.startswith("Shared settings: data=digits, "))
    assert lines[shared + 1] == "model=mlp implies hidden=[32]"
    assert (
        "The top row is the best of 2 runs by validation accuracy: its best_val_acc is optimistic; "
        "its test_acc holds for these weights, expect slightly less from other seeds" in lines
    )


def test_the_top_row_of_several_datasets_is_the_best_of_nothing(tmp_path: Path) -> None:
    for number in range(2):
        finish(tmp_path, f"run-{number}", [0.6], data={"name": "digits", "fingerprint": f"f00{number}"})
    assert "The top row" not in lay_out(*read_runs(tmp_path))[1]


def test_columns(runs: Path) -> None:
    frame, skipped = read_runs(runs)
    single, _ = lay_out(frame, skipped, columns=["epochs", "test_acc"])
    assert list(single.columns) == ["epochs", "test_acc"]
    averaged, _ = lay_out(frame, skipped, over="seed", columns=["model.hidden", "activation", "test_acc"])
    assert list(averaged.columns) == ["model.hidden", "activation", "test_acc", "test_acc_std"]
    with pytest.raises(UserError, match="unknown column seed"):
        lay_out(frame, skipped, over="seed", columns=["seed"])


def test_accuracies_of_views_have_a_column_where_runs_have_them(runs: Path) -> None:
    assert "test_acc_views" not in lay_out(*read_runs(runs))[0]
    for seed, acc in enumerate((0.5, 0.7, 0.6)):
        result = {"best_val_acc": 0.5, "test_acc": 0.5, "test_acc_views": acc}
        make(runs / "views", f"run-{seed}", [0.5], seed=seed).write_result(result)
    frame, skipped = read_runs(runs / "views")
    assert sort(frame, "test_acc_views")["run_id"].tolist() == ["run-1", "run-2", "run-0"]  # the highest first
    table, _ = lay_out(frame, skipped, over="seed")
    assert "0.6000 ± 0.1000" in text_cells(table)["test_acc_views"].tolist()


def test_formats_agree(runs: Path) -> None:
    shown = rows(runs, "--format", "csv", "--where", "activation=relu")
    assert [float(row["test_acc"]) for row in shown] == [pytest.approx(0.55)]
    content = json.loads(summary(runs, "--format", "json", "--where", "activation=relu").stdout)
    assert content["rows"][0]["test_acc"] == float(shown[0]["test_acc"])
    assert content["caption"][0] == "3 runs: 3 finished"
    markdown = summary(runs, "--format", "md", "--where", "activation=relu").stdout
    latex = summary(runs, "--format", "latex", "--where", "activation=relu").stdout
    assert "| 0.5500 ± 0.0500 |" in markdown
    assert r" 0.5500 $\pm$ 0.0500 &" in latex
    each = rows(runs, "--format", "csv", "--where", "activation=relu", "--group-by", "none", "--sort", "seed")
    assert [float(row["test_acc"]) for row in each] == [0.5, 0.6, 0.55]


@pytest.mark.parametrize("format", ["csv", "table"])
@pytest.mark.parametrize("device", ["/dev/null", "."])
def test_only_regular_files_are_replaced(device: str, format: str, runs: Path) -> None:
    done = summary(runs, "--format", format, "--output", device)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {device} is not a regular file\n"
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    write_output(tmp_path / "link", "half \ud800")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_text() == "half ?"


@pytest.mark.parametrize(
    ("format", "file", "expected"),
    [
        ("table", "t.csv", "csv"),
        ("table", "t.JSON", "json"),
        ("table", "t.txt", "table"),
        ("table", "t", "table"),
        ("csv", "t", "csv"),
        ("csv", "t.txt", "csv"),
        ("csv", "t.csv", "csv"),
        ("table", "t.xlsx", "--output t.xlsx: unsupported file type; choose from .csv, .json, .txt"),
        ("csv", "t.xlsx", "--output t.xlsx: unsupported file type; choose from .csv, .json, .txt"),
        ("csv", "t.json", "--output t.json: the suffix of --format csv is .csv"),
        ("md", "t.md", "--format md: unknown format; choose from csv, json, table"),
    ],
)
def test_a_file_has_the_format_of_its_suffix(format: str, file: str, expected: str) -> None:
    if expected.startswith("--"):
        with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
            output_format(format, Path(file), ["table", "csv", "json"])
    else:
        assert output_format(format, Path(file), ["table", "csv", "json"]) == expected


def test_a_report_is_html(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--output report\.pdf: unsupported file type; choose \.html$"):
        write_report(tmp_path, output=Path("report.pdf"))


def test_with_an_output_file_nothing_else_is_written(runs: Path, tmp_path: Path) -> None:
    for kind in ("table", "csv", "json"):
        done = summary(runs, "--format", kind, "--output", str(tmp_path / f"out.{kind}"))
        assert (done.returncode, done.stdout) == (0, "")
    assert "0.7500 ± 0.0707" in (tmp_path / "out.table").read_text()
    assert summary(runs, "--output", str(tmp_path / "named.csv")).returncode == 0  # by its suffix
    assert (tmp_path / "named.csv").read_text() == (tmp_path / "out.csv").read_text()
    assert not (runs / "summary.csv").exists()
    assert not (runs / "summary.md").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--format", "xlsx"), "--format xlsx: unknown format; choose from csv, json, latex, md, table"),
        (("--sort", "accuracy"), "unknown column accuracy"),
        (("--group-by", "sed"), "unknown column sed (did you mean seed?)"),
        (("--columns", "model,foo"), "unknown column foo"),
        (("nosuchsweep",), "no sweeps in "),
    ],
)
def test_wrong_options_are_user_errors(arguments: Sequence[str], sentence: str, runs: Path) -> None:
    done = summary(runs, *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_latex_and_json_hold_anything(tmp_path: Path) -> None:
    hostile = 'a\\b_{%$#&~^}"\n<script>'
    finish(tmp_path, "a", [0.6], activation={"name": hostile})
    finish(tmp_path, "b", [0.5], float("nan"), activation={"name": "plain"})
    table, caption = lay_out(*read_runs(tmp_path))
    assert json.loads(as_json(table, caption))["rows"][0]["activation"] == hostile
    assert "NaN" not in as_json(table, caption)
    assert r"a\textbackslash{}b\_\{\%\$\#\&\textasciitilde{}\textasciicircum{}\}" in as_latex(table, caption)


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
    (runs / ".index.json").write_text(json.dumps(whole | {"shared": {}}))
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


def test_weights_are_shown_by_the_first_digits_of_their_digest(tmp_path: Path) -> None:
    for index, digest in enumerate(("0123456789" * 6 + "abcd", "f" * 64)):
        finish(tmp_path, f"run-{index}", [0.6], model={"name": "resnet18", "weights": f"sha256:{digest}"})
    frame, _ = read_runs(tmp_path)
    (run_id,) = where(frame, ["model.weights=sha256:01234567"])["run_id"]
    assert run_id == "run-0"
    assert "sha256:ffffffff " in summarize(tmp_path)


def test_integers_stay_integers_beside_runs_without_them() -> None:
    table = pd.DataFrame(
        {"best_epoch": [2.0, None], "scheduler.step_size": [None, 10.0], "optimizer.lr": [1.0, 2.0], "epochs_done": 1.5}
    )
    assert as_csv(table).splitlines()[1:] == ['2,"",1.0,1.5', '"",10,2.0,1.5']
    assert '"best_epoch": 2,' in as_json(table, "")

"""The summary's formats and output files, by command and by function."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from processes import sweeper
from records import finish

from sweeper.errors import UserError
from sweeper.summary.export import as_csv, as_json, as_latex
from sweeper.summary.output import output_format, write_output
from sweeper.summary.report import write_report
from sweeper.summary.table import lay_out, read_runs


def summary(output_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sweeper("summary", "--output-dir", str(output_dir), *arguments)


def rows(output_dir: Path, *arguments: str) -> list[dict[str, str]]:
    done = summary(output_dir, *arguments)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


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


@pytest.mark.parametrize("content", ["text", b"bytes"])
def test_what_cannot_be_written_is_named(content: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"/file/folder/out\.txt cannot be written: Not a directory$"):
        write_output(tmp_path / "file" / "folder" / "out.txt", content)


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


def test_latex_takes_no_cell_for_an_argument_and_shows_every_sign(tmp_path: Path) -> None:
    table = pd.DataFrame({"model.hidden": ["[64, 32]", "[32]"], "epochs_to_target": [">3", "a|b<c"]})
    assert as_latex(table, "").splitlines()[3:6] == [
        r"\midrule",
        r"{[}64, 32] & $>$3 \\",
        r"{[}32] & a\textbar{}b$<$c \\",
    ]


def test_integers_stay_integers_beside_runs_without_them() -> None:
    table = pd.DataFrame(
        {"best_epoch": [2.0, None], "scheduler.step_size": [None, 10.0], "optimizer.lr": [1.0, 2.0], "epochs_done": 1.5}
    )
    assert as_csv(table).splitlines()[1:] == ['2,"",1.0,1.5', '"",10,2.0,1.5']
    assert '"best_epoch": 2,' in as_json(table, "")

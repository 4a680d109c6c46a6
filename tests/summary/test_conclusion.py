"""The end of a sweep: table, answer, warnings, next command."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from paired import runs, table
from records import finish

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.summary.caption import few_images, selected_on_test
from sweeper.summary.conclusion import print_conclusion
from sweeper.summary.export import as_csv, as_json
from sweeper.summary.report import render
from sweeper.summary.table import where
from sweeper.sweep.listing import print_sweeps, read_sweeps
from sweeper.sweep.saved import swept_in_plan
from sweeper.sweep.statuses import select_jobs

JOB: dict[str, Any] = {"action": "train", "reason": "new", "epoch": None, "changed": [], "epochs": 1, "seconds": None}
JOB |= {"heartbeat": None, "overrides": []}


def save(output_dir: Path, name: str, run_ids: list[str], created: float = 1.0) -> None:
    """Save the plan of a sweep."""
    folder = output_dir / "sweeps" / name
    folder.mkdir(parents=True)
    jobs = [JOB | {"run_id": run_id} for run_id in run_ids]
    write_json(folder / "sweep.json", {"command": "c", "created": created, "concurrency": 1, "jobs": jobs})


def trained(output_dir: Path) -> list[str]:
    """Train two norms with three seeds, on 100 test images; return the run IDs."""
    for seed, (none, batch) in enumerate([(0.5, 0.6), (0.5, 0.61), (0.5, 0.62)]):
        for name, acc in (("none", none), ("batch", batch)):
            finish(output_dir, f"{name}-{seed}", [0.5], acc, norm={"name": name}, seed=seed)
    return sorted(path.name for path in (output_dir / "runs").iterdir())


def test_a_sweep_ends_with_averages_the_answer_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = trained(tmp_path)
    save(tmp_path, "norms", ids)
    print_conclusion(tmp_path, ids, "norms")
    printed = capsys.readouterr().out
    assert "0.6100 ± 0.0100" in printed and "runs that differ only in seed" in printed and "run_id" not in printed
    *_, sentence, empty, last = printed.splitlines()
    assert sentence.startswith("norm=") and " points (" in sentence and empty == ""
    assert last == f"next: python -m sweeper effects norms --output-dir {tmp_path}"
    print_conclusion(tmp_path, ids[:1], "norms")
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: python -m sweeper summary norms")


def test_few_images_are_warned_of_with_the_standard_error() -> None:
    rows = [{**run, "best_val_acc": 0.8} for run in runs("norm", {"none": [0.5, 0.9]}, val_images=64, test_images=100)]
    assert few_images(table(*rows)) == [  # sqrt(0.782 0.218 / 68), sqrt(0.5 0.5 / 104)
        "Only 64 validation images: best_val_acc has a standard error of 0.050 from their choice alone; the epoch and "
        "the run selected by it may not be the best",
        "Only 100 test images: test_acc has a standard error of 0.049 from their choice alone; the ± over seeds does "
        "not include it",
    ]
    sure = [{**row, "test_acc": 1.0, "test_images": 6} for row in rows]  # sqrt(0.8 0.2 / 10)
    assert "Only 6 test images: test_acc has a standard error of 0.126 " in few_images(table(*sure))[1]
    enough = [{**row, "val_images": 500, "test_images": 10_000} for row in rows]
    assert few_images(table(*enough)) == [] == few_images(table(*({**row, "state": "failed"} for row in rows)))


def test_only_runs_without_validation_images_were_selected_on_test_images() -> None:
    frame = table(*runs("norm", {"none": [0.5]}))
    held_out = frame.assign(run_id="b", test_acc=None, test_miou=0.5)
    mixed = pd.concat([frame.assign(**{"data.val_size": 0}), held_out.assign(**{"data.val_size": 10})])
    assert selected_on_test(mixed)[0].endswith("on test images: their test_acc is optimistic")
    both = mixed.assign(**{"data.val_size": 0})
    assert selected_on_test(both)[0].endswith("their test_acc and test_miou are optimistic")
    assert selected_on_test(held_out.assign(**{"data.val_size": 10})) == selected_on_test(frame) == []


@pytest.mark.parametrize(
    "condition, rows",
    [
        *(("lr=0.001", 1), ("lr=1e-3", 1), ("lr=.0010", 1), ("lr=null", 1), ("lr=-", 1)),
        *(("hidden=[8,8]", 1), ("hidden=[8, 8.0]", 1), ("batch=64", 2), ("batch=64.0", 2), ("norm=batch", 1)),
    ],
)
def test_a_condition_takes_any_notation(condition: str, rows: int) -> None:
    frame = pd.DataFrame({"lr": [1e-3, None], "hidden": [[8, 8], "[16]"], "batch": [64, 64], "norm": ["batch", "none"]})
    assert len(where(frame, [condition])) == rows


def test_a_condition_that_no_run_meets_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"--where lr=0\.01: no such run; values of lr: 0\.001"):
        where(pd.DataFrame({"lr": [1e-3]}), ["lr=0.01"])


def test_watch_selects_by_what_was_typed() -> None:
    jobs = [
        JOB | {"run_id": name, "overrides": [f"+optimizer.lr={lr}", "seed=0"]}
        for name, lr in zip("ab", ("1e-3", "0.1"), strict=True)
    ]
    plan = {"jobs": jobs}
    assert select_jobs(plan, [])["jobs"] == jobs
    changed = JOB | {"run_id": "c", "overrides": ["+optimizer.lr=1e-3", "seed=0", "norm=batch"]}
    design = {"jobs": [*jobs, changed], "design": "one_at_a_time"}
    selected = swept_in_plan(select_jobs(design, ["norm=batch"]))
    assert [(job["run_id"], text) for job, text in selected] == [("c", "norm=batch")]
    for condition in ("optimizer.lr=0.001", "optimizer.lr=1e-3"):
        assert [job["run_id"] for job in select_jobs(plan, [condition, "seed=0"])["jobs"]] == ["a"]
    with pytest.raises(UserError, match=r"no run of the sweep has it; values of optimizer\.lr: 0\.001, 0\.1"):
        select_jobs(plan, ["optimizer.lr=5"])
    with pytest.raises(UserError, match="model is not in its command"):
        select_jobs(plan, ["model=mlp"])
    with pytest.raises(UserError, match="must be KEY=VALUE"):
        select_jobs(plan, ["model"])


def test_a_report_has_the_selected_runs(tmp_path: Path) -> None:
    trained(tmp_path)
    page = render(tmp_path, where=["norm=batch"])
    assert "3: 3 finished" in page and "6: 6 finished" in render(tmp_path)


def test_whole_numbers_stay_whole_where_a_column_has_gaps() -> None:
    frame = pd.DataFrame({"kernel": [5.0, None], "test_acc": [1.0, None], "rate": [0.5, None]})
    rows = json.loads(as_json(frame, ""))["rows"]
    assert repr(rows[0]) == "{'kernel': 5, 'test_acc': 1.0, 'rate': 0.5}" and rows[1]["kernel"] is None
    assert as_csv(frame).splitlines()[1] == "5,1.0,0.5"


def test_sweeps_are_listed_with_date_size_and_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no sweeps in"):
        print_sweeps(tmp_path)
    ids = trained(tmp_path)
    save(tmp_path, "old", ids, created=1.0e9)
    save(tmp_path, "new", [*ids, "later"], created=1.8e9)
    (tmp_path / "sweeps/damaged").mkdir()
    (tmp_path / "sweeps/damaged/sweep.json").write_text("{")
    listed = [(sweep.name, sweep.runs, sweep.state) for sweep in read_sweeps(tmp_path)]
    assert listed == [
        ("new", 7, "6 of 7 finished, 1 waiting"),
        ("old", 6, "finished"),
        ("damaged", None, "sweep.json is not readable"),
    ]
    print_sweeps(tmp_path)
    printed = capsys.readouterr().out
    assert "2027-01-1" in printed and printed.index("new") < printed.index("old")


@pytest.mark.parametrize("width", [80, 120])
def test_names_of_sweeps_can_be_copied_from_a_narrow_list(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "norm-dropout-seed-2e421107"
    save(tmp_path, name, [*trained(tmp_path), "later"], created=1.0e9)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_sweeps(tmp_path)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert any(name in line for line in lines) and max(map(len, lines)) <= width

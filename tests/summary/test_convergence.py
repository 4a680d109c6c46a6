"""Convergence: read from a run's curve with the options of the command, the same for all runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from processes import sweeper
from records import count_reads, curve, finish, make

from sweeper.errors import UserError
from sweeper.summary.convergence import ConvergenceOptions, convergence
from sweeper.summary.table import lay_out, read_runs

COMMANDS = ("summary", "effects", "curves", "report")


@pytest.mark.parametrize(
    ("accs", "fraction", "target", "epoch", "to_target"),
    [
        ([0.5, 0.8, 1.0], 0.99, None, 3, None),
        ([0.5, 0.8, 1.0], 0.8, None, 2, None),  # exactly the fraction counts
        ([0.5, 0.8, 1.0, 0.4], 0.5, 0.8, 1, 2),
        ([0.7, 0.7], 1.0, 0.7, 1, 1),
        ([0.7, 0.6], 1.0, 0.71, 1, ">2"),
        ([0.0, 0.0], 0.99, 0.5, 1, ">2"),
    ],
)
def test_convergence(accs: list[float], fraction: float, target: float | None, epoch: int, to_target: Any) -> None:
    found = convergence(curve(accs), fraction, target)
    assert found == {
        "convergence_epoch": epoch,
        "convergence_seconds": 2.0 * epoch,
        "epochs_to_target": to_target,
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fraction": 0.0}, "--convergence-fraction 0.0: must be above 0 and at most 1"),
        ({"fraction": 1.1}, "--convergence-fraction 1.1: must be above 0 and at most 1"),
        ({"fraction": float("nan")}, "--convergence-fraction nan: must be above 0 and at most 1"),
        ({"target_acc": 0.0}, "--target-acc 0.0: must be above 0 and at most 1"),
        ({"target_acc": 90.0}, "--target-acc 90.0: must be above 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_user_errors(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        ConvergenceOptions(**options)
    ConvergenceOptions(fraction=1.0, target_acc=1.0)


def test_captions_name_what_differs_from_the_defaults() -> None:
    assert ConvergenceOptions().captions("val_acc") == []
    assert ConvergenceOptions(fraction=0.955, target_acc=0.5).captions("val_miou") == [
        "Converged: the first epoch at 95.5% of the run's best val_miou",
        "epochs_to_target: the first epoch with val_miou of at least 0.5",
    ]


def test_the_options_of_a_printed_command_are_not_rounded() -> None:
    assert ConvergenceOptions().arguments == []
    arguments = ["--convergence-fraction", "0.9999999", "--target-acc", "0.12345678"]
    assert ConvergenceOptions(fraction=0.9999999, target_acc=0.12345678).arguments == arguments


def columns(output_dir: Path, **options: Any) -> list[Any]:
    frame, _ = read_runs(output_dir, options=ConvergenceOptions(**options))
    names = ["convergence_epoch", "convergence_seconds", "epochs_to_target"]
    return frame[names].astype(object).where(frame[names].notna(), None).to_numpy().tolist()


def test_the_index_serves_no_rows_read_with_other_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, "run", [0.5, 0.8, 0.9])
    read = count_reads(monkeypatch)
    for _ in range(2):
        for options, expected in (
            ({}, [3, 6.0, None]),
            ({"fraction": 0.8}, [2, 4.0, None]),
            ({"fraction": 0.8, "target_acc": 0.95}, [2, 4.0, ">3"]),
            ({"target_acc": 0.5}, [3, 6.0, 1]),
        ):
            for rereads in (1, 0):
                read.clear()
                assert columns(tmp_path, **options) == [expected]
                assert len(read) == rereads


@pytest.mark.parametrize("state", ["running", "failed", "diverged", "interrupted", "lost", "unknown"])
def test_only_finished_runs_converge(state: str, tmp_path: Path) -> None:
    make(tmp_path, "run", [0.5, 0.6], state)
    assert columns(tmp_path, target_acc=0.5) == [[None, None, None]]


def test_truncated_metrics_give_no_convergence_and_an_error(tmp_path: Path) -> None:
    record = finish(tmp_path, "run", [0.5, 0.6, 0.7])
    metrics = record.folder / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:2]))
    assert columns(tmp_path, target_acc=0.5) == [[None, None, None]]
    _, caption = lay_out(*read_runs(tmp_path))
    assert "run finished: metrics.jsonl has 2 of 3 epochs" in caption


def test_captions_of_tables_say_how_curves_were_read(tmp_path: Path) -> None:
    finish(tmp_path, "run", [0.5, 0.6, 0.7])
    options = ConvergenceOptions(fraction=0.8, target_acc=0.6)
    _, caption = lay_out(*read_runs(tmp_path, options=options), options=options)
    assert "at 80% of the run's best val_acc" in caption and "val_acc of at least 0.6" in caption
    _, caption = lay_out(*read_runs(tmp_path))
    assert "Converged" not in caption and "epochs_to_target" not in caption


def test_a_target_that_is_not_reached_is_shown_as_such(tmp_path: Path) -> None:
    finish(tmp_path, "reaches", [0.5, 0.9])
    finish(tmp_path, "never", [0.5, 0.6, 0.7])
    make(tmp_path, "runs", [0.1], "running")
    done = sweeper(
        "summary", "--output-dir", str(tmp_path), "--target-acc", "0.9", "--format", "json", "--group-by", "none"
    )
    content = json.loads(done.stdout)
    assert [row["epochs_to_target"] for row in content["rows"]] == [2, ">3", None]
    assert "epochs_to_target: the first epoch with val_acc of at least 0.9" in content["caption"]


def test_all_four_commands_have_the_options(tmp_path: Path) -> None:
    for seed in (0, 1):
        for activation, accs in (("relu", [0.6, 0.8, 0.9]), ("selu", [0.8, 0.9, 0.9])):
            finish(tmp_path, f"{activation}-{seed}", accs, seed=seed, activation={"name": activation})
    options = ("--convergence-fraction", "0.85", "--target-acc", "0.85")
    done = sweeper("effects", "--output-dir", str(tmp_path), *options, "--format", "json")
    content = json.loads(done.stdout)
    means = {row["measure"]: row["mean"] for row in content["comparisons"]}
    assert means == {
        "test_acc": 0,
        "epochs_to_level": -1,
        "epochs_to_target": -1,
        "mean_val_acc": pytest.approx((0.8 + 0.9 + 0.9 - 0.6 - 0.8 - 0.9) / 3),
    }
    done = sweeper("report", "--output-dir", str(tmp_path), *options)
    page = Path(done.stdout.strip()).read_text(encoding="utf-8")
    assert "at least 85% (the option --convergence-fraction)" in page
    assert "at least 0.85 (the option --target-acc)" in page
    done = sweeper("curves", "--output-dir", str(tmp_path), *options, "--output", str(tmp_path / "curves.svg"))
    assert done.returncode == 0
    for command in COMMANDS:
        done = sweeper(command, "--output-dir", str(tmp_path), "--target-acc", "2")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "error: --target-acc 2.0: must be above 0 and at most 1\n"

"""The summary's table: averages over seeds, filters, order, columns, caption."""

import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from records import TEST_ACCS, finish, make, summarize

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.summary.columns import format_value, text_cells
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.table import lay_out, read_runs, sort, where


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


def test_runs_are_averaged_over_a_choice_whatever_follows_from_it(tmp_path: Path) -> None:
    for name, momentum in (("sgd", {}), ("momentum", {"momentum": 0.9})):
        optimizer = {"name": name, "lr": 0.1} | momentum
        code = {"core": {"a": "1"}, "optimizer": {name: "2"}}
        finish(tmp_path, name, [0.6], optimizer=optimizer, run={"code": code})
    table, _ = lay_out(*read_runs(tmp_path), over="optimizer")
    assert table["runs"].tolist() == [2] and "optimizer.momentum" not in table
    finish(tmp_path, "other", [0.6], optimizer={"name": "sgd", "lr": 0.1}, run={"code": {"core": {"a": "3"}}}, seed=1)
    finish(tmp_path, "same", [0.6], optimizer={"name": "sgd", "lr": 0.2}, run={"code": {"core": {"a": "1"}}}, seed=1)
    table, _ = lay_out(*read_runs(tmp_path), over="optimizer")
    assert sorted(table["runs"]) == [1, 1, 2]  # other code and another rate are no part of the choice


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


def test_targets_sort_by_epoch_then_by_how_many_runs_reached_them() -> None:
    values = [">10", "reached by 9/20", 7.0, "reached by 0/3", ">9", "reached by 2/3", 3.0, None]
    frame = pd.DataFrame({"run_id": list("abcdefgh"), "epochs_to_target": values})
    expected = [3.0, 7.0, "reached by 2/3", "reached by 9/20", "reached by 0/3", ">9", ">10", None]
    assert sort(frame, "epochs_to_target")["epochs_to_target"].tolist() == expected


def test_a_column_is_shown_once_and_a_deviation_with_its_mean(runs: Path) -> None:
    frame = read_runs(runs)[0]
    table, _ = lay_out(frame, over="seed", columns=["test_acc_std", "activation", "activation", "test_acc"])
    assert list(table) == ["test_acc", "test_acc_std", "activation"]


def test_a_measure_that_no_run_has_sorts_nothing_and_the_caption_says_so(runs: Path) -> None:
    frame = read_runs(runs)[0].assign(test_ece=math.nan)
    for by, is_said in (("test_ece", True), ("test_acc", False)):
        caption = lay_out(sort(frame, by), by=by)[1]
        assert (f"The rows are not sorted: no run has {by}" in caption) == is_said
        assert ("The top row is the best" in caption) != is_said


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


def test_a_file_is_shown_by_its_name_or_its_run_and_by_digits_where_the_name_tells_nothing(tmp_path: Path) -> None:
    def trained(run_id: str, weights: str | None, file: str | None) -> None:
        model = {"name": "resnet18", "weights": None if weights is None else f"sha256:{weights}"}
        finish(tmp_path, run_id, [0.6], model=model, run={"config": {"model": {"weights": file}}})

    trained("scratch", None, None)
    trained("moved", "0" * 64, "elsewhere/imagenet.pth")
    trained("given", "0" * 64, "/data/imagenet.pth")
    trained("renamed", "0" * 64, "/data/other.pth")
    trained("own", "1" * 64, "outputs/runs/mlp-s0-0123456789/checkpoints/best.pt")
    trained("one", "2" * 64, "one/net.pth")
    trained("two", "f" * 64, "two/net.pth")
    trained("unknown", "3" * 64, None)
    for _ in range(2):  # from the records, then from the index
        frame, _ = read_runs(tmp_path)
        shown = {
            run_id: format_value("", value)
            for run_id, value in zip(*(frame[name] for name in ("run_id", "model.weights")), strict=True)
        }
        assert shown == {
            "scratch": "-",
            "moved": "imagenet.pth",
            "given": "imagenet.pth",
            "renamed": "imagenet.pth",
            "own": "mlp-s0-0123456789",
            "one": "sha256:22222222",
            "two": "sha256:ffffffff",
            "unknown": "sha256:33333333",
        }
    assert where(frame, ["model.weights=sha256:22222222"])["run_id"].tolist() == ["one"]
    assert {*where(frame, ["model.weights=imagenet.pth"])["run_id"]} == {"moved", "given", "renamed"}
    assert "sha256:ffffffff " in summarize(tmp_path)

"""The report's tables: rounded results with their runs, and the numbers of the effects."""

import math
from pathlib import Path

import pytest
from paired import found, runs, table
from reports import exercises, make

from sweeper.summary.report_forest import effect_tables
from sweeper.summary.report_tables import cell_text, columns_of, is_fine, ordered, rows_of, runs_of_rows
from sweeper.summary.table import lay_out, read_runs


def test_the_numbers_have_a_line_for_each_model_and_the_interval_that_p_was_judged_at() -> None:
    gains = {"cnn": [0.02, 0.021, 0.019], "mlp": [-0.001, 0.002, 0.001]}
    rows = [
        run
        for model, values in gains.items()
        for run in runs("norm", {"none": [0.5] * 3, "batch": [0.5 + gain for gain in values]}, model=model)
    ]
    result = found(table(*rows), {"norm": "none", "model": "cnn"})
    first, crossed = effect_tables(result)
    change = next(row for row in first["rows"] if row["changes"][:1] == [("norm=batch", "none")])
    models = [row for row in first["rows"] if row["model"] is not None]
    assert change["models"] == "2 of 2 up" and [row["model"] for row in models] == ["cnn", "mlp"]
    assert [row["mean"] for row in models] == ["+0.0200", "+0.0007"]
    assert crossed["crossed"] and crossed["title"] == "test_acc: interactions (exploratory)"
    one = next(one for one in result.comparisons if one.changes[0].axis == "norm")
    low, high = one.family or (0.0, 0.0)
    assert change["interval"] == f"{low:+.4f} to {high:+.4f}"


@pytest.mark.parametrize(
    "name, value, std, text",
    [
        ("test_acc", 0.97123, 0.00421, "97.1 ± 0.4"),
        ("test_acc", 0.97123, None, "97.1"),
        ("best_val_acc", math.nan, math.nan, "-"),
        ("train_seconds", 12.34, 1.26, "12.3 ± 1.3"),
        ("train_seconds", 1234.5, 66.6, "1,234 ± 67"),
        ("convergence_epoch", 5.333, 1.155, "5.3 ± 1.2"),
        ("parameters", 17882.0, 0.0, "17,882"),
        ("epochs_to_target", "reached by 2/3", None, "reached by 2/3"),
        ("optimizer.lr", 0.1 + 0.2, None, "0.3"),
        ("model.kernel_size", 5.0, None, "5"),
        ("flag", True, None, "yes"),
    ],
)
def test_cells_are_rounded_for_readers(name: str, value: object, std: object, text: str) -> None:
    assert cell_text(name, value, std) == text


def test_small_deviations_get_a_second_digit() -> None:
    assert is_fine("test_acc", [0.0002, 0.0004, None]) and not is_fine("test_acc", [0.0002, 0.004])
    assert not is_fine("test_acc", [None, 0.0]) and not is_fine("train_seconds", [0.0001])
    assert cell_text("test_acc", 0.97123, 0.00021, is_fine=True) == "97.12 ± 0.02"


def test_each_row_has_its_runs(tmp_path: Path) -> None:
    exercises(tmp_path)
    frame, _ = read_runs(tmp_path)
    laid_out, _ = lay_out(frame, over="seed")
    shown = ordered(laid_out)
    columns = columns_of(shown)
    rows = rows_of(laid_out, shown, runs_of_rows(frame, laid_out))
    names = [column.name for column in columns]
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        ids = [run.run_id for run in cells["runs"].runs]
        model = cells["model"].text
        if cells["state"].text == "finished":
            assert ids == [f"{model}-{cells['optimizer.lr'].text}-s{seed}" for seed in (0, 1)]
        else:
            assert ids and all(name.startswith(model) for name in ids)
    best = rows[0][names.index("runs")].runs
    assert [(run.run_id, run.seed, run.result) for run in best] == [
        ("cnn-0.01-s0", "0", "73.0%"),
        ("cnn-0.01-s1", "1", "74.0%"),
    ]
    assert names[:3] == ["model", "optimizer.lr", "test_acc"] and columns[2].title == "test_acc (%)"
    assert next(column.name for column in columns if column.is_detail) == "best_epoch"


def test_the_state_is_shown_only_where_runs_are_not_finished(tmp_path: Path) -> None:
    for number, model in enumerate(("mlp", "cnn")):
        make(tmp_path, model, [0.5 + number / 10], model={"name": model})
    frame, _ = read_runs(tmp_path)
    laid_out, _ = lay_out(frame, over="seed")
    assert "state" not in ordered(laid_out) and "run_id" in ordered(laid_out)
    rows = runs_of_rows(frame, laid_out)  # a row is a run
    assert [[run.run_id for run in row] for row in rows] == [["cnn"], ["mlp"]]

"""Measures beyond accuracy as columns: read where they are asked for only, against scikit-learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from paired import found, table
from paired import runs as paired
from processes import sweeper
from records import finish, make
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss, recall_score

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.measures import measure
from sweeper.runs.predictions import read_predictions, write_predictions
from sweeper.summary import measure_columns
from sweeper.summary.columns import MEASURES, high_is_best
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects_text import show_effects
from sweeper.summary.measure_columns import expand, with_measures
from sweeper.summary.table import lay_out, read_runs, sort
from sweeper.summary.verdicts import verdict

CLASSES = ["cat", "dog", "a,b"]


def complete(record: RunDirectory, seed: int, stored: bool = True) -> dict[str, float]:
    """Add predictions and what training computes from them; return it, with the recall of each class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, 60)
    logits = generator.normal(size=(60, 3)).astype(np.float32)
    write_predictions(record.predictions, logits, labels)
    predicted = logits.argmax(1)
    result: dict[str, float] = {
        "test_acc": float((predicted == labels).mean()),
        "test_balanced_acc": balanced_accuracy_score(labels, predicted),
        "test_macro_f1": f1_score(labels, predicted, average="macro"),
        "test_loss": log_loss(labels, softmax(logits.astype(np.float64), axis=1)),
        **(measure(logits, labels) if stored else {}),
    }
    confusion = {"confusion": confusion_matrix(labels, predicted).tolist()}
    record.write_result((record.result() or {}) | result | confusion)
    recalls = recall_score(labels, predicted, average=None)
    return result | measure(logits, labels) | {f"test_acc[{name}]": r for name, r in zip(CLASSES, recalls, strict=True)}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, dict[str, float]]:
    """Make two models with two seeds each, and a run that failed."""
    made: dict[str, dict[str, float]] = {}
    for model in ("mlp", "cnn"):
        for seed in (0, 1):
            run = {"dataset": {"classes": CLASSES}}
            record = finish(tmp_path, f"{model}-{seed}", [0.5], seed=seed, model={"name": model}, run=run)
            made[record.run_id] = complete(record, len(made))
    make(tmp_path, "failed", [0.4], "failed", seed=2)
    return made


def test_measures_are_columns_of_the_frame_and_not_of_the_table(runs: dict[str, Any], tmp_path: Path) -> None:
    frame, _ = read_runs(tmp_path)
    assert {*MEASURES} <= {*frame.columns}
    for _, row in frame.set_index("run_id").drop(index="failed").iterrows():
        own = [name for name in MEASURES if name != "test_pixel_acc"]  # which is of segmentation
        assert {name: row[name] for name in own} == {name: runs[str(row.name)][name] for name in own}
    table, _ = lay_out(frame, over="seed")
    assert not {*MEASURES} & {*table.columns}
    table, caption = lay_out(sort(frame, "test_ece"), over="seed", by="test_ece")  # a table shows what sorts it
    assert table["test_ece"].dropna().is_monotonic_increasing
    assert "The top row is the best of 2 configurations by test_ece: its test_ece is optimistic" in caption


def test_measures_are_averaged(runs: dict[str, Any], tmp_path: Path) -> None:
    frame, _ = read_runs(tmp_path)
    columns = ["model", "test_macro_f1", "test_ece"]
    table, _ = lay_out(frame[frame["state"] == "finished"], over="seed", columns=columns)
    assert list(table.columns) == ["model", "test_macro_f1", "test_macro_f1_std", "test_ece", "test_ece_std"]
    for row in table.to_dict("records"):
        for name in columns[1:]:
            values = [runs[f"{row['model']}-{seed}"][name] for seed in (0, 1)]
            assert (row[name], row[f"{name}_std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


@pytest.mark.parametrize(
    ("name", "high"),
    [("test_loss", False), ("test_ece", False), ("test_macro_f1", True), ("test_top5_acc", True), ("epochs", False)],
)
def test_better_values_come_first(name: str, high: bool, runs: dict[str, Any], tmp_path: Path) -> None:
    assert high_is_best(name) == high
    values = sort(read_runs(tmp_path)[0], name)[name].dropna()
    assert values.is_monotonic_decreasing if high else values.is_monotonic_increasing


def test_the_accuracy_of_each_class(runs: dict[str, Any], tmp_path: Path) -> None:
    frame, _ = read_runs(tmp_path)
    frame = with_measures(frame, tmp_path / "runs", ["class_accs"])
    names = [f"test_acc[{name}]" for name in CLASSES]
    assert expand(["model", "class_accs"], frame) == ["model", *names]
    for _, row in frame.set_index("run_id").drop(index="failed").iterrows():
        assert [row[name] for name in names] == [runs[str(row.name)][name] for name in names]
    assert frame.set_index("run_id").loc["failed", names].isna().all()
    others = frame.assign(**{"test_acc[ship]": pd.Series(0.5, frame.index[frame["state"] == "failed"])})
    assert expand(["class_accs"], others) == [*names, "test_acc[ship]"]
    assert expand(["class_accs"], others[others["state"] == "finished"]) == names  # not those of other datasets
    table, _ = lay_out(frame, over="seed", columns=["model", names[0]])
    assert list(table.columns) == ["model", names[0], f"{names[0]}_std"]
    assert not {*names} & {*lay_out(frame, over="seed")[0].columns}
    assert sort(frame, names[1])[names[1]].dropna().is_monotonic_decreasing


@pytest.mark.parametrize(
    "confusion", [None, 3, [[1, 2], [3, 4]], [[1, 2, 3]] * 2, [["a"] * 3] * 3, [[1], [1, 2], []], [[10**30] * 3] * 3]
)
def test_a_damaged_confusion_matrix_gives_no_accuracies(confusion: Any, tmp_path: Path) -> None:
    record = finish(tmp_path, "run", [0.5], run={"dataset": {"classes": CLASSES}})
    record.write_result((record.result() or {}) | {"confusion": confusion})
    frame = with_measures(read_runs(tmp_path)[0], tmp_path / "runs", ["class_accs"])
    with pytest.raises(UserError, match="--columns class_accs: none of these runs has a confusion matrix"):
        expand(["class_accs"], frame)


def test_a_class_without_images_has_no_accuracy(tmp_path: Path) -> None:
    record = finish(tmp_path, "run", [0.5], run={"dataset": {"classes": CLASSES}})
    record.write_result((record.result() or {}) | {"confusion": [[3, 1, 0], [0, 0, 0], [0, 1, 1]]})
    frame = with_measures(read_runs(tmp_path)[0], tmp_path / "runs", ["test_acc[cat]"])
    assert frame[["test_acc[cat]", "test_acc[a,b]"]].to_numpy().tolist() == [[0.75, 0.5]]
    assert "test_acc[dog]" not in frame


def test_predictions_are_read_only_for_measures_that_the_result_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs may have been trained before there was a measure."""
    opened: list[str] = []

    def read(path: Path) -> Any:
        opened.append(path.parent.name)
        return read_predictions(path)

    monkeypatch.setattr(measure_columns, "read_predictions", read)
    values = {}
    for index in range(3):
        record = finish(tmp_path, f"run-{index}", [0.5], seed=index)
        values[record.run_id] = complete(record, index, stored=index == 0)
    (tmp_path / "runs" / "run-2" / "predictions.npz").write_bytes(b"damaged")
    make(tmp_path, "failed", [0.4], "failed", seed=3)
    frame, _ = read_runs(tmp_path)
    assert with_measures(frame, tmp_path / "runs", ["model", "test_acc", "test_loss"]).equals(frame)
    assert opened == []
    found = with_measures(frame, tmp_path / "runs", ["test_ece"]).set_index("run_id")
    assert sorted(opened) == ["run-1", "run-2"]
    assert found["test_ece"].isna().to_dict() == {"run-0": False, "run-1": False, "run-2": True, "failed": True}
    assert [found.loc[name, "test_ece"] for name in ("run-0", "run-1")] == [
        values[f"run-{n}"]["test_ece"] for n in (0, 1)
    ]
    assert found["test_top5_acc"].notna().to_dict()["run-1"] is False  # was not asked for


def test_the_command_shows_them(runs: dict[str, Any], tmp_path: Path) -> None:
    options = ["--columns", "run_id,test_ece,class_accs", "--group-by", "none", "--where", "state=finished"]
    done = sweeper("summary", "--output-dir", str(tmp_path), *options, "--sort", "test_acc[dog]", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["run_id"] for row in rows] == sorted(runs, key=lambda run_id: -runs[run_id]["test_acc[dog]"])
    names = ["test_ece", *(f"test_acc[{name}]" for name in CLASSES)]
    assert rows == [{"run_id": row["run_id"], **{name: runs[row["run_id"]][name] for name in names}} for row in rows]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("test_macro_f1", "helps"),
        ("test_balanced_acc", "helps"),
        ("test_acc[cat]", "helps"),
        ("test_loss", "hurts"),
        ("test_ece", "hurts"),
    ],
)
def test_effects_compare_by_a_measure(name: str, result: str) -> None:
    """Every measure is 0.2 higher with SELU: better, or worse where lower is better."""
    frame = table(*paired("activation", {"relu": [0.5, 0.51, 0.49], "selu": [0.7, 0.711, 0.689]}, name))
    effects = found(frame, measures=[name])
    (comparison,) = effects.comparisons
    assert comparison.metric == name
    assert comparison.mean == pytest.approx(0.2)
    assert verdict(comparison) == result
    swapped = found(frame, {"activation": "selu"}, measures=[name])
    assert verdict(swapped.comparisons[0]) == {"helps": "hurts", "hurts": "helps"}[result]
    assert found(frame).comparisons == []  # not among the usual ones
    frame.loc[0, name] = None
    assert f"1 finished run without {name}" in found(frame, measures=[name]).notes


def test_a_measure_that_no_run_has_is_refused() -> None:
    frame = table(*paired("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, "test_miou"))
    with pytest.raises(UserError, match="--measure test_ece: no run here has it; they have test_miou"):
        found(frame, measures=["test_ece"])


def test_the_measure_that_decides_is_of_the_compared_runs() -> None:
    other = {"data": "masks", "best_val_acc": None, "test_acc": None}
    masks = paired("norm", {"none": [0.5, 0.51], "batch": [0.6, 0.62]}, "test_miou", **other)
    images = paired("norm", {"none": [0.5, 0.51]}, data="images", data__fingerprint="cafe")  # nothing to compare
    for row, pixel_acc in zip(masks, (0.5, 0.6, 0.7, 0.8), strict=True):
        row["test_pixel_acc"] = pixel_acc
    assert found(table(*masks, *images), measures=["test_pixel_acc"]).main == "test_miou"
    assert found(table(*masks, *images)).main == "test_miou"


def test_the_command_compares_by_measures(runs: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "effects.json"
    show_effects(
        tmp_path, None, EffectOptions(measure=["test_ece", "class_accs", "test_ece"]), format="json", output=file
    )
    measured = {row["measure"]: row["mean"] for row in json.loads(file.read_text())["comparisons"]}
    assert list(measured) == ["test_ece", *(f"test_acc[{name}]" for name in CLASSES)]
    for name, mean in measured.items():
        differences = [runs[f"cnn-{seed}"][name] - runs[f"mlp-{seed}"][name] for seed in (0, 1)]
        assert abs(mean) == pytest.approx(abs(np.mean(differences)), abs=1e-9)
    with pytest.raises(
        UserError, match=r"--measure test_f1: unknown measure \(did you mean test_.*choose from .*class_accs"
    ):
        show_effects(tmp_path, None, EffectOptions(measure=["test_f1"]))
    with pytest.raises(UserError, match=r"--measure test_acc\[cow\]: unknown measure"):
        show_effects(tmp_path, None, EffectOptions(measure=["test_acc[cow]"]))

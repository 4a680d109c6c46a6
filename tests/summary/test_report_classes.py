"""The report's section on the best configuration: classes summed over its seeds, calibration."""

from pathlib import Path

import numpy as np
import pytest
from reports import Page, make

from sweeper.runs.measures import calibration_error
from sweeper.runs.predictions import write_predictions
from sweeper.summary.best import best_configuration, best_run
from sweeper.summary.report import render
from sweeper.summary.report_calibration import calibration, reliability
from sweeper.summary.report_classes import accuracies, confusion
from sweeper.summary.table import read_runs


def test_the_matrices_of_the_seeds_are_summed(tmp_path: Path) -> None:
    records = [make(tmp_path, f"run-{seed}", [0.5], seed=seed) for seed in range(3)]
    records[1].write_result({"confusion": [[5, 5, 0], [0, 10, 0], [1, 2, 7]]})
    records[2].write_result({"confusion": [[1, 0], [0, 1]]})  # of other classes
    summed = confusion(records)
    assert summed is not None and summed["seeds"] == 2 and summed["classes"] == ["ant", "bee", "cat"]
    assert summed["rows"] == [[14, 6, 0], [2, 18, 0], [1, 2, 17]]
    assert [(one["name"], one["percent"], one["images"], one["taken"]) for one in summed["accuracies"]] == [
        ("ant", "70.0", 20, "bee (6)"),
        ("cat", "85.0", 20, "bee (2)"),
        ("bee", "90.0", 20, "ant (2)"),
    ]
    records[0].write_result({"confusion": None})
    assert confusion(records[:1]) is None and confusion([]) is None


def test_a_class_without_images_has_no_accuracy() -> None:
    found = accuracies(["a", "b"], [[0, 0], [0, 3]])
    assert [(one["name"], one["percent"], one["taken"]) for one in found] == [("b", "100.0", "-")]


def test_the_best_configuration_has_all_of_its_finished_runs(tmp_path: Path) -> None:
    for model, accs in (("cnn", [0.8, 0.7, 0.75]), ("mlp", [0.7, 0.79, 0.69])):
        for seed, acc in enumerate(accs):
            make(tmp_path, f"{model}-{seed}", [acc], model={"name": model}, seed=seed)
    make(tmp_path, "cnn-3", [0.9], "failed", "boom", model={"name": "cnn"}, seed=3)
    frame, _ = read_runs(tmp_path)
    assert sorted(best_configuration(frame)) == ["cnn-0", "cnn-1", "cnn-2"]
    assert best_configuration(frame)[0] == best_run(frame)
    assert best_configuration(frame[frame["state"] == "failed"]) == []


def test_the_bins_give_the_calibration_error() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(500, 4)) * 2
    labels = generator.integers(0, 4, 500)
    found = reliability(logits, labels)
    assert found.images.sum() == 500 and found.error == pytest.approx(calibration_error(logits, labels), abs=1e-12)
    powers = np.exp(logits)
    confidence = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
    inside = (confidence > 9 / 15) & (confidence <= 10 / 15)
    assert found.images[9] == inside.sum() and found.confidence[9] == pytest.approx(confidence[inside].mean())
    assert found.accuracy[9] == pytest.approx((logits.argmax(axis=1) == labels)[inside].mean())


def test_the_diagram_is_of_all_seeds(tmp_path: Path) -> None:
    records = [make(tmp_path, f"run-{seed}", [0.5], seed=seed) for seed in range(2)]
    assert calibration(records) is None
    labels = np.array([0, 1, 2, 0])
    sure = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]] * 50  # three of four right, all with confidence 1
    for record in records:
        write_predictions(record.predictions, sure, labels)
    drawn = calibration(records)
    assert drawn is not None and drawn["error"] == "0.250" and drawn["runs"] == 2
    assert drawn["tendency"] == "too confident"
    assert [one["text"] for one in drawn["bins"]] == ["8 images: confidence 100.0%, 75.0% correct"]
    assert "Calibration: ECE 0.250" in Page(render(tmp_path)).texts

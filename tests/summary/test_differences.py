"""Two runs beside each other: what differs, and McNemar's test against its closed form."""

import json
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import RUN, curve, finish

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import write_predictions
from sweeper.summary.differences import ClassDifference, compare_runs
from sweeper.summary.differences_text import as_json, print_differences

DATASET = {"fingerprint": "f00d", "classes": ["ant", "bee"]}
LABELS = np.array([0] * 12 + [1] * 8)


def pair(tmp_path: Path, first: dict[str, Any], second: dict[str, Any]) -> list[RunDirectory]:
    """Make two finished runs whose configs have these changes."""
    records = []
    for name, changes in (("mlp-a", first), ("mlp-b", second)):
        run = {"dataset": DATASET} | changes.pop("run", {})
        records.append(finish(tmp_path, name, [0.5, 0.6, 0.7], run=run, **changes))
        predict(records[-1], np.ones(20, bool))
    return records


def predict(record: RunDirectory, correct: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Write predictions of which these are correct."""
    logits = np.zeros((20, 2), np.float32)
    logits[np.arange(20), np.where(correct, LABELS, 1 - LABELS)] = 1
    write_predictions(record.predictions, logits, LABELS)


def test_only_what_differs_is_named(tmp_path: Path) -> None:
    versions = {"versions": {"torch": "2.13.0"}, "device_type": "cuda", "git": {"commit": "c0ffee"}}
    found = compare_runs(*pair(tmp_path, {"epochs": 5, "activation": {"name": "relu"}}, {"run": versions}))
    assert found.settings == {"epochs": (5, 3), "activation": ("relu", None)}
    assert found.changed_code == []
    assert found.facts == {
        "device_type": (RUN["device_type"], "cuda"),
        "versions.torch": (RUN["versions"]["torch"], "2.13.0"),
        "git.commit": (None, "c0ffee"),
    }
    assert found.epoch is None and found.curves == {}


def test_definitions_that_both_have_are_compared(tmp_path: Path) -> None:
    first, second = pair(tmp_path, {"activation": {"name": "relu"}}, {"activation": {"name": "selu"}})
    assert compare_runs(first, second).changed_code == []  # the activations are settings
    run = second.run() or {}
    run["code"]["core"]["training/loop.fit"] = "changed"
    write_json(second.folder / "run.json", run)
    assert compare_runs(first, second).changed_code == ["training/loop.fit"]


def test_the_first_epoch_of_difference(tmp_path: Path) -> None:
    first, second = pair(tmp_path, {}, {"seed": 1})
    rows = curve([0.5, 0.6, 0.65, 0.7], seconds=9.0)  # timings do not count
    second.write_metrics(rows)
    found = compare_runs(first, second)
    assert found.epoch == 3
    assert found.curves == {"val_acc": (0.7, 0.65), "val_loss": (1.3, 1.35), "train_loss": (1.3, 1.35)}


def test_mcnemars_test_is_the_two_sided_binomial_test(tmp_path: Path) -> None:
    first, second = pair(tmp_path, {}, {"seed": 1})
    right, wrong = np.ones(20, bool), np.ones(20, bool)
    right[[0, 1]] = False  # two images that B alone gets right
    wrong[[2, 3, 4, 12, 13, 14, 15, 16]] = False  # eight that A alone gets right
    right[19] = wrong[19] = False
    predict(first, right)
    predict(second, wrong)
    test = compare_runs(first, second).test
    assert test is not None
    assert (test.both, test.only_first, test.only_second, test.neither) == (9, 8, 2, 1)
    assert test.p == pytest.approx(2 * sum(comb(10, k) for k in range(3)) / 2**10)
    assert test.accs == (17 / 20, 11 / 20)
    assert test.classes == [
        ClassDifference("bee", 8, (7 / 8, 2 / 8), 5, 0),
        ClassDifference("ant", 12, (10 / 12, 9 / 12), 3, 2),
    ]
    predict(second, right)
    equal = compare_runs(first, second).test
    assert equal is not None and equal.p == 1 and equal.classes == []


def test_what_cannot_be_tested_is_compared_all_the_same(tmp_path: Path) -> None:
    other = {"run": {"dataset": DATASET | {"fingerprint": "beef"}}}
    first, second = pair(tmp_path, {}, other)
    found = compare_runs(first, second)
    assert found.test is None and found.facts == {"dataset.fingerprint": ("f00d", "beef")}
    assert found.untested == "mlp-a and mlp-b have different images"
    (second.folder / "result.json").unlink()
    assert compare_runs(first, second).untested == "mlp-b has no result (state: finished)"
    first.predictions.unlink()
    assert str(compare_runs(first, second).untested).endswith("mlp-a/predictions.npz is missing or damaged")
    with pytest.raises(UserError, match=r"^mlp-a was given twice: diff compares two runs$"):
        compare_runs(first, first)


def test_a_damaged_record_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    first, second = pair(tmp_path, {}, {})
    write_json(second.folder / "run.json", {"effective": 3, "config": [], "code": "?", "dataset": None})
    found = compare_runs(first, second)
    assert found.settings["epochs"] == (3, None) and found.untested == "mlp-a and mlp-b have different images"


def test_differences_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = pair(tmp_path, {}, {"seed": 1, "optimizer": {"name": "adam", "lr": 0.0123456789}})
    wrong = np.arange(20) > 3
    predict(second, wrong)
    found = compare_runs(first, second)
    print_differences(found)
    text = capsys.readouterr().out
    code = "Code: no difference in what both use"
    for part in ("A = mlp-a", "optimizer.lr", "0.0123457", code, "p = 0.1250", "-0.2000"):
        assert part in text
    content = json.loads(as_json(found))
    assert content["settings"] == {"optimizer.lr": [0.001, 0.0123456789], "seed": [0, 1]}
    assert content["test"]["only_first"] == 4

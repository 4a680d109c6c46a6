"""Gathering: labels, the best epoch of runs that have not finished, folders of images."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from processes import REPOSITORY
from records import EFFECTIVE, finish, make, summarize

from sweeper.files import write_json
from sweeper.runs.fingerprint import REGISTRIES
from sweeper.summary.columns import HIDDEN
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects import effects
from sweeper.summary.effects_text import show_effects
from sweeper.summary.export import as_csv, as_json, as_markdown
from sweeper.summary.learning_curves import learning_curves
from sweeper.summary.table import lay_out, read_runs

DEEP = {"name": "mlp", "hidden": [1024, 512, 256]}


def labeled(output_dir: Path, *runs: tuple[str | None, dict[str, Any]]) -> list[str]:
    """Make a run for each label and model; return the models that the table shows."""
    for index, (label, model) in enumerate(runs):
        labels = {} if label is None else {"model": label}
        make(output_dir, f"run-{index}", [0.5], run={"labels": labels}, model=model, seed=index)
    frame, _ = read_runs(output_dir)
    return [str(model) for model in frame["model"].tolist()]


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        ([(None, DEEP)], ["mlp"]),
        ([("mlp_deep", DEEP)], ["mlp_deep"]),
        ([("mlp_deep", DEEP), ("mlp", DEEP), ("mlp", DEEP)], ["mlp"] * 3),  # the commonest
        ([("mlp_deep", DEEP), ("mlp", DEEP)], ["mlp"] * 2),  # the alphabetically first
        ([("mlp_deep", DEEP), (None, DEEP)], ["mlp"] * 2),
        ([("mlp_deep", DEEP), ("mlp", EFFECTIVE["model"])], ["mlp_deep", "mlp"]),
        ([("wide", {"name": "mlp", "hidden": [9]}), ("wide", {"name": "mlp", "hidden": [8]})], ["wide"] * 2),
        ([("mlp", {"name": "cnn"}), ("mlp", EFFECTIVE["model"])], ["cnn", "mlp"]),  # model=mlp model.name=cnn
    ],
)
def test_a_group_is_shown_by_its_preset(runs: Sequence[Any], shown: list[str], tmp_path: Path) -> None:
    for _ in range(2):  # from the records, then from the index
        assert labeled(tmp_path, *runs) == shown


@pytest.mark.parametrize(("group", "idle"), [(group, idle) for group, (_, idle) in REGISTRIES.items() if idle])
def test_a_group_that_does_nothing_is_shown_by_its_name(group: str, idle: str, tmp_path: Path) -> None:
    finish(tmp_path, "run-0", [0.5], seed=0)
    assert group not in read_runs(tmp_path)[0]
    mine: dict[str, Any] = {group: {"name": "mine"}}
    finish(tmp_path, "run-1", [0.5], seed=0, **mine)
    frame, _ = read_runs(tmp_path)
    assert frame[group].tolist() == [idle, "mine"]
    given = effects(frame, {group: idle}, defaults={})
    assert given.baseline == {group: idle} and effects(frame).baseline == given.baseline
    assert [comparison.changes[0].value for comparison in given.comparisons[:1]] == ["mine"]


def test_runs_typed_differently_are_one_configuration(tmp_path: Path) -> None:
    for seed, label in enumerate(("mlp_deep", "mlp", "mlp_deep")):
        finish(tmp_path, f"run-{seed}", [0.5], run={"labels": {"model": label}}, model=DEEP, seed=seed)
    frame, skipped = read_runs(tmp_path)
    table, caption = lay_out(frame, skipped, over="seed")
    assert table["runs"].tolist() == [3] and "model=mlp_deep, model.hidden=[1024, 512, 256]" in caption
    (curve,) = learning_curves(tmp_path, frame)
    assert curve.seeds == [0, 1, 2]


def test_groups_without_a_name_and_nonsense_labels_are_ignored(tmp_path: Path) -> None:
    labels = {"dropout": "light", "augmentation": "cutout", "optimizer": 7, "no": "group", "data": "my_digits"}
    make(tmp_path, "run", [0.5], run={"labels": labels}, dropout={"rate": 0.1}, augmentation={"flip": "random"})
    make(tmp_path, "list", [0.5], run={"labels": ["model"]}, seed=1)
    frame, _ = read_runs(tmp_path)
    rows = frame.set_index("run_id")
    names = ["dropout.rate", "augmentation.flip", "optimizer"]
    assert rows[names].to_numpy()[1].tolist() == [0.1, "random", "adam"]
    assert "dropout" not in frame and "augmentation" not in frame and "no" not in frame
    assert rows["data"].to_dict() == {"list": "digits", "run": "digits"}  # equal settings, so an equal label


# The best epoch.


@pytest.mark.parametrize(
    ("select", "epoch", "val_acc"),
    [
        (None, 2, 0.7),
        ("val_acc", 2, 0.7),
        ("val_loss", 3, 0.6),
        ("val_balanced_acc", 1, 0.5),
        ("val_macro_f1", 3, 0.6),
        ("nonsense", 2, 0.7),
        (["val_loss"], 2, 0.7),
    ],
)
def test_the_best_epoch_so_far_is_that_of_the_runs_metric(
    select: Any, epoch: int, val_acc: float, tmp_path: Path
) -> None:
    changes = {} if select is None else {"select": select}
    record = make(tmp_path, "run", (), "running", **changes)
    metrics: dict[str, Sequence[float | None]] = {
        "val_acc": (0.5, 0.7, 0.6),
        "val_loss": (1.0, 0.9, 0.8),
        "val_balanced_acc": (0.6, 0.6, 0.5),  # of equal ones the first
        "val_macro_f1": (0.1, None, 0.2),
    }
    rows: list[dict[str, Any]] = [{"epoch": 1 + index, "train_seconds": 1.0} for index in range(3)]
    for name, values in metrics.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    record.write_metrics(rows)
    frame, _ = read_runs(tmp_path)
    assert frame[["best_epoch", "best_val_acc"]].to_numpy().tolist() == [[epoch, val_acc]]


def test_a_finished_runs_best_epoch_is_that_of_its_result(tmp_path: Path) -> None:
    record = finish(tmp_path, "run", [0.5, 0.7])
    record.write_result((record.result() or {}) | {"best_epoch": 1, "best_val_acc": 0.5})
    frame, _ = read_runs(tmp_path)
    assert frame[["best_epoch", "best_val_acc"]].to_numpy().tolist() == [[1, 0.5]]


def test_no_module_imports_torch() -> None:
    modules = sorted(path.stem for path in (REPOSITORY / "sweeper" / "summary").glob("[a-z]*.py"))
    imports = "; ".join(f"import sweeper.summary.{name}" for name in modules)
    found = "{'torch', 'torchvision', 'hydra'} & {*sys.modules}"
    program = f"{imports}; import sweeper.__main__, sys; print(sorted({found}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_run_of_another_schema_is_unreadable(tmp_path: Path) -> None:
    finish(tmp_path, "run", [0.5])
    record = finish(tmp_path, "later", [0.5])
    write_json(record.folder / "run.json", {"schema": 99})
    _, skipped = read_runs(tmp_path)
    assert skipped.unreadable == ["later"]


def test_what_effects_alone_need_is_in_the_frame_and_in_no_table(tmp_path: Path) -> None:
    accs = [0.1, 1 / 3, 0.3]
    finish(tmp_path, "finished", accs, run={"dataset": {"test": 297, "val": 200, "classes": ["ant", "bee"]}})
    make(tmp_path, "running", [0.5], "running", seed=1)
    for _ in range(2):  # from the records, then from the index
        frame, skipped = read_runs(tmp_path)
        row, other = (frame[frame["run_id"] == run_id].iloc[0] for run_id in ("finished", "running"))
        assert [float(acc) for acc in row["val_curve"].split()] == accs and pd.isna(other["val_curve"])
        assert (row["test_images"], row["val_images"], row["num_classes"]) == (297, 200, 2)
    shown, _ = lay_out(frame, skipped)
    summarize(tmp_path)
    header = (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()[0]
    for name in HIDDEN:
        assert name not in shown and name not in header


def in_folder(output_dir: Path, run_id: str, root: str, fingerprint: str, **changes: Any) -> None:
    """Make a run of the images of a folder."""
    data = {"name": "image_folder", "val_size": 9, "fingerprint": fingerprint}
    run = {"config": {"data": {"root": root}}}
    finish(output_dir, run_id, [0.5], run=run, data=data, **changes)


def test_folders_of_images_are_told_apart_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        in_folder(tmp_path, f"run-{seed}", "cats", "aaaa", seed=seed)
        in_folder(tmp_path, f"run-{seed}b", "dogs", "bbbb", seed=seed)
        in_folder(tmp_path, f"run-{seed}c", "cats", "aaaa", seed=seed, model={"name": "softmax"})
        in_folder(tmp_path, f"run-{seed}d", "dogs", "bbbb", seed=seed, model={"name": "softmax"})
    in_folder(tmp_path, "run-2", "/moved/cats", "aaaa", seed=2)  # the same images, found elsewhere
    for _ in range(2):  # from the records, then from the index
        frame, skipped = read_runs(tmp_path)
        assert frame.set_index("run_id")["data.root"].to_dict() == {
            **dict.fromkeys(["run-0", "run-0c", "run-1", "run-1c", "run-2"], "cats"),
            **dict.fromkeys(["run-0b", "run-0d", "run-1b", "run-1d"], "dogs"),
        }
    table, caption = lay_out(frame, skipped, over="seed")
    assert sorted(zip(table["data.root"], table["model"], table["runs"], strict=True)) == [
        ("cats", "mlp", 3),
        ("cats", "softmax", 2),
        ("dogs", "mlp", 2),
        ("dogs", "softmax", 2),
    ]
    assert "data.fingerprint" not in table and "root" not in caption
    show_effects(tmp_path, None, EffectOptions(), format="table")
    text = capsys.readouterr().out
    assert "image_folder cats" in text and "image_folder dogs" in text and "aaaa" not in text
    show_effects(tmp_path, None, EffectOptions(), where=["data.root=dogs"], format="table")
    assert "cats" not in capsys.readouterr().out


def test_a_folder_whose_images_were_replaced_keeps_its_fingerprints(tmp_path: Path) -> None:
    in_folder(tmp_path, "run-0", "cats", "aaaa")
    in_folder(tmp_path, "run-1", "cats", "bbbb")
    table, _ = lay_out(*read_runs(tmp_path))
    assert set(table["data.fingerprint"]) == {"aaaa", "bbbb"} and set(table.get("data.root", ["cats"])) == {"cats"}


def test_one_folder_is_no_column(tmp_path: Path) -> None:
    in_folder(tmp_path, "run-0", "cats", "aaaa")
    in_folder(tmp_path, "run-1", "/moved/cats", "aaaa", seed=1)
    finish(tmp_path, "run-2", [0.5])  # another dataset, without a folder
    assert "data.root" not in read_runs(tmp_path)[0]


def test_integers_stay_integers_where_some_runs_lack_the_setting(tmp_path: Path) -> None:
    finish(tmp_path, "cnn", [0.5], model={"name": "cnn", "kernel_size": 5})
    finish(tmp_path, "cnn-3", [0.5], model={"name": "cnn", "kernel_size": 3}, seed=1)
    finish(tmp_path, "mlp", [0.5], optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9})
    frame, _ = read_runs(tmp_path)
    cells = dict(zip(frame["run_id"], frame["model.kernel_size"], strict=True))
    assert cells == {"cnn": 5, "cnn-3": 3, "mlp": None}
    assert all(isinstance(cell, int) for cell in cells.values() if cell is not None)
    table, caption = lay_out(frame)
    for text in (as_json(table, caption), as_csv(table), as_markdown(table, caption), caption):
        assert "5.0" not in text.replace("0.5000", "")

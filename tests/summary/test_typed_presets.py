"""dropout=light stays light where it was typed so, in tables and sentences; files have the setting."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from records import finish, make
from typer.testing import CliRunner

from sweeper.__main__ import app
from sweeper.summary.effects import effects
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table
from sweeper.summary.report import render
from sweeper.summary.sentences import answers
from sweeper.summary.table import lay_out, names_presets, read_runs, where
from sweeper.summary.typed_presets import typed_preset


@pytest.mark.parametrize(
    ("command", "preset"),
    [
        ("python train.py model=mlp dropout=light", "light"),
        ("python train.py model=mlp", "light"),
        ("python train.py dropout.rate=0.1", None),
        ("python train.py +dropout.rate=0.1", None),
        ("python train.py 'dropout.rate=0.1'", None),
        ("python train.py data.root=/x/dropout.d", "light"),
        (None, "light"),
        (7, "light"),
    ],
)
def test_a_preset_is_typed_unless_a_setting_of_its_group_is(command: Any, preset: str | None) -> None:
    assert typed_preset("dropout", {"dropout": "light"}, command) == preset
    assert typed_preset("dropout", ["light"], command) is None


def make_runs(folder: Path, commands: dict[str, str]) -> None:
    for seed in range(3):
        for preset, rate in (("none", 0.0), ("light", 0.1)):
            run = {"labels": {"dropout": preset}, "command": commands[preset]}
            finish(folder, f"{preset}-{seed}", [0.5 + rate / 9], run=run, seed=seed, dropout={"rate": rate})


def test_a_typed_preset_is_shown(tmp_path: Path) -> None:
    make_runs(tmp_path, {"none": "python train.py", "light": "python train.py dropout=light"})
    frame, _ = read_runs(tmp_path)
    shown, _ = lay_out(frame, over="seed", is_typed=True)
    assert sorted(shown["dropout"]) == ["light", "none"]
    assert "dropout.rate" in lay_out(frame, over="seed")[0]  # as csv and json have it
    assert "dropout.rate" in lay_out(frame, by="dropout.rate", is_typed=True)[0]
    found = effects(frame)
    assert found.comparisons[0].changes[0].axis == "dropout.rate"
    (answer,) = answers(found)
    assert "compared with dropout=none" in answer.heading
    assert answer.sentences[0].startswith("dropout=light: ")
    text = as_table(found)
    assert "Baseline: dropout=none\n" in text and "│ dropout=light │ none" in text and "dropout.rate" not in text
    assert {*to_frame(found)["axis"]} == {"dropout.rate"}
    assert render(tmp_path).count("dropout=light") > 3 and "dropout.rate" not in render(tmp_path)


def test_a_preset_with_which_no_run_finished_is_named(tmp_path: Path) -> None:
    make_runs(tmp_path, {"none": "python train.py", "light": "python train.py dropout=light"})
    for seed in range(3):
        run = {"labels": {"dropout": "strong"}, "command": "python train.py dropout=strong"}
        make(tmp_path, f"strong-{seed}", [], "diverged", run=run, seed=seed, dropout={"rate": 0.5})
    found = effects(read_runs(tmp_path)[0])
    assert found.never == ["dropout=strong: no run finished, 3 diverged"]


FLIP_CROP: dict[str, Any] = {"flip": "random", "crop_padding": 4}


def augmented(folder: Path, made: dict[str, tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    """Finish two seeds of each run, with its preset and its settings of augmentation."""
    for name, (preset, steps) in made.items():
        for seed in range(2):
            run = {"labels": {"augmentation": preset}, "command": f"python train.py augmentation={name}"}
            settings = {"flip": None, "crop_padding": None} | steps
            finish(folder, f"{name}-{seed}", [0.5], run=run, seed=seed, augmentation=settings)
    return read_runs(folder)[0]


def test_typed_presets_of_steps_are_shown_in_one_column(tmp_path: Path) -> None:
    frame = augmented(tmp_path, {"none": ("none", {}), "flip_crop": ("flip_crop", FLIP_CROP)})
    shown, caption = lay_out(frame, over="seed", is_typed=True)
    assert sorted(shown["augmentation"]) == ["flip_crop", "none"]
    assert not {"augmentation.flip", "augmentation.crop_padding"} & {*shown}
    assert "augmentation=flip_crop implies flip=random, crop_padding=4" in caption
    for files in (lay_out(frame, over="seed")[0], lay_out(frame, by="augmentation.flip", is_typed=True)[0]):
        assert {"augmentation.flip", "augmentation.crop_padding"} <= {*files} and "augmentation" not in files


@pytest.mark.parametrize(
    "made",
    [
        {"none": ("none", {}), "none augmentation.flip=random": ("flip", {"flip": "random"})},  # typed as a setting
        {"none": ("none", {}), "crop": ("flip_crop", {"crop_padding": 4}), "both": ("flip_crop", FLIP_CROP)},  # edited
    ],
)
def test_steps_without_a_preset_each_are_shown_as_settings(
    made: dict[str, tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    shown, _ = lay_out(augmented(tmp_path, made), over="seed", is_typed=True)
    assert "augmentation.flip" in shown and "augmentation" not in shown


def test_where_a_rate_was_typed_rates_are_shown(tmp_path: Path) -> None:
    make_runs(tmp_path, {"none": "python train.py", "light": "python train.py dropout.rate=0.1"})
    frame, _ = read_runs(tmp_path)
    assert "dropout.rate" in lay_out(frame, over="seed", is_typed=True)[0]
    (answer,) = answers(effects(frame))
    assert answer.sentences[0].startswith("dropout.rate=0.1: ")


ACCS = {("none", "none"): 0.6, ("none", "batch"): 0.5, ("light", "none"): 0.5, ("light", "batch"): 0.61}


def make_crossed(folder: Path, cells: Sequence[tuple[str, str]]) -> None:
    for (preset, norm), seed in product(cells, range(3)):
        run = {"labels": {"dropout": preset}, "command": f"python train.py dropout={preset}"}
        acc = ACCS[preset, norm] + seed**2 / 1000 * (norm == "batch")
        settings = {"dropout": {"rate": 0.1 if preset == "light" else 0.0}, "norm": {"name": norm}}
        finish(folder, f"{preset}-{norm}-{seed}", [0.5], acc, run=run, seed=seed, **settings)


def test_parts_of_an_effect_are_named_by_presets(tmp_path: Path) -> None:
    make_crossed(tmp_path, [*ACCS])
    (answer,) = answers(effects(read_runs(tmp_path)[0]))
    (opposite,) = [sentence for sentence in answer.sentences if sentence.startswith("norm=batch: ")]
    assert "(dropout=none)" in opposite and "(dropout=light)" in opposite and "dropout.rate" not in opposite


def test_a_recipe_is_named_by_presets_and_by_settings_in_files(tmp_path: Path) -> None:
    make_crossed(tmp_path, [("light", "batch"), ("none", "batch"), ("light", "none")])
    found = effects(read_runs(tmp_path)[0], {"dropout.rate": "0", "norm": "none"})
    texts = as_table(found)
    assert "dropout=light" in texts and "dropout.rate" not in texts.replace("--tune dropout.rate", "")
    assert "dropout.rate=0.1" in to_frame(found)["held"].tolist()


def test_presets_select_runs_and_columns(tmp_path: Path) -> None:
    make_crossed(tmp_path, [*ACCS])
    frame = read_runs(tmp_path)[0]
    assert len(where(frame, ["dropout=light"])) == 6
    assert names_presets(frame, ["dropout", "test_acc"]) and not names_presets(frame, ["dropout.rate"])
    options = ["--output-dir", str(tmp_path), "--columns", "dropout,test_acc", "--format", "csv"]
    shown = CliRunner().invoke(app, ["summary", *options]).output
    assert shown.splitlines()[0].startswith('"dropout","test_acc"') and '"light"' in shown

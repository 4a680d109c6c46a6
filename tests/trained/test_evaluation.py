"""Evaluation and errors where the images have moved, or on another device."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import TEST_IMAGES

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.evaluate import Reevaluation
from sweeper.trained.evaluation_text import check_evaluation

Records = dict[str, RunDirectory]
SAME = Reevaluation(0.5, 0.5, 0, ["ant", "bee"], np.array([[300, 200], [200, 300]]), "cpu", "cpu")


def command(*arguments: object) -> None:
    """Run `python -m sweeper` in this process."""
    app(list(map(str, arguments)), standalone_mode=False)


@pytest.fixture
def moved(image_root: Path, tmp_path: Path) -> Path:
    """Return a copy of the images, with other times."""
    return Path(shutil.copytree(image_root, tmp_path / "moved", copy_function=shutil.copyfile))


def test_moved_images_are_the_same_dataset(
    records: Records, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (records["softmax"].folder, f"data.root={moved}", f"data.cache={tmp_path / 'cache'}")
    command("evaluate", *arguments, "device=cpu")
    assert "recorded" in capsys.readouterr().out
    command("errors", *arguments, "--output-dir", tmp_path)
    line, *files = capsys.readouterr().out.splitlines()
    table = pd.read_csv(files[1])
    assert line == f"wrongly predicted: {len(table)} of {3 * TEST_IMAGES} test images"
    assert files == [str(tmp_path / "errors" / f"{records['softmax'].run_id}.{suffix}") for suffix in ("png", "csv")]
    assert all((moved / file).is_file() for file in table["file"]) and len(table)
    run = records["softmax"].run() or {}
    run["config"]["data"]["root"] = str(tmp_path / "gone")
    (records["softmax"].folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match=rf"^the images of softmax\S+ are not in {tmp_path}/gone; give data\.root=DIR$"):
        command("evaluate", records["softmax"].folder)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(moved / "test" / "ant" / "000.png")
    for name in ("evaluate", "errors", "export"):
        with pytest.raises(UserError, match=rf"^data\.root={moved}: images differ from those that softmax"):
            command(name, *arguments)


def test_a_pair_of_classes(records: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("errors", records["softmax"].folder, "--output-dir", tmp_path, "--output", tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv")
    true, predicted = table["true"][0], table["predicted"][0]
    command("errors", records["softmax"].folder, "--true", true, "--predicted", predicted, "--output-dir", tmp_path)
    num_images = int(((table["true"] == true) & (table["predicted"] == predicted)).sum())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"wrongly predicted as {predicted}: {num_images} of {TEST_IMAGES} test images of class {true}"
    assert lines[4].endswith(f"-true-{true}-predicted-{predicted}.csv")
    assert len(pd.read_csv(lines[4])) == num_images
    command("errors", records["softmax"].folder, "--predicted", predicted, "--output-dir", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"wrongly predicted as {predicted}: ")
    assert lines[2].endswith(f"{records['softmax'].run_id}-predicted-{predicted}.csv")


def test_the_best_runs_of_all_datasets_are_evaluated(
    records: Records, moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = records["cnn"].run() or {}  # of digits, whose images are not where a folder's are
    run["config"]["data"]["root"] = None
    for part in ("config", "effective"):
        run[part]["data"]["name"] = "digits"
    run["effective"]["data"]["fingerprint"] = "digits"
    (records["cnn"].folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match=r"^the best run was not reproduced for 1 of 2 datasets: data=digits$"):
        command("evaluate", "--best", f"data.root={moved}", "device=cpu", "--output-dir", tmp_path)
    shown = capsys.readouterr()
    assert "error: " in shown.err and "data.root" not in shown.err
    assert shown.out.count("best run with data=") == 2 and "recorded" in shown.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["errors", "{run}", "device=cpu"], "device=cpu: device has no effect on this command; choose from data.cache"),
        (["errors"], r"errors needs one run \(.*\), not none"),
        (["errors", "{run}", "{run}"], r"errors needs one run"),
        (["errors", "{run}", "--output", "x.jpg"], r"--output x.jpg: unsupported file type; choose from .png, .csv"),
        (["errors", "{run}", "--true", "dog"], r"--true dog: unknown class; choose from ant, bee, cat"),
        (["evaluate"], "give either a run"),
        (["evaluate", "{run}", "--best"], "give either a run"),
        (["evaluate", "{run}", "data.root=gone"], "data.root=gone"),
        (["diff", "{run}", "{run}"], "was given twice"),
        (["diff", "{run}", "best", "--format", "csv"], "--format csv: unknown format; choose from json, table"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, records: Records, tmp_path: Path) -> None:
    texts = [text.format(run=records["softmax"].run_id) for text in arguments]
    with pytest.raises(UserError, match=sentence):
        command(*texts, "--output-dir", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_diff_tells_two_runs_apart(records: Records, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("diff", records["softmax"].run_id, records["cnn"].run_id, "--output-dir", tmp_path)
    text = capsys.readouterr().out
    assert "Curves differ from epoch 1 on" in text and "McNemar" in text and "norm" in text
    command("diff", "best", records["cnn"].run_id, "--where", "model=softmax", "--output-dir", tmp_path)
    assert capsys.readouterr().out == text
    records["cnn"].predictions.unlink()
    with pytest.raises(UserError, match=r"^no test of the accuracies: .*predictions\.npz is missing or damaged$"):
        command("diff", records["softmax"].run_id, records["cnn"].run_id, "--output-dir", tmp_path)
    assert "model" in capsys.readouterr().out


def test_another_device_may_round_differently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_evaluation(SAME, tmp_path)
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="1 predicted classes differ from those in"):
        check_evaluation(replace(SAME, num_changed=1), tmp_path)
    with pytest.raises(UserError, match=r"test_acc=0\.501 differs from the recorded 0\.5"):
        check_evaluation(replace(SAME, test_score=0.501), tmp_path)
    elsewhere = replace(SAME, recorded_device="cuda", test_score=0.501, num_changed=10)
    check_evaluation(elsewhere, tmp_path)
    assert capsys.readouterr().err == "trained on cuda, evaluated on cpu: 10 of 1,000 predicted classes differ\n"
    for wrong in (replace(elsewhere, num_changed=11), replace(elsewhere, test_score=0.52)):
        with pytest.raises(UserError):
            check_evaluation(wrong, tmp_path)

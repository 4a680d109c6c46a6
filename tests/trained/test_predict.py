"""Predictions of files: the recorded ones, in their order, unreadable files left out and named."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from support import CLASSES

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.network import TrainedNetwork, load_network
from sweeper.runs.predictions import read_predictions
from sweeper.runs.stored_images import Pixels
from sweeper.trained import images
from sweeper.trained.images import find_images
from sweeper.trained.predict import Predictions, predict
from sweeper.trained.predict_text import ordinal, print_predictions

Records = dict[str, RunDirectory]


def command(*arguments: object) -> None:
    """Run `python -m sweeper predict` in this process."""
    app(["predict", *map(str, arguments)], standalone_mode=False)


@pytest.fixture
def networks(records: Records) -> list[TrainedNetwork]:
    return [load_network(records[name], "cpu") for name in ("softmax", "cnn")]


def recorded(records: Records, name: str) -> NDArray[np.float64]:
    found = read_predictions(records[name].predictions)
    assert found is not None
    return np.asarray(softmax(found[0].astype(np.float64), axis=1))


def test_files_have_the_recorded_predictions(
    records: Records, networks: list[TrainedNetwork], image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "CHUNK", 7)
    files = find_images([image_root / "test"])
    done: list[int] = []
    found = predict(networks[:1], files, done.append)
    assert found.unreadable == {} and done == [7, 7, 7, 7, 2]
    assert list(found.probabilities.index) == [str(path) for path in sorted((image_root / "test").glob("*/*.png"))]
    assert list(found.probabilities.columns) == list(CLASSES)
    assert np.allclose(found.probabilities, recorded(records, "softmax"), atol=1e-6)


def test_an_ensemble_has_the_mean_of_the_probabilities(
    records: Records, networks: list[TrainedNetwork], image_root: Path
) -> None:
    found = predict(networks, find_images([image_root / "test"])).probabilities
    expected = (recorded(records, "softmax") + recorded(records, "cnn")) / 2
    assert np.allclose(found, expected, atol=1e-5)
    networks[1].classes = ["ant", "cat", "bee"]
    with pytest.raises(UserError, match=r"^cnn\S+ has other classes than softmax\S+; an ensemble needs the same$"):
        predict(networks, [])


def test_networks_of_an_ensemble_read_images_as_each_was_trained(
    networks: list[TrainedNetwork], image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = find_images([image_root / "test"])[:1]
    alone = predict(networks[:1], file).probabilities
    networks[1].read = type(networks[1].read)(12, 1)  # gray, of 12 pixels
    shapes: list[tuple[int, ...]] = []

    def logits(pixels: Pixels) -> NDArray[np.float32]:
        shapes.append(pixels.shape)
        return np.zeros((1, 3), np.float32)

    monkeypatch.setattr(networks[1], "logits", logits)
    both = predict(networks, file).probabilities
    assert shapes == [(1, 1, 12, 12)]
    assert np.allclose(both, (alone + 1 / 3) / 2)


def test_the_top_classes_are_those_of_sorting() -> None:
    shares = pd.DataFrame([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], pd.Index(["a", "b"], name="image"), ["x", "y", "z"])
    top = Predictions(shares, {}).top(2)
    assert top.to_dict(orient="list") == {
        "class_1": ["y", "x"],
        "probability_1": [0.5, 0.4],
        "class_2": ["z", "z"],
        "probability_2": [0.3, 0.4],
    }
    assert Predictions(shares, {}).top(9).shape == (2, 6)


def test_folders_are_searched_below_and_each_file_counts_once(tmp_path: Path) -> None:
    names = ("b/deep/1.PNG", "a/2.jpg", "3.webp", "notes.txt", ".hidden.png", ".git/4.png")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    expected = [tmp_path / name for name in ("3.webp", "a/2.jpg", "b/deep/1.PNG")]
    assert find_images([tmp_path]) == expected
    assert find_images([tmp_path / "a" / "2.jpg", tmp_path / "notes.txt", tmp_path]) == [
        tmp_path / "a" / "2.jpg",
        tmp_path / "notes.txt",
        expected[0],
        expected[2],
    ]
    with pytest.raises(UserError, match=r"gone not found: give image files, or folders of images$"):
        find_images([tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty contains no images \(\.\w+"):
        find_images([tmp_path / "empty"])


def test_unreadable_files_are_named_and_the_rest_predicted(
    records: Records, image_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = next((image_root / "test" / "ant").glob("*.png"))
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    run = records["softmax"].run_id[-6:]
    for output in (tmp_path / "deep" / "found.csv", tmp_path / "found.json"):
        with pytest.raises(UserError, match=r"^1 of 2 files cannot be read; the rest is predicted$"):
            command(run, bad, good, "--output", output, "--output-dir", tmp_path, "--top", 2, "device=cpu")
        printed = capsys.readouterr()
        assert printed.out == f"{output}\n" and str(bad) in printed.err
    with pytest.raises(UserError, match=r"^1 of 1 files cannot be read$"):
        command(run, bad, "--output-dir", tmp_path, "device=cpu")
    table = pd.read_csv(tmp_path / "deep" / "found.csv")
    content = json.loads((tmp_path / "found.json").read_text())
    assert list(table["image"]) == [str(good)] and table.shape == (1, 5)
    assert content["runs"] == [records["softmax"].run_id]
    (image,) = content["images"]
    assert [guess["class"] for guess in image["predictions"]] == [table["class_1"][0], table["class_2"][0]]
    assert image["predictions"][0]["probability"] == pytest.approx(table["probability_1"][0])
    assert [one["image"] for one in content["unreadable"]] == [str(bad)]


def test_the_table_has_a_line_for_each_image(
    records: Records, image_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(
        f"{records['softmax'].run_id},{records['cnn'].run_id}", image_root / "test" / "bee", "--output-dir", tmp_path
    )
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if ".png" in line]
    assert len(lines) == 10 and all(sum(name in line for name in CLASSES) == 3 for line in lines)
    assert all(name in printed for name in ("class", "2nd", "3rd"))
    both = f"{records['softmax'].run_id} and {records['cnn'].run_id}"
    assert printed.endswith(f"p: mean of the probabilities given by {both}\n")


@pytest.mark.parametrize(
    ("run_ids", "given"),
    [
        (["r1"], "probability given by r1"),
        (["r1", "r2"], "mean of the probabilities given by r1 and r2"),
        (["r1", "r2", "r3"], "mean of the probabilities given by r1, r2 and r3"),
    ],
)
def test_the_runs_that_predict_are_named(run_ids: list[str], given: str, capsys: pytest.CaptureFixture[str]) -> None:
    shares = pd.DataFrame([[0.4, 0.6]], pd.Index(["a.png"], name="image"), ["x", "y"])
    print_predictions(Predictions(shares, {}), run_ids, top=1)
    assert capsys.readouterr().out.endswith(f"p: {given}\n")


def test_ordinals() -> None:
    ordinals = [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 103, 111)]
    assert ordinals == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "103rd", "111th"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{run}", "gone.png"], "gone.png not found: give image files"),
        (["{run},{run}", "{folder}"], "a run is named twice; an ensemble needs different runs"),
        (
            ["{run}", "{folder}", "--output", "x.xlsx"],
            r"--output x.xlsx: unsupported file type; choose from .csv",
        ),
        (["{run}", "{folder}", "--device", "gpu"], "device=gpu is invalid: must be one of auto, cpu, cuda"),
        (["{run}", "{folder}", "data.root=x"], "data.root=x: data.root has no effect on this command"),
        (["nowhere", "{folder}"], "nowhere not found: give a run ID"),
        (["{run},", "{folder}"], "a run without a name: give a run ID"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: Sequence[str], sentence: str, records: Records, image_root: Path, tmp_path: Path
) -> None:
    texts = {"run": records["softmax"].run_id, "folder": image_root}
    with pytest.raises(UserError, match=sentence):
        command(*(text.format(**texts) for text in arguments), "--output-dir", tmp_path)

"""TensorBoard events of a run: names, final measures, and the images that it gets wrong."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import CLASSES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweeper.runs.directory import RunDirectory
from sweeper.runs.error_images import COLUMNS, LINE, MARGIN, SHOWN, SIDE, error_sheet, most_confident
from sweeper.runs.predictions import read_predictions
from sweeper.runs.stored_images import find_test_images
from sweeper.runs.tensorboard import ERRORS, SCALARS

OF_CLASSES = {tag for tag, name in SCALARS.items() if "pixel" not in name and "miou" not in name}
RESULTS = ("best_val_acc", "best_epoch", "test_acc", "train_seconds")


@pytest.fixture(scope="module")
def record(trained: Path) -> RunDirectory:
    """Return a run that gets some images wrong."""
    return RunDirectory(next((trained / "runs").glob("softmax-*")))


@pytest.fixture(scope="module")
def events(record: RunDirectory) -> EventAccumulator:
    accumulator = EventAccumulator(str(record.folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_hparams_have_the_settings_and_final_measures_only(events: EventAccumulator) -> None:
    assert {*events.Tags()["scalars"]} == {*OF_CLASSES, *(f"result/{name}" for name in RESULTS)}
    found = events.PluginTagToContent("hparams")
    experiment = HParamsPluginData.FromString(found["_hparams_/experiment"]).experiment
    assert [info.name.tag for info in experiment.metric_infos] == [f"result/{name}" for name in RESULTS]
    settings = HParamsPluginData.FromString(found["_hparams_/session_start_info"]).session_start_info.hparams
    assert settings["model"].string_value == "softmax" and settings["optimizer.lr"].number_value == 0.0003
    assert "data.fingerprint" not in settings


def test_the_most_confident_errors_are_shown(record: RunDirectory, events: EventAccumulator) -> None:
    stored, predictions = find_test_images(record), read_predictions(record.predictions)
    assert stored is not None and predictions is not None
    logits, labels = predictions
    shown = most_confident(logits, labels)
    assert 0 < len(shown) < SHOWN
    (picture,) = events.Images(ERRORS)
    pixels = np.array(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert np.array_equal(pixels, error_sheet(stored.images[shown], logits[shown], labels[shown], CLASSES))


def test_errors_are_ranked_by_the_probability_of_the_predicted_class() -> None:
    logits = np.log([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0001], [0.25, 0.5, 0.25]])
    assert most_confident(logits, np.array([1, 0, 0, 2])).tolist() == [2, 0, 3]
    assert most_confident(logits, np.array([0, 0, 1, 1])).tolist() == []
    logits[0, 0] = np.nan
    assert most_confident(logits, np.array([1, 0, 0, 2])).tolist() == []
    many = np.tile([[5.0, 0.0]], (SHOWN + 9, 1))
    assert most_confident(many, np.ones(SHOWN + 9, int)).tolist() == list(range(SHOWN))


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 2, 2), (3, 4, 2), (3, 200, 400)])
def test_a_sheet_has_a_cell_for_each_image(channels: int, height: int, width: int) -> None:
    images = np.zeros((COLUMNS + 1, channels, height, width), np.uint8)
    images[0, :, : height // 2] = 200
    logits = np.tile([[4.0, 0.0]], (len(images), 1))
    names = ["ant", "a class\nof a long name 猫"]
    sheet = error_sheet(images, logits, np.ones(len(images), int), names)
    cell = SIDE + 2 * LINE + MARGIN
    assert sheet.shape == (2 * cell + MARGIN, COLUMNS * (SIDE + MARGIN) + MARGIN, 3)
    first = sheet[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    shown = first[: SIDE * height // max(height, width), : SIDE * width // max(height, width)]
    assert (shown[: len(shown) // 2] == 200).all() and (shown[len(shown) // 2 :] == 0).all()
    captions = sheet[MARGIN + SIDE : cell, MARGIN : MARGIN + SIDE]
    assert (captions < 100).any() and (sheet[cell + MARGIN :, 2 * (SIDE + MARGIN) :] == 255).all()

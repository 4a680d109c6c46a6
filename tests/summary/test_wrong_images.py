"""Wrong predictions, ranked as a loop over all images ranks them."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from records import make
from scipy.special import softmax

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import write_predictions
from sweeper.runs.stored_images import StoredImages
from sweeper.summary.contact_sheet import write_contact_sheet
from sweeper.summary.wrong_images import as_pixels, find_mistakes

CLASSES = ["ant", "bee", "cat"]
NUM = 60


@pytest.fixture
def stored() -> StoredImages:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (NUM, 3, 4, 4), dtype=np.uint8)
    return StoredImages(images, np.arange(NUM) % 3, [f"test/{CLASSES[row % 3]}/{row:02}.png" for row in range(NUM)])


@pytest.fixture
def record(stored: StoredImages, tmp_path: Path) -> RunDirectory:
    record = make(tmp_path, "mlp-0a1", [0.5], run={"dataset": {"classes": CLASSES}})
    logits = np.random.default_rng(0).normal(size=(NUM, 3)).astype(np.float32)
    logits[5] = logits[8] = [3, 1, 2]  # equal: in order of the images
    write_predictions(record.predictions, logits, stored.labels.astype(np.int64))
    record.write_result({"test_acc": 0.5})
    return record


def expected(record: RunDirectory, stored: StoredImages, true: str | None, predicted: str | None) -> pd.DataFrame:
    with np.load(record.predictions) as content:
        shares = softmax(content["logits"].astype(np.float64), axis=1)
    rows = []
    for image, (row, label) in enumerate(zip(shares, stored.labels, strict=True)):
        names = CLASSES[label], CLASSES[row.argmax()]
        if names[0] != names[1] and true in (None, names[0]) and predicted in (None, names[1]):
            rows.append((image, stored.files[image], *names, row.max(), row[label]))
    rows.sort(key=lambda row: -row[4])
    return pd.DataFrame(rows, columns=["image", "file", "true", "predicted", "probability", "true_probability"])


@pytest.mark.parametrize("true", [None, "cat"])
@pytest.mark.parametrize("predicted", [None, "ant"])
def test_the_most_confident_mistakes_come_first(
    true: str | None, predicted: str | None, record: RunDirectory, stored: StoredImages
) -> None:
    found = find_mistakes(record, stored, true, predicted)
    pd.testing.assert_frame_equal(found.frame, expected(record, stored, true, predicted))
    assert len(found.frame) > 5
    assert found.num_images == (NUM if true is None else NUM // 3)


def test_images_without_files_have_no_names(record: RunDirectory, stored: StoredImages) -> None:
    found = find_mistakes(record, StoredImages(stored.images, stored.labels, []))
    assert set(found.frame["file"]) == {""}


def test_bad_input_is_one_sentence(record: RunDirectory, stored: StoredImages) -> None:
    with pytest.raises(UserError, match=r"^--true can: unknown class \(did you mean cat\?\); choose from ant"):
        find_mistakes(record, stored, "can")
    with pytest.raises(UserError, match=r"^--predicted dog: unknown class"):
        find_mistakes(record, stored, None, "dog")
    with pytest.raises(UserError, match=r"predictions\.npz is of other test images than those in the cache$"):
        find_mistakes(record, StoredImages(stored.images[1:], stored.labels[1:], []))
    for logits in (np.full((NUM, 3), np.nan, np.float32), np.zeros((NUM, 2), np.float32)):
        write_predictions(record.predictions, logits, stored.labels.astype(np.int64))
        with pytest.raises(UserError, match=r"has logits that are not finite, or labels of other classes$"):
            find_mistakes(record, stored)
    record.predictions.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"predictions\.npz is missing or damaged$"):
        find_mistakes(record, stored)


def test_the_sheet_shows_the_pixels(record: RunDirectory, stored: StoredImages, tmp_path: Path) -> None:
    mistakes = find_mistakes(record, stored)
    write_contact_sheet(tmp_path / "deep" / "sheet.png", mistakes, top=9)
    sheet = imread(io.BytesIO((tmp_path / "deep" / "sheet.png").read_bytes()))[..., :3]  # (H, W, 3), 0 to 1
    seen = {tuple(pixel) for pixel in (sheet.reshape(-1, 3) * 255).round().astype(int).tolist()}
    for rank, image in enumerate(mistakes.frame["image"]):
        pixels = {tuple(pixel) for pixel in as_pixels(stored.images[image]).reshape(-1, 3).tolist()}
        assert (pixels <= seen) == (rank < 9)
    assert np.array_equal(as_pixels(stored.images[0])[1, 2], stored.images[0][:, 1, 2])
    assert as_pixels(stored.images[0][:1]).shape == (4, 4, 3)

"""The report's pictures: the best run's most confident mistakes and samples of the classes, inside the page."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reports import ALERT, EFFECTIVE, Page, check_harmless, make

from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import write_predictions
from sweeper.runs.samples import Samples, write_samples
from sweeper.summary.report import render
from sweeper.summary.report_samples import GAP, LARGEST, SHOWN, as_source


def prepare(output_dir: Path, names: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Make a run whose 40 test images are all wrong, the later the more confidently, and their cache."""
    record = make(output_dir, "mlp-0a1", [0.5])
    folder = output_dir / "cache" / "digits-1"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    labels = np.zeros(40, np.int64)
    np.save(folder / "test_images.npy", images)
    np.save(folder / "test_labels.npy", labels)
    (folder / "index.json").write_text(json.dumps({"fingerprint": "f00d"}))
    (folder / "test_files.json").write_text(json.dumps(names))
    logits = np.zeros((40, 3), np.float32)
    logits[:, 2] = np.arange(1, 41) / 10
    write_predictions(record.predictions, logits, labels)
    write_json(record.folder / "run.json", (record.run() or {}) | {"config": {"data": {"cache": str(folder.parent)}}})
    return images


def decode(source: str | None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(base64.b64decode(str(source).partition(",")[2]))) as image:
        return np.asarray(image).transpose(2, 0, 1)


def test_the_thumbnails_are_the_most_confident_mistakes(tmp_path: Path) -> None:
    images = prepare(tmp_path, [f"test/{ALERT}{number}.png" for number in range(40)])
    page = Page(render(tmp_path))
    *shown, strip = [attributes for attributes, _ in page.of("img")]
    assert len(shown) == SHOWN
    for rank, attributes in enumerate(shown):
        assert np.array_equal(decode(attributes["src"]), images[39 - rank])
        assert attributes["alt"] == f"test/{ALERT}{39 - rank}.png"
    assert strip["alt"] == "6 test images of ant"
    assert np.array_equal(decode(strip["src"])[:3, :, 10:18], images[1])  # the second, after a gap
    check_harmless(page)
    text = " ".join(" ".join(page.texts).split())
    assert "40 of 40 test images are wrong in the best run. The 24 of highest probability, with" in text
    assert "ant not cat (0.96)" in text


def test_without_images_or_predictions_there_is_no_section(tmp_path: Path) -> None:
    prepare(tmp_path, [])
    assert "Most confident mistakes" in render(tmp_path)
    record = RunDirectory(tmp_path / "runs" / "mlp-0a1")
    content = record.predictions.read_bytes()
    record.predictions.write_bytes(b"torn")
    assert "Most confident mistakes" not in render(tmp_path)
    record.predictions.write_bytes(content)
    (tmp_path / "cache" / "digits-1" / "test_images.npy").unlink()
    assert "Most confident mistakes" not in render(tmp_path)


def test_large_images_are_made_small() -> None:
    assert decode(as_source(np.zeros((3, 2 * LARGEST, LARGEST), np.uint8))).shape == (3, LARGEST, LARGEST // 2)
    gray = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    assert np.array_equal(decode(as_source(gray)), np.broadcast_to(gray, (3, 4, 4)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_image_is_above_its_augmented_versions(channels: int, tmp_path: Path) -> None:
    prepare(tmp_path, [])
    draw = np.random.default_rng(1)
    folder, record = tmp_path / "cache" / "digits-1", RunDirectory(tmp_path / "runs" / "mlp-0a1")
    images = draw.integers(0, 256, (9, channels, 8, 8), dtype=np.uint8)
    np.save(folder / "train_images.npy", images)
    np.save(folder / "train_labels.npy", np.arange(9) % 3)
    effective = {**EFFECTIVE, "augmentation": {"flip": "random", "crop_padding": 4}}
    write_json(record.folder / "run.json", (record.run() or {}) | {"effective": effective})
    versions = draw.integers(0, 256, (2, 2, channels, 8, 8), dtype=np.uint8)
    write_samples(record.samples, Samples(np.array([4, 2]), versions, np.zeros((2, 2, 0, 0), np.uint8)))
    page = Page(render(tmp_path))
    shown = [attributes for attributes, _ in page.of("img") if str(attributes["alt"]).startswith("training image")]
    names = ["training image of bee, and 2 augmented versions", "training image of cat, and 2 augmented versions"]
    assert [attributes["alt"] for attributes in shown] == names
    tops = (0, 8 + 2 * GAP, 16 + 3 * GAP)
    for attributes, index, own in zip(shown, (4, 2), versions, strict=True):
        column = decode(attributes["src"])[:3]
        for top, image in zip(tops, (images[index], *own), strict=True):
            assert np.array_equal(column[:, top : top + 8], np.broadcast_to(image, (3, 8, 8)))
    assert "(flip=random, crop_padding=4)" in " ".join(" ".join(page.texts).split())
    check_harmless(page)
    write_samples(record.samples, Samples(np.array([9, 2]), versions, np.zeros((2, 2, 0, 0), np.uint8)))
    assert "Training images" not in render(tmp_path)  # of other images


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_sentence_says_that_the_images_are_missing(name: str, tmp_path: Path) -> None:
    images, folder = prepare(tmp_path, []), tmp_path / "cache" / "digits-1"
    assert "are not shown" not in render(tmp_path)
    np.save(folder / "train_images.npy", images)
    np.save(folder / "train_labels.npy", np.zeros(len(images), np.int64))
    nothing = np.zeros((1, 0, 3, 8, 8), np.uint8)
    (run,) = (tmp_path / "runs").glob("mlp-0a1")
    write_samples(RunDirectory(run).samples, Samples(np.array([2]), nothing, np.zeros((1, 0, 0, 0), np.uint8)))
    assert "are not shown" not in render(tmp_path)
    (folder / f"{name}_images.npy").unlink()
    page = " ".join(Page(render(tmp_path)).texts)
    assert "The images of the best run are not shown" in page and "python -m sweeper evaluate mlp-0a1" in page

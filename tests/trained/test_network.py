"""The network of a run: the logits that the run recorded, from its record and its best.pt alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from support import CLASSES

from sweeper.data.image_files import read_image
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.network import load_network
from sweeper.runs.predictions import read_predictions

Records = dict[str, RunDirectory]


def test_files_have_the_recorded_logits(records: Records, image_root: Path) -> None:
    for record in records.values():
        network = load_network(record, "cpu")
        files = sorted((image_root / "test").glob("*/*.png"))
        found = read_predictions(record.predictions)
        assert found is not None and network.classes == list(CLASSES)
        logits = network.logits(np.stack([network.read(file) for file in files]))
        assert np.array_equal(logits, found[0])
        one = network(network.transform(files[3])[None])
        assert torch.allclose(one, torch.from_numpy(found[0][3:4]), atol=1e-5)
        assert not network.training and not any(weight.requires_grad for weight in network.parameters())


def test_mixed_precision_is_that_of_the_run(records: Records, image_root: Path) -> None:
    record = records["cnn"]
    file = next((image_root / "test").glob("*/*.png"))
    exact = load_network(record, "cpu")
    run = record.run() or {}
    run["config"]["autocast"] = "bfloat16"
    (record.folder / "run.json").write_text(json.dumps(run))
    mixed = load_network(record, "cpu")
    pixels = exact.read(file)[None]
    difference = np.abs(mixed.logits(pixels) - exact.logits(pixels)).max()
    assert 0 < difference < 0.1


def test_images_are_resized_as_in_training(records: Records, tmp_path: Path) -> None:
    record, file = records["softmax"], tmp_path / "wide.png"
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    run = record.run() or {}
    for resize in ("crop", "pad", None):
        run["config"]["data"] |= {"resize": resize}
        (record.folder / "run.json").write_text(json.dumps(run))
        expected = read_image(str(file), "RGB", 16, resize=resize)
        assert np.array_equal(load_network(record, "cpu").read(file), expected)


def test_deep_gray_images_are_read_by_the_range_of_the_run(records: Records, tmp_path: Path) -> None:
    record, file = records["softmax"], tmp_path / "deep.png"
    Image.fromarray(np.full((16, 16), 700, np.uint16)).save(file)
    run = record.run() or {}
    run["config"]["data"] |= {"value_range": [200, 1224]}
    (record.folder / "run.json").write_text(json.dumps(run))
    assert (load_network(record, "cpu").read(file) == 125).all()


def test_dark_deep_images_are_warned_of(records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = load_network(records["softmax"], "cpu")
    for name, value in (("bright", 40000), ("dark", 700), ("darker", 70)):
        Image.fromarray(np.full((16, 16), value, np.uint16)).save(tmp_path / f"{name}.png")
    with caplog.at_level("WARNING"):
        network.read(tmp_path / "bright.png")
        assert not caplog.messages
        for name in ("dark", "darker"):
            assert (network.read(tmp_path / f"{name}.png") < 3).all()
    (message,) = caplog.messages
    assert "have no value in the upper half of their range" in message


def test_an_image_with_large_metadata_is_transformed(records: Records, tmp_path: Path) -> None:
    about = PngImagePlugin.PngInfo()
    about.add_text("notes", "x" * (3 << 20), zip=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "notes.png", pnginfo=about)
    assert load_network(records["softmax"], "cpu").transform(tmp_path / "notes.png").shape == (3, 16, 16)


def test_loading_draws_nothing(records: Records) -> None:
    before = torch.get_rng_state()
    load_network(records["cnn"], "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_code_of_the_network_makes_it_unusable(records: Records) -> None:
    record = records["cnn"]
    run = record.run() or {}
    run["code"]["core"]["training/loop.fit"] = run["code"]["optimizer"]["training/optimizers.adam"] = "before"
    (record.folder / "run.json").write_text(json.dumps(run))
    load_network(record, "cpu")
    run["code"]["model"]["models/cnn.cnn"] = run["code"]["core"]["data/batches.Normalize"] = "before"
    (record.folder / "run.json").write_text(json.dumps(run))
    changed = r"\(data/batches.Normalize, models/cnn.cnn changed\); retrain it: python train.py model=small output_dir="
    with pytest.raises(UserError, match=rf"^cnn\S+ is stale: the code of its network differs {changed}"):
        load_network(record, "cpu")


def test_what_cannot_be_loaded_is_one_sentence(records: Records) -> None:
    record, other = records["softmax"], records["cnn"]
    with pytest.raises(UserError, match=r"^device=cuda: no CUDA device available"):
        load_network(record, "cuda")
    other.best.replace(record.best)
    with pytest.raises(UserError, match=r"is a checkpoint of cnn\S+, not of softmax"):
        load_network(record, "cpu")
    record.best.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"best\.pt is missing or damaged; retrain with: python train\.py model=small"):
        load_network(record, "cpu")
    run = record.run() or {}
    shapeless: dict[str, Any] = {"dataset": run["dataset"] | {"input_shape": [3]}}
    damages: list[dict[str, Any]] = [{"config": {"model": 3}}, {"dataset": {}}, shapeless]
    for damage in damages:
        (record.folder / "run.json").write_text(json.dumps(run | damage))
        with pytest.raises(UserError, match=r"run\.json was written by another version of this program$"):
            load_network(record, "cpu")

"""Exported networks: the documentation's examples load each without this package."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import REPOSITORY
from torch import nn

from sweeper.__main__ import app
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.network import TrainedNetwork, load_network
from sweeper.trained import export as module
from sweeper.trained.export import FORMATS, Classifier, check_file, export
from sweeper.trained.predict import predict

Records = dict[str, RunDirectory]


def example(format: str) -> str:
    """Return the documentation's program that loads a format."""
    text = (REPOSITORY / "docs" / "trained-models.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {format}\n.*?```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert found is not None and "import sweeper" not in found[1]
    return found[1]


@pytest.mark.parametrize("format", FORMATS)
def test_the_documented_program_predicts_what_the_run_predicts(
    format: str,
    records: Records,
    image_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, suffix, packages = FORMATS[format]
    for name in packages:
        pytest.importorskip(name)
    record = records["softmax" if format == "safetensors" else "cnn"]
    path = tmp_path / "deep" / f"model{suffix}"
    app(["export", str(record.folder), "--format", format, "--output", str(path)], standalone_mode=False)
    *files, line = capsys.readouterr().out.splitlines()
    assert files == [str(path), str(path.with_name(f"{path.name}.json"))]
    assert re.fullmatch(r"largest difference of a logit on 30 test images: (0|\d(\.\d)?e-0[5-9])", line)
    assert sorted(it.name for it in path.parent.iterdir()) == [path.name, f"{path.name}.json"]
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert about["classes"] == ["ant", "bee", "cat"] and about["run_id"] == record.run_id
    photo = image_root / "test" / "cat" / "003.png"
    shutil.copy(photo, path.parent / "photo.png")
    monkeypatch.chdir(path.parent)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(example(format), "example", "exec"), {})
    row = predict([load_network(record, "cpu")], [photo]).top(1).iloc[0]
    assert printed.getvalue() == f"{row['class_1']} {row['probability_1']:.4f}\n"


def test_formats_have_a_json_file_each_and_a_folder_is_no_file(records: Records, tmp_path: Path) -> None:
    trained = load_network(records["softmax"], "cpu")
    pixels = np.zeros((1, *trained.input_shape), np.uint8)
    for format, suffix in (("torch", ".pt2"), ("safetensors", ".safetensors")):
        export(trained, format, tmp_path / f"model{suffix}", pixels)
    inputs = [json.loads((tmp_path / f"model{it}.json").read_text())["input"] for it in (".pt2", ".safetensors")]
    assert inputs[0] == "pixels, (N, C, H, W) uint8" and "float32" in inputs[1]
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(UserError, match=r"folder\.pt2 is a folder; name a file in it$"):
        check_file("torch", tmp_path / "folder.pt2", tmp_path / "x")


def test_normalization_is_part_of_the_network(records: Records) -> None:
    trained = load_network(records["cnn"], "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (5, *trained.input_shape), dtype=np.uint8)
    logits = Classifier(trained)(torch.from_numpy(pixels))
    assert torch.allclose(logits, torch.from_numpy(trained.logits(pixels)), atol=1e-5)


def wrong(trained: TrainedNetwork, path: Path, metadata: str) -> module.Run:
    """Write a file whose logits differ by 1."""
    path.write_text(metadata)
    return lambda pixels: Classifier(trained)(torch.from_numpy(pixels)).numpy() + 1


def failing(trained: TrainedNetwork, path: Path, metadata: str) -> module.Run:
    path.write_text("half")
    raise RuntimeError("no form of this layer\nsecond line")


@pytest.mark.parametrize(
    ("exporter", "sentence"),
    [(wrong, "differ by up to 1; nothing is written$"), (failing, "cannot be exported .*: no form of this layer$")],
)
def test_nothing_is_half_written(
    exporter: module.Export, sentence: str, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "torch", (exporter, ".pt2", ()))
    trained = load_network(records["softmax"], "cpu")
    with pytest.raises(UserError, match=sentence):
        export(trained, "torch", tmp_path / "new" / "x.pt2", np.zeros((1, *trained.input_shape), np.uint8))
    assert list((tmp_path / "new").iterdir()) == []


def test_without_test_images_noise_is_compared(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FORMATS, "torch", (lambda trained, path, metadata: copied(trained, path), ".pt2", ()))
    run = records["softmax"].run() or {}
    run["config"]["data"] |= {"cache": str(tmp_path / "none"), "root": str(tmp_path / "gone")}
    (records["softmax"].folder / "run.json").write_text(json.dumps(run))
    arguments = ["export", str(records["softmax"].folder), "--output-dir", str(tmp_path)]
    app(arguments, standalone_mode=False)
    assert "256 images of noise, since the test images are not here (the images of softmax" in capsys.readouterr().out
    assert [it.suffix for it in sorted((tmp_path / "exports").iterdir())] == [".pt2", ".json"]
    with pytest.raises(UserError, match=r"^data\.root=nowhere"):
        app([*arguments, "data.root=nowhere"], standalone_mode=False)


def copied(trained: TrainedNetwork, path: Path) -> module.Run:
    path.touch()
    network: nn.Module = Classifier(trained)
    return lambda pixels: network(torch.from_numpy(pixels)).numpy()


def test_bad_input_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^--format tf: unknown format; choose from onnx, safetensors, torch$"):
        check_file("tf", None, tmp_path / "x")
    with pytest.raises(UserError, match=r"x\.onnx: the suffix of --format torch is \.pt2$"):
        check_file("torch", tmp_path / "x.onnx", tmp_path / "x")
    assert check_file("torch", None, tmp_path / "mlp-dropout0.3-0a1") == tmp_path / "mlp-dropout0.3-0a1.pt2"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    expected = (
        r"^--format onnx needs onnx, onnxruntime, onnxscript: pip install -e '\.\[onnx\]' in the program's folder$"
    )
    with pytest.raises(UserError, match=expected):
        check_file("onnx", None, tmp_path / "x")

"""Runs of airbench and of a library's network: predicted from files, and exported, with the logits of the run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from support import composed

from sweeper.runs.directory import RunDirectory
from sweeper.runs.job import Job
from sweeper.runs.network import TrainedNetwork, load_network
from sweeper.runs.predictions import read_predictions
from sweeper.runs.run import run
from sweeper.trained.export import export
from sweeper.trained.images import find_images
from sweeper.trained.predict import predict

RUNS = {
    "airbench": ("experiment=airbench_small", "model.widths=[4,4,4]", "batch_size=16"),
    "timm": ("model=timm", "model.arch=test_resnet"),
}


@pytest.fixture(scope="module")
def strong(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train each of RUNS for an epoch."""
    threads = torch.get_num_threads()
    output_dir = tmp_path_factory.mktemp("strong")
    for overrides in RUNS.values():
        run(composed(*small, *overrides, "epochs=1", f"output_dir={output_dir}"), Job("python train.py model=strong"))
    torch.set_num_threads(threads)
    return output_dir


@pytest.fixture(params=RUNS)
def record(strong: Path, request: pytest.FixtureRequest) -> RunDirectory:
    (folder,) = (strong / "runs").glob(f"{request.param}-*")
    return RunDirectory(folder)


def test_files_have_the_recorded_predictions(record: RunDirectory, image_root: Path) -> None:
    recorded = read_predictions(record.predictions)
    assert recorded is not None
    found = predict([load_network(record, "cpu")], find_images([image_root / "test"])).probabilities
    assert np.allclose(found, softmax(recorded[0].astype(np.float64), axis=1), atol=1e-6)


def pixels_for(trained: TrainedNetwork) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (5, *trained.input_shape), dtype=np.uint8)


@pytest.mark.parametrize("format", ["torch", "safetensors"])
def test_an_exported_network_has_the_logits_of_the_run(record: RunDirectory, format: str, tmp_path: Path) -> None:
    trained = load_network(record, "cpu")
    pixels, path = pixels_for(trained), tmp_path / f"model.{format}"
    difference = export(trained, format, path, pixels)
    assert difference < 1e-4
    if format == "torch":
        logits = torch.export.load(path).module()(torch.from_numpy(pixels)).detach().numpy()
        assert np.allclose(logits, trained.logits(pixels), atol=1e-4)

"""On a GPU: runs train there, repeat themselves, agree with the CPU, and do not wait for the device at each step.

The other tests take the GPU too where there is one: among them, each choice trains (tests/training) and resumes
bit-exactly (tests/runs/test_resume.py).
"""

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from support import assert_equal, composed, finish, outcome, runs, start, the_run
from torch import Tensor

from sweeper.__main__ import app
from sweeper.data import batches
from sweeper.data.augmentation import crop
from sweeper.data.batches import Step
from sweeper.data.cache import Images, load, prepare
from sweeper.training.build import TrainingComponents, build, choose_all
from sweeper.training.device import set_up_process
from sweeper.training.loop import train_epoch, train_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PLAIN = ["model=cnn_pool", "norm=batch"]
TRICKS = [
    *PLAIN,
    "optimizer=adam",
    "augmentation=flip_crop",
    "mixing=mixup",
    "averaging=ema",
    "scheduler=cosine",
    "dropout=light",
]


def built(overrides: list[str], device: str) -> TrainingComponents:
    config = composed(*overrides, f"device={device}", "data.val_size=24")
    return build(config, choose_all(config), load(prepare(config.data)), set_up_process(device, config.threads))


def test_a_run_repeats_itself_on_a_gpu(small: list[str], tmp_path: Path) -> None:
    for name in ("one", "other"):
        finish(start([*small, *TRICKS, "epochs=3"], tmp_path / name))
    assert json.loads((the_run(tmp_path / "one") / "run.json").read_text())["device_type"] == "cuda"
    assert_equal(outcome(the_run(tmp_path / "one")), outcome(the_run(tmp_path / "other")))


def test_a_parallel_sweep_trains_on_the_gpu(small: list[str], tmp_path: Path) -> None:
    swept = ["-m", "model=softmax,mlp,cnn", "epochs=2", "hydra/launcher=parallel", "hydra.launcher.runs_per_gpu=2"]
    finish(start([*small, *swept], tmp_path))
    found = [json.loads((run / "run.json").read_text())["device_type"] for run in runs(tmp_path)]
    assert found == ["cuda"] * 3
    assert all((run / "result.json").exists() for run in runs(tmp_path))


def test_a_step_computes_what_it_computes_on_a_cpu(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    weights: list[dict[str, Tensor]] = []
    for device in ("cpu", "cuda"):
        parts = built([*small, *PLAIN, "optimizer=sgd", "augmentation=flip_crop"], device)
        parts.state.model.train()
        for images, targets in itertools.islice(parts.train_loader.epoch(1), 2):
            train_step(parts.state, parts.recipe, images, targets)
        weights.append({name: value.cpu() for name, value in parts.state.model.state_dict().items()})
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("border", ["black", "reflect"])
def test_images_are_shifted_as_on_a_cpu(border: str) -> None:
    images, draws = torch.randint(0, 256, (64, 3, 12, 10), dtype=torch.uint8), torch.rand(64, 2)
    here = crop(images, draws, torch.zeros(3), crop_padding=2, crop_border=border)
    there = crop(images.cuda(), draws.cuda(), torch.zeros(3), crop_padding=2, crop_border=border)
    assert torch.equal(there.cpu(), here)


def test_a_run_of_a_gpu_is_evaluated_on_either_device(
    small: list[str], image_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(start([*small, *PLAIN, "epochs=2"], tmp_path))
    for device in ("cuda", "cpu"):
        app(["evaluate", str(the_run(tmp_path)), f"device={device}"], standalone_mode=False)
        assert "recorded" in capsys.readouterr().out
        folder, table = image_root / "test", tmp_path / f"{device}.csv"
        options = ["--device", device, "--output", str(table)]
        app(["predict", str(the_run(tmp_path)), str(folder), *options], standalone_mode=False)
    by_device = [(tmp_path / f"{device}.csv").read_text().splitlines() for device in ("cuda", "cpu")]
    assert [line.split(",")[:2] for line in by_device[0]] == [line.split(",")[:2] for line in by_device[1]]


def test_a_compiled_run_trains_on_the_gpu(small: list[str], tmp_path: Path) -> None:
    if shutil.which(os.environ.get("CXX") or "g++") is None:
        pytest.skip("there is no C++ compiler")
    output = finish(start([*small, *PLAIN, "epochs=1", "compile=true", "autocast=bfloat16"], tmp_path))
    assert "test_acc" in output


STEPS = [TRICKS, *([*PLAIN, f"optimizer={name}"] for name in ("sgd", "adamw", "muon", "sam"))]
STEPS += [[*PLAIN, f"mixing={name}"] for name in ("mixup", "cutmix")]


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("overrides", STEPS)
def test_no_step_waits_for_the_gpu(overrides: list[str], small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python then runs ahead of the device; where a step waits, the device is idle until the next one is queued.

    Only the loss is read, every 50 steps and at the end of an epoch.
    """
    monkeypatch.setattr(batches, "CHUNK", 16)
    monkeypatch.setattr(batches, "CHUNK_PIXELS", 0)
    parts = built([*small, *overrides], "cuda")
    train_epoch(parts.state, parts.recipe, parts.train_loader)  # the first step builds its state
    steps, (state, recipe) = parts.train_loader.epoch(2), (parts.state, parts.recipe)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index, (images, targets) in enumerate(steps):
            step = Step(index, 100, 0)
            train_step(state, recipe, *recipe.mixing(images, targets, recipe.num_classes, step))
            state.averaging.update(state.model, step)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_images_are_kept_on_the_gpu(small: list[str]) -> None:
    data: Images = built([*small, *PLAIN], "cuda").train_loader.data
    assert data.images.is_cuda and data.labels.is_cuda and data.images.dtype == torch.uint8

"""A run that was killed and started again ends bit-equal to one that was never stopped: weights, metrics, result."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY, environment
from torchvision.models import resnet18

# Together: every model, activation, norm, dropout, optimizer, scheduler and augmentation. With checkpoint_minutes=0 a
# run saves at every step and so goes on in the middle of an epoch; without, from the end of an epoch.
CASES = {
    "softmax": "model=softmax optimizer=sgd scheduler=constant augmentation=flip checkpoint_minutes=0",
    "mlp": "model=mlp model.hidden=[32] activation=relu norm=batch dropout=light optimizer=momentum scheduler=step "
    "scheduler.step_size=2 augmentation=cutout checkpoint_minutes=0",
    "mlp_deep": "model=mlp_deep model.hidden=[32,16] activation=gelu norm=layer dropout=heavy optimizer=adam "
    "scheduler=cosine augmentation=none",
    "cnn": "model=cnn activation=silu norm=group dropout=light optimizer=adamw scheduler=onecycle "
    "augmentation=flip_crop checkpoint_minutes=0",
    "cnn_pool": "model=cnn_pool activation=selu norm=none dropout=heavy optimizer=adam scheduler=plateau "
    "scheduler.patience=0 augmentation=cutout checkpoint_minutes=0",
    "resnet18": "model=resnet18 model.stem=imagenet activation=leaky_relu optimizer=momentum scheduler=exponential "
    "augmentation=flip epochs=4",
    "resnet18_pretrained": "model=resnet18_pretrained model.freeze_backbone=true activation=tanh optimizer=adam "
    "scheduler=multistep scheduler.milestones=[2] epochs=4 checkpoint_minutes=0",
    "options": "model=mlp model.hidden=[16] norm=batch scheduler=cosine scheduler.warmup_epochs=1.5 grad_clip=0.5 "
    "label_smoothing=0.1 patience=8 seed=3 checkpoint_minutes=0",
    "autocast": "model=cnn_pool norm=batch autocast=bfloat16 checkpoint_minutes=0",
    "compile": "model=mlp model.hidden=[16] dropout=light batch_size=20 compile=true checkpoint_minutes=0",
}
TIMINGS = ("train_seconds", "eval_seconds", "images_per_second", "convergence_seconds")


def start(overrides: list[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *overrides],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def the_run(folder: Path) -> Path:
    (run,) = (folder / "outputs" / "runs").glob("*")
    return run


def kill_in_the_middle(overrides: list[str], folder: Path) -> None:
    """Start the run and kill it once its first epoch is recorded; if it was over by then, try again."""
    for _ in range(10):
        process = start(overrides, folder)
        while process.poll() is None and not list(folder.glob("outputs/runs/*/metrics.jsonl")):
            time.sleep(0.001)
        while process.poll() is None and not (the_run(folder) / "metrics.jsonl").read_text():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not (the_run(folder) / "result.json").exists():
            return
        shutil.rmtree(folder)
    pytest.fail("the run always ended before it could be killed")


def outcome(run: Path) -> dict[str, Any]:
    """Everything that must not depend on interruptions: checkpoints, metrics and result, timings left out."""
    last = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    kept = {"model": last["model"], "optimizer": last["optimizer"], "generators": last["generators"]}
    kept["best"] = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    kept["rows"] = [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]
    kept["result"] = {key: value for key, value in result.items() if key not in TIMINGS}
    return kept


def assert_equal(one: object, other: object, where: str = "") -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for place, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}[{place}]")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.parametrize("case", CASES)
def test_killed_and_started_again_equals_uninterrupted(case: str, small: list[str], tmp_path: Path) -> None:
    if case == "compile" and shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    overrides = [*small, "epochs=12", *CASES[case].split()]
    if "pretrained" in case:
        torch.manual_seed(0)
        torch.save(resnet18(weights=None).state_dict(), tmp_path / "weights.pt")
        overrides.append(f"model.weights={tmp_path / 'weights.pt'}")
    whole = start(overrides, tmp_path / "whole")
    kill_in_the_middle(overrides, tmp_path / "killed")
    output = finish(start(overrides, tmp_path / "killed"))
    finish(whole)
    assert "going on in epoch" in output
    assert_equal(outcome(the_run(tmp_path / "killed")), outcome(the_run(tmp_path / "whole")))
    assert the_run(tmp_path / "killed").name == the_run(tmp_path / "whole").name


def test_the_cases_cover_every_choice() -> None:
    chosen = {word for case in CASES.values() for word in case.split()} | {"norm=batch"}
    groups = ("model", "activation", "norm", "dropout", "optimizer", "scheduler", "augmentation")
    names = {f"{group}={path.stem}" for group in groups for path in (REPOSITORY / "conf" / group).glob("*.yaml")}
    assert names - chosen == {"dropout=none"}  # the default, in the softmax's place

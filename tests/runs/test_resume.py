"""A run that was killed and started again ends bit-equal to one that was never stopped: weights, metrics, result."""

import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from support import REPOSITORY, assert_equal, finish, outcome, start, the_run
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

"""A run that was killed and resumed ends bit-identical to one that was never stopped, with every choice there is."""

import shutil
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from choices import CHOICES, EPOCHS, needs, presets
from choices import STEPS as STEP_GROUPS
from support import assert_equal, composed, finish, outcome, rows, runs, start, the_run
from torchvision.models import resnet18

from sweeper.choice import SLOTS, keyword_only
from sweeper.data.augmentation import STEPS
from sweeper.models import MODELS
from sweeper.training.build import choose_all
from sweeper.training.metrics import METRICS

# The values of each group that a run chooses: the presets, and the metrics that select the best epoch.
# Groups of steps first, after the model: their steps need others' choices.
VALUES = {group: list(presets(group)) for group in ("model", *STEP_GROUPS, *CHOICES) if group != "data"}
VALUES["select"] = [f"val_{name}" for name in METRICS]

# Settings that make a run small and short. A choice that is not here runs with its preset's settings, and with those
# that it needs. By default a run saves at every step, and so resumes in the middle of an epoch.
PLAIN = {
    "augmentation": "none",
    "architecture": "none",
    "courses": "none",
    "init": "default",
    "optimizer": "adam",
    "scheduler": "constant",
    "mixing": "none",
    "loss": "cross_entropy",
    "averaging": "none",
    "views": "none",
}  # for networks that take long to build, which the search for cases does for every value
PIXELS = {"task": "segmentation", "data": "segmentation_folder", "data.root": "MASKS"}
SMALL = {
    "model=mlp": {"model.hidden": "[32]"},
    "model=mlp_deep": {"model.hidden": "[32,16]", "checkpoint_minutes": "5"},
    "model=resnet18": {  # without Muon, whose products of its large filters take seconds a step
        "model.stem": "imagenet", "norm": "batch", "epochs": "3", "checkpoint_minutes": "5", "optimizer": "momentum",
    },
    "model=airbench": {"model.widths": "[8,8]"},
    "model=torchvision": PLAIN | {"epochs": "3", "checkpoint_minutes": "5"},
    "model=timm": PLAIN | {
        "model.arch": "test_resnet", "model.weights": "WEIGHTS", "model.freeze_backbone": "true", "epochs": "3",
    },
    "model=resnet18_pretrained": {
        "model.weights": "WEIGHTS", "model.freeze_backbone": "true", "norm": "batch", "augmentation": "none",
        "views": "none", "epochs": "3", "checkpoint_minutes": "5",
    },
    "model=unet": PIXELS | {"model.widths": "[4,8]"},
    "model=patch_softmax": PIXELS | {"model.kernel_size": "3"},
    "model=fcn32s": PLAIN | PIXELS | {"model.arch": "mobilenet_v3_small", "epochs": "3"},
    "model=fcn16s": PLAIN | PIXELS | {"model.arch": "mobilenet_v3_small", "epochs": "3", "checkpoint_minutes": "5"},
    "model=fcn8s": PLAIN | PIXELS | {
        "model.library": "timm", "model.arch": "test_resnet", "epochs": "3", "checkpoint_minutes": "5",
    },
    "scheduler=step": {"scheduler.step_size": "2"},
    "scheduler=multistep": {"scheduler.milestones": "[2]"},
    "scheduler=plateau": {"scheduler.patience": "0"},
    "averaging=swa": {"averaging.start": "0.1"},
    "loss=distillation": {"loss.teacher": "TEACHER"},
}  # fmt: skip
OPTIONS = {
    "options": {
        "model": "mlp", "model.hidden": "[16]", "norm": "batch", "scheduler": "cosine",
        "scheduler.warmup_epochs": "1.5", "grad_clip": "0.5", "loss.label_smoothing": "0.1", "patience": "4",
        "seed": "3",
    },
    "autocast": {"model": "cnn_pool", "norm": "batch", "autocast": "bfloat16"},
    "compile": {"model": "mlp", "model.hidden": "[16]", "dropout": "light", "batch_size": "20", "compile": "true"},
}  # fmt: skip

Case = dict[str, str]  # overrides


def slots_of(model: str) -> set[str]:
    """Return the slots that the model of a preset has."""
    return {*SLOTS} & {*keyword_only(MODELS[presets("model")[model]["name"]])}


def distributed() -> dict[str, Case]:
    """Distribute the values of all groups over runs: each takes the next one of every group that it can choose from."""
    left = {group: list(values) for group, values in VALUES.items()}
    most_slots = max(VALUES["model"], key=lambda model: (len(slots_of(model)), model == "mlp"))
    cases: dict[str, Case] = {}
    while any(left.values()):
        needed = [(needs(f"{group}={value}", {}) or {}).get("model") for group in VALUES for value in left[group]]
        model = left["model"].pop(0) if left["model"] else next(filter(None, needed), most_slots)
        case = {"model": model} | SMALL.get(f"model={model}", {})
        lacking = {*SLOTS} - slots_of(model)
        for group, values in VALUES.items():
            if group in case or group in lacking:
                continue
            turn = len(cases) % len(values)
            for value in [*sorted(left[group], key=partial(is_plain, group)), *values[turn:], *values[:turn]]:
                small = SMALL.get(f"{group}={value}", {}) | case
                if (base := needs(f"{group}={value}", small)) is not None:
                    case = small | base | {group: value}
                    break
        for group, value in case.items():
            left[group] = [other for other in left.get(group, ()) if other != value]
        cases[f"{model}_{len(cases)}"] = dict(sorted(case.items()))
    return cases


def is_plain(group: str, value: str) -> bool:
    """Sort values that need others first."""
    return needs(f"{group}={value}", {}) == {}


CASES = distributed()


def overrides_of(case: Case) -> list[str]:
    return [f"{key}={value}" for key, value in ({"epochs": str(EPOCHS), "checkpoint_minutes": "0"} | case).items()]


def kill_in_the_middle(overrides: list[str], folder: Path) -> None:
    """Start the run and kill it once its first epoch is recorded; if it has ended by then, repeat."""
    for _ in range(10):
        process = start(overrides, folder)
        while process.poll() is None and not any(rows(run) for run in runs(folder)):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        assert runs(folder), output
        if not (the_run(folder) / "result.json").exists():
            return
        shutil.rmtree(folder)
    pytest.fail("the run always ended before it could be killed")


@pytest.mark.parametrize("name", [*CASES, *OPTIONS])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    name: str, small: list[str], mask_root: Path, tmp_path: Path
) -> None:
    if name == "compile" and shutil.which("g++") is None:
        pytest.skip("there is no C++ compiler")
    weights = tmp_path / "weights.pt"
    overrides = [*small, *overrides_of(({} | CASES | OPTIONS)[name])]
    if "model.weights=WEIGHTS" in overrides:
        torch.manual_seed(0)
        network = timm.create_model("test_resnet") if name.startswith("timm") else resnet18(weights=None)
        torch.save(network.state_dict(), weights)
    overrides = [override.replace("WEIGHTS", str(weights)) for override in overrides]
    overrides = [override.replace("data.root=MASKS", f"data.root={mask_root}") for override in overrides]
    if "loss.teacher=TEACHER" in overrides:
        is_pixelwise = "task=segmentation" in overrides
        teacher = (
            PIXELS | {"data.root": str(mask_root), "model": "patch_softmax"} if is_pixelwise else {"model": "softmax"}
        )
        finish(start([*small, *overrides_of(teacher | {"epochs": "1"})], tmp_path / "teacher"))
        best = the_run(tmp_path / "teacher") / "checkpoints" / "best.pt"
        overrides = [override.replace("TEACHER", str(best)) for override in overrides]
    whole = start(overrides, tmp_path / "whole")
    kill_in_the_middle(overrides, tmp_path / "killed")
    output = finish(start(overrides, tmp_path / "killed"))
    finish(whole)
    assert "resuming at epoch" in output
    assert_equal(outcome(the_run(tmp_path / "killed")), outcome(the_run(tmp_path / "whole")))
    assert the_run(tmp_path / "killed").name == the_run(tmp_path / "whole").name


def chosen(group: str) -> set[str]:
    """Return the values of a group that a case chooses and its model does not ignore."""
    cases = [case for case in CASES.values() if group not in SLOTS or group in slots_of(case["model"])]
    return {case[group] for case in cases if group in case}


def test_the_cases_cover_every_choice() -> None:
    for group, functions in CHOICES.items():
        if group != "data":
            assert {presets(group)[value]["name"] for value in chosen(group)} == {*functions}
    assert {group: chosen(group) for group in VALUES} == {group: {*values} for group, values in VALUES.items()}
    steps: Iterable[str] = (step for name in chosen("augmentation") for step in steps_of(name))
    assert {*steps} == {*STEPS}
    assert len(CASES) <= max(map(len, VALUES.values())) + len(VALUES["model"])  # models without slots take no values


def steps_of(augmentation: str) -> Iterable[str]:
    return choose_all(composed(f"augmentation={augmentation}")).augmentation


def test_half_of_the_cases_resume_within_an_epoch() -> None:
    within = [case for case in CASES.values() if case.get("checkpoint_minutes", "0") == "0"]
    assert len(CASES) / 2 <= len(within) < len(CASES)

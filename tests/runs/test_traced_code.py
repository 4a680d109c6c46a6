"""The code of a run has every definition of the package that the run executes."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from choices import needs
from processes import REPOSITORY
from support import composed

from sweeper.data.cache import Dataset, Images
from sweeper.runs import fingerprint
from sweeper.runs.fingerprint import code_of
from sweeper.runs.spec import effective_config
from sweeper.training.build import build, choose_all
from sweeper.training.loop import evaluate, fit

CONF = REPOSITORY / "conf"
GROUPS = sorted({*fingerprint.REGISTRIES, *fingerprint.STEPS} - {"select"})
PRESETS = [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]
SMALL = ("data.val_size=12", "batch_size=8", "epochs=1", "data.image_size=16")
SPECIAL = {
    "model=mlp": ("model.hidden=[8]",),
    "model=mlp_deep": ("model.hidden=[8,8]",),
    "model=unet": ("model.widths=[4,8]",),
    "model=fcn32s": ("model.arch=mobilenet_v3_small",),
    "model=fcn16s": ("model.arch=mobilenet_v3_small",),
    "model=fcn8s": ("model.arch=mobilenet_v3_small",),
    "model=resnet18_pretrained": ("model.weights=WEIGHTS", "model.freeze_backbone=true"),
}
# Executed without being part of a run's code, and why.
EXCEPTIONS = {
    "choice": "fills in settings, which are part of the effective config",
    "training/metrics.acc": "recorded every epoch; of the metrics, the selected one decides the result",
    "training/metrics.loss": "as acc",
    "training/metrics.balanced_acc": "as acc",
    "training/metrics.macro_f1": "as acc",
    "data/mixing.none": "does nothing, as the other choices of this name",
    "training/averaging.none": "as above",
    "data/views.none": "as above",
    "training/metrics.miou": "as acc",
    "training/metrics.pixel_acc": "as acc",
    "data/draws.needs_draws": "marks a step with its number of draws when the module is imported",
}


@cache
def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Images(torch.randint(256, (size, 3, 16, 16), dtype=torch.uint8, generator=generator), torch.arange(size) % 3)
        for size in (36, 9)
    )
    return Dataset(train, test, ["ant", "bee", "cat"])


def with_masks(dataset: Dataset) -> Dataset:
    """The same images, each pixel of the class of its image."""
    train, test = (
        Images(part.images, part.labels[:, None, None].expand(-1, 16, 16).to(torch.uint8))
        for part in (dataset.train, dataset.test)
    )
    return Dataset(train, test, dataset.classes)


def executed(run: Callable[[], object]) -> set[str]:
    """The definitions of the package whose code a call executes, such as `training/loop.fit`."""
    found = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(fingerprint.PACKAGE)):
            module = fingerprint.key_of(Path(code.co_filename))
            found.add(f"{module}.{code.co_qualname.partition('.')[0]}")

    sys.settrace(note)
    try:
        run()
    finally:
        sys.settrace(None)
    return {name for name in found if not name.endswith((".<module>", ".<lambda>", ".<genexpr>"))}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models import resnet18

    file = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(resnet18(weights=None).state_dict(), file)
    return file


@pytest.mark.parametrize("preset", PRESETS)
def test_every_executed_definition_is_in_the_code_of_the_run(preset: str, weights: Path) -> None:
    needed = needs(preset, {}) or {}
    if preset.startswith("model=") and "task" not in needed:
        needed = {}
    model = () if preset.startswith("model=") or "model" in needed else ("model=mlp", "model.hidden=[16]")
    special = [override.replace("WEIGHTS", str(weights)) for override in SPECIAL.get(preset, ())]
    others = [f"{key}={value}" for key, value in needed.items()]
    config = composed(*model, *SMALL, preset, *others, *special)
    choices = choose_all(config)

    def train() -> None:
        teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
        given = teacher if "teacher" in choices.loss.keywords else None
        dataset = with_masks(images()) if choices.task().targets == "masks" else images()
        built = build(config, choices, dataset, torch.device("cpu"), teacher=given)
        fit(built.state, built.recipe, built.train_loader, built.val_loader, epochs=config.epochs)
        evaluate(built.state.eval_model(), built.test_loader(), 3, task=built.recipe.task)
        list(choices.views(next(built.test_loader())[0]))

    code = code_of(effective_config(config, choices, "f00d"))
    reached = {name for group in code.values() for name in group}
    missing = {name for name in executed(train) - reached if not {name, name.partition(".")[0]} & EXCEPTIONS.keys()}
    assert not missing

"""Every choice trains: presets, metrics and experiments, found in conf/ and the registries."""

import math
from pathlib import Path

import pytest
import torch
from choices import CONF, EXPERIMENTS, GROUPS, needs, presets
from support import composed

from sweeper.choice import choose
from sweeper.config import Config, validate
from sweeper.data.cache import load, prepare
from sweeper.data.views import VIEWS
from sweeper.training.build import TrainingComponents, build, check, choose_all
from sweeper.training.device import set_up_process
from sweeper.training.loop import fit, train_epoch
from sweeper.training.metrics import METRICS

CHOICES = [f"{group}={preset}" for group in GROUPS if group != "data" for preset in presets(group)]
SELECTIONS = [f"select=val_{name}" for name in METRICS]


def trained_an_epoch(config: Config, num_steps: int) -> TrainingComponents:
    """Build and train for an epoch; some weights have changed then, and all metrics are finite."""
    validate(config)
    choices, cached = choose_all(config), prepare(config.data)
    check(config, choices, cached)
    num_classes = len(cached.classes)
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(math.prod(cached.input_shape), num_classes))
    given = teacher if "teacher" in choices.loss.keywords else None
    components = build(config, choices, load(cached), set_up_process("cpu", config.threads), teacher=given)
    state = components.state
    before = [parameter.detach().clone() for parameter in state.model.parameters()]
    train_epoch(state, components.recipe, components.train_loader)
    assert (state.loop.step_in_epoch, state.loop.num_samples) == (num_steps, len(components.train_loader.indices))
    fit(state, components.recipe, components.train_loader, components.val_loader, epochs=1)
    assert any(not torch.equal(*pair) for pair in zip(before, state.model.parameters(), strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in state.eval_model().parameters())
    (row,) = state.loop.history
    assert all(math.isfinite(value) for value in row.values())
    assert components.recipe.best(state.loop.history) is row
    return components


def needs_of(choice: str) -> dict[str, str] | None:
    """Return the settings that a choice needs; an experiment of segmentation is trained on the small masks as well."""
    group, _, name = choice.partition("=")
    if group == "experiment":
        is_pixelwise = "override /task: segmentation" in (CONF / "experiment" / f"{name}.yaml").read_text()
        return {"data": "segmentation_folder"} if is_pixelwise else {}
    needed = needs(choice, {})
    is_plain = needed is not None and "task" not in needed and group in ("model", "select")
    return {} if is_plain or (needed is None and group == "model") else needed


@pytest.mark.parametrize("choice", [*CHOICES, *SELECTIONS, *(f"experiment={name}" for name in EXPERIMENTS)])
def test_every_choice_trains(choice: str, small: list[str], mask_root: Path) -> None:
    needed = needs_of(choice)
    assert needed is not None, "add to BASES what this choice needs"
    others = [f"{key}={value}" for key, value in needed.items()]
    others += [f"data.root={mask_root}"] if needed.get("data") == "segmentation_folder" else []
    config = composed(*small, choice, "batch_size=31", "data.val_size=58", "data.image_size=8", *others)
    if config.model.arch == "vgg16":
        config.model.arch = "mobilenet_v3_small"  # of which an image takes less than a second
    if config.model.weights is not None:
        config.model.weights = None  # tests/models has those
    if config.model.widths is not None:
        config.model.widths = [8, 8]  # the small images are too small for more
    components = trained_an_epoch(config, num_steps=2)
    images, _ = next(components.test_loader())
    views = choose("views", config.views, VIEWS)(images)
    shape = (30, 3, 8, 8) if config.task.name == "segmentation" else (30, 3)
    assert all(components.state.eval_model()(view).shape == shape for view in views)


def test_digits_train(cache: Path) -> None:
    components = trained_an_epoch(
        composed("data=digits", "model=softmax", "threads=1", f"data.cache={cache}"), num_steps=21
    )
    assert len(components.train_loader.indices) == 1300


def test_every_preset_is_among_the_choices() -> None:
    folders = [path for path in CONF.iterdir() if path.is_dir() and path.name not in ("data", "experiment", "hydra")]
    assert sorted(CHOICES) == sorted(f"{folder.name}={path.stem}" for folder in folders for path in folder.iterdir())

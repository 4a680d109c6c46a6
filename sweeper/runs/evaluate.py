"""Evaluate networks on test images, and compare a finished run's best.pt with its records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sweeper.config import LossConfig
from sweeper.data import views as view_choices
from sweeper.data.cache import load
from sweeper.errors import UserError
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import read_predictions
from sweeper.runs.spec import resolve_recorded
from sweeper.runs.states import state_of
from sweeper.training.build import TrainingComponents, build
from sweeper.training.device import set_up_process
from sweeper.training.loop import evaluate
from sweeper.training.metrics import Evaluation, acc
from sweeper.training.views import AveragedViews


def evaluate_test_images(components: TrainingComponents, model: nn.Module) -> Evaluation:
    recipe = components.recipe
    return evaluate(model, components.test_loader(), recipe.num_classes, recipe.autocast)


def evaluate_views(components: TrainingComponents, model: nn.Module, views: Any) -> dict[str, float]:
    """Return the test accuracy of averaged views, for result.json; nothing where views=none."""
    if views.func is view_choices.none:
        return {}
    return {"test_acc_views": acc(evaluate_test_images(components, AveragedViews(model, views)))}


@dataclass(frozen=True)
class Reevaluation:
    """A re-evaluation of a finished run, and its recorded accuracy.

    Attributes:
        num_changed: test images whose predicted class differs from the recorded one; None if no predictions are
            recorded.
        confusion: images by true class (rows) and predicted class (columns).
    """

    recorded_acc: float
    test_acc: float
    num_changed: int | None
    classes: list[str]
    confusion: NDArray[np.int64]


def evaluate_run(folder: Path) -> Reevaluation:
    """Load best.pt of a finished run and evaluate it on the test images.

    Raises:
        UserError: there is no such finished run, its checkpoint is not usable or its dataset has changed.
    """
    record = RunDirectory(folder)
    run, result = record.run(), record.result()
    if run is None:
        raise UserError(f"{folder} not found: give a run ID, its last digits or a run directory")
    if result is None:
        state = state_of(record)
        advice = "" if state in ("running", "diverged") else f"; to finish it: {run['command']}"
        raise UserError(f"{folder.name} has no result (state: {state}){advice}")
    loss = LossConfig("cross_entropy", label_smoothing=0.0)  # evaluation needs neither the loss nor its teacher
    spec = resolve_recorded(record, compile=False, loss=loss)  # compiling takes longer than evaluating
    try:
        best = checkpoint.load(record.best, folder.name)
    except (FileNotFoundError, checkpoint.Damaged) as error:
        again = f"retrain with: {run['command']} sweep.reuse=none"
        raise UserError(f"{record.best} is missing or damaged; {again}") from error
    device = set_up_process(spec.config.device, run["threads"])
    components = build(spec.config, spec.choices, load(spec.cached), device, load_pretrained=False)
    model = components.state.eval_model()
    checkpoint.load_weights(best, model)
    test = evaluate_test_images(components, model)
    recorded = read_predictions(record.predictions)
    changed = None
    if recorded is not None and len(recorded[0]) == len(test.logits):
        changed = int((recorded[0].argmax(1) != test.logits.numpy().argmax(1)).sum())
    return Reevaluation(result["test_acc"], acc(test), changed, run["dataset"]["classes"], test.confusion.numpy())

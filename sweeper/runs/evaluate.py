"""Evaluate networks on test images, and compare a finished run's best.pt with its records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sweeper.config import LossConfig
from sweeper.data import views as view_choices
from sweeper.data.cache import load
from sweeper.errors import UserError
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.predictions import read_predictions
from sweeper.runs.provenance import in_folder
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
        note: why the last digits may differ; empty where they may not.
    """

    recorded_acc: float
    test_acc: float
    num_changed: int | None
    classes: list[str]
    confusion: NDArray[np.int64]
    note: str = ""


def evaluate_run(folder: Path, data_root: Path | None = None) -> Reevaluation:
    """Load best.pt of a finished run and evaluate it on the test images, where there is no GPU on the CPU.

    Args:
        folder: the run's directory, which may be a copy.
        data_root: the folder of the images, where it is no longer the recorded one.

    Raises:
        UserError: there is no such finished run, its checkpoint is not usable or its dataset has changed.
    """
    record = RunDirectory(folder)
    run, result = record.run(), record.result()
    if run is None:
        raise UserError(f"{folder} not found: give a run ID, its last digits or a run directory")
    if result is None:
        state = state_of(record)
        advice = "" if state in ("running", "diverged") else f"; to finish it: {command_of(record)}"
        raise UserError(f"{folder.name} has no result (state: {state}){advice}")
    loss = LossConfig("cross_entropy", label_smoothing=0.0)  # evaluation needs neither the loss nor its teacher
    changes = {} if torch.cuda.is_available() else {"device": "cpu"}
    # Compiling takes longer than evaluating.
    spec = resolve_recorded(record, data_root=data_root, compile=False, loss=loss, **changes)
    try:
        best = checkpoint.load(record.best, run["run_id"])
    except (FileNotFoundError, checkpoint.Damaged) as error:
        again = f"retrain with: {command_of(record)} sweep.reuse=none"
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
    note = ""
    if device.type != run["device_type"]:
        note = f"trained on {run['device_type']}, evaluated on {device.type}: the last digits may differ"
    classes = run["dataset"]["classes"]
    return Reevaluation(result["test_acc"], acc(test), changed, classes, test.confusion.numpy(), note)


def command_of(record: RunDirectory) -> str:
    """Return the command that repeats a recorded run, in the folder where the record is now."""
    run = record.run() or {}
    return in_folder(run["command"], run["config"]["output_dir"], record.folder.parent.parent)

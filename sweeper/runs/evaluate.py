"""Evaluate networks on test images, and compare a finished run's best.pt with its records."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sweeper.data import views as view_choices
from sweeper.data.cache import load
from sweeper.groups import LossConfig
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.elsewhere import Elsewhere
from sweeper.runs.network import load_best
from sweeper.runs.predictions import read_masks, read_predictions
from sweeper.runs.spec import RunSpec, resolve_recorded
from sweeper.training.build import TrainingComponents, build
from sweeper.training.device import set_up_process
from sweeper.training.loop import evaluate
from sweeper.training.metrics import METRICS, Evaluation, acc
from sweeper.training.segmentation import PixelEvaluation
from sweeper.training.views import AveragedViews


def evaluate_test_images(components: TrainingComponents, model: nn.Module) -> Any:
    recipe = components.recipe
    return evaluate(model, components.test_loader(), recipe.num_classes, recipe.autocast, task=recipe.task)


def evaluate_views(components: TrainingComponents, model: nn.Module, views: Any) -> dict[str, float]:
    """Return the test accuracy of averaged views, for result.json; nothing where views=none."""
    if views.func is view_choices.none:
        return {}
    return {"test_acc_views": acc(evaluate_test_images(components, AveragedViews(model, views)))}


@dataclass(frozen=True)
class Reevaluation:
    """A re-evaluation of a finished run, and its recorded accuracy.

    Attributes:
        recorded_score, test_score: values of `score`, accuracy or mean intersection over union.
        num_changed: test images (of segmentation: pixels) whose predicted class differs from the recorded one; None if
            no predictions are recorded.
        confusion: images or labelled pixels by true class (rows) and predicted class (columns).
        device_type: what it was evaluated on.
        recorded_device: what it was trained on.
        score: the metric that was evaluated: acc, or miou of segmentation.
        ignored: the index of the class whose pixels do not count, which has no scores; None where all count.
    """

    recorded_score: float
    test_score: float
    num_changed: int | None
    classes: list[str]
    confusion: NDArray[np.int64]
    device_type: str
    recorded_device: str
    score: str = "acc"
    ignored: int | None = None


def evaluate_run(record: RunDirectory, where: Elsewhere | None = None) -> Reevaluation:
    """Load best.pt of a finished run and evaluate it on the test images.

    Args:
        record: of a run with a result, see sweeper.summary.find.find_finished.
        where: the images and the device where they are not the recorded ones.

    Raises:
        UserError: its checkpoint is not usable, or its dataset is missing or has changed.
    """
    where = where or Elsewhere()
    run, result = record.run() or {}, record.result() or {}
    spec = resolve_for_evaluation(record, where)
    best = load_best(record)
    recorded_device = str(run["device_type"])
    device = set_up_process(where.device or available(recorded_device), run["threads"])
    components = build(spec.config, spec.choices, load(spec.cached), device, load_pretrained=False)
    model = components.state.eval_model()
    checkpoint.load_weights(best, model)
    test = evaluate_test_images(components, model)
    score = components.recipe.task.score
    recorded, predicted = recorded_classes(record), predicted_classes(test)
    changed = None
    if recorded is not None and recorded.shape == predicted.shape:
        changed = int((recorded != predicted).sum())
    return Reevaluation(
        result[f"test_{score}"],
        METRICS[score].compute(test),
        changed,
        run["dataset"]["classes"],
        test.confusion.numpy(),
        device.type,
        recorded_device,
        score,
        test.ignore_index if isinstance(test, PixelEvaluation) else None,
    )


def recorded_classes(record: RunDirectory) -> NDArray[Any] | None:
    """Return the recorded predictions: classes (N,), of segmentation (N, H, W); None without them."""
    logits, masks = read_predictions(record.predictions), read_masks(record.predictions)
    return masks[0] if masks is not None else None if logits is None else logits[0].argmax(1)


def predicted_classes(test: Evaluation | PixelEvaluation) -> NDArray[Any]:
    """Return what was predicted in an evaluation, in the form of `recorded_classes`."""
    return test.logits.numpy().argmax(1) if isinstance(test, Evaluation) else test.predicted.numpy()


def resolve_for_evaluation(record: RunDirectory, where: Elsewhere) -> RunSpec:
    """Resolve a recorded run without what evaluation does not need: its loss, whose teacher may be gone.

    Raises:
        UserError: its images are missing or have changed.
    """
    loss = LossConfig("cross_entropy", label_smoothing=0.0)
    return resolve_recorded(record, where.data, compile=False, loss=loss)  # compiling takes longer than evaluating


def available(device_type: str) -> str:
    """Return the type of device where this machine has it, else cpu."""
    return device_type if device_type == "cpu" or torch.cuda.is_available() else "cpu"

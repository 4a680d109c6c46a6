"""Measure a finished run again from its best.pt, and compare with what was recorded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf.errors import OmegaConfBaseException

from sweeper.config import to_config
from sweeper.data.cache import load, prepare
from sweeper.errors import UserError
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.training.build import build, choose_all
from sweeper.training.loop import confusion, evaluate


@dataclass
class Evaluation:
    """What was measured now, beside what was recorded.

    Attributes:
        confusion: images by true class (rows) and predicted class (columns).
    """

    recorded_acc: float
    test_acc: float
    classes: list[str]
    confusion: NDArray[np.int64]


def evaluate_run(folder: Path) -> Evaluation:
    """Load best.pt of a finished run and measure its test accuracy.

    Raises:
        UserError: there is no such finished run, its checkpoint is not usable or its dataset has changed.
    """
    record = RunDirectory(folder)
    run, result = record.run(), record.result()
    if run is None:
        raise UserError(f"{folder} is not the directory of a run; name one, a run's id or its last digits")
    if result is None:
        state = (record.status() or {}).get("state", "unknown")
        advice = "" if state in ("running", "diverged") else f"; finish it with: {run['command']}"
        raise UserError(f"{folder.name} has no result (it is {state}){advice}")
    try:
        config = to_config(run["config"])
    except (OmegaConfBaseException, KeyError) as error:
        raise UserError(f"{folder}/run.json was written by another version of this program") from error
    config.compile = False  # no evaluation is worth a minute of compiling
    torch.set_num_threads(run["threads"])
    cached = prepare(config.data)
    if cached.fingerprint != run["dataset"]["fingerprint"]:
        raise UserError(f"the images of data={config.data.name} are not those that {folder.name} was trained on")
    try:
        best = checkpoint.load(record.best, folder.name)
    except (FileNotFoundError, checkpoint.Damaged) as error:
        again = f"train it again with: {run['command']} sweep.reuse=none"
        raise UserError(f"{record.best} is missing or damaged; {again}") from error
    built = build(config, choose_all(config), load(cached), start_weights=False)
    checkpoint.load_model(best, built.training.model)
    _, test_acc, predictions = evaluate(built.training, built.test_batches())
    classes = run["dataset"]["classes"]
    counts = confusion(built.test.labels, predictions, len(classes)).numpy()
    return Evaluation(result["test_acc"], test_acc, classes, counts)

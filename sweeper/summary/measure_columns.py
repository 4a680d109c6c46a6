"""Measures that are computed only on request: those of each class, and those missing in result.json."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.measures import LOGIT_MEASURES
from sweeper.runs.predictions import read_predictions
from sweeper.summary.columns import CLASS_ACC, CLASS_IOU

CLASS_ACCS = "class_accs"  # among the columns to show: test_acc[CLASS] of each class
CLASS_IOUS = "class_ious"  # and test_iou[CLASS]
PREFIXES = {CLASS_ACCS: CLASS_ACC, CLASS_IOUS: CLASS_IOU}


def with_measures(frame: pd.DataFrame, runs: Path, names: Iterable[str]) -> pd.DataFrame:
    """Add the requested measures that the index does not have; read files of runs only for those.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather.
        runs: the folder runs/.
        names: of columns to show, to select or to sort by; others than measures are ignored.

    Returns:
        The frame with a column `test_acc[CLASS]` for each class of its runs, where one of them or all (CLASS_ACCS) are
        named, and `test_iou[CLASS]` alike; and with the named measures of finished runs whose result.json was written
        before there was that measure,
        from predictions.npz. A measure stays missing where that file is missing or damaged.
    """
    names = set(names)
    for name in sorted(names & LOGIT_MEASURES.keys() & {*frame.columns}):
        lacking = frame["state"].eq("finished") & frame[name].isna()
        found = [from_predictions(runs / str(run_id), name) for run_id in frame.loc[lacking, "run_id"]]
        frame = frame.assign(**{name: pd.to_numeric(frame[name])})
        frame.loc[lacking, name] = found
    for all_classes, prefix in PREFIXES.items():
        if any(name == all_classes or name.startswith(prefix) for name in names):
            values = [class_measures(runs / str(run_id), prefix) for run_id in frame["run_id"]]
            columns = dict.fromkeys(name for run in values for name in run)
            frame = frame.assign(
                **{name: pd.Series([run.get(name) for run in values], frame.index, dtype=float) for name in columns}
            )
    return frame


def expand(columns: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Return the columns with CLASS_ACCS and CLASS_IOUS replaced by those of the classes of the frame's runs.

    Raises:
        UserError: it has none.
    """
    for all_classes, prefix in PREFIXES.items():
        classes = [name for name in map(str, frame.columns) if name.startswith(prefix) and frame[name].notna().any()]
        if all_classes in columns and not classes:
            raise UserError(f"--columns {all_classes}: none of these runs has a confusion matrix in its result.json")
        columns = [name for column in columns for name in (classes if column == all_classes else [column])]
    return list(columns)


def from_predictions(folder: Path, name: str) -> float:
    predictions = read_predictions(RunDirectory(folder).predictions)
    return float("nan") if predictions is None or not len(predictions[1]) else LOGIT_MEASURES[name](*predictions)


def class_measures(folder: Path, prefix: str) -> dict[str, float]:
    """Return a measure of each class by its column's name, from a run's confusion matrix.

    The measure is accuracy (recall) where the prefix is CLASS_ACC, else intersection over union. Classes without test
    images (pixels) are left out; so are all where the run has no result or its record is damaged.
    """
    record = RunDirectory(folder)
    run, result = record.run() or {}, record.result() or {}
    dataset: Any = run.get("dataset")
    classes: Any = dataset.get("classes") if isinstance(dataset, dict) else None
    try:
        confusion = np.array(result.get("confusion"), dtype=np.int64)  # (K, K), by true class (rows) and predicted
    except (ValueError, TypeError, OverflowError):
        return {}
    if not isinstance(classes, list) or confusion.shape != (len(classes), len(classes)):
        return {}
    total = confusion.sum(axis=1)
    if prefix == CLASS_IOU:
        total = total + confusion.sum(axis=0) - confusion.diagonal()
    return {
        f"{prefix}{name}]": float(confusion[index, index] / total[index])
        for index, name in enumerate(classes)
        if total[index] > 0
    }

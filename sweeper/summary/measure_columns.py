"""Measures that are computed only on request: the accuracy of each class, and those missing in result.json."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.measures import LOGIT_MEASURES
from sweeper.runs.predictions import read_predictions
from sweeper.summary.columns import CLASS_ACC

CLASS_ACCS = "class_accs"  # among the columns to show: test_acc[CLASS] of each class


def with_measures(frame: pd.DataFrame, runs: Path, names: Iterable[str]) -> pd.DataFrame:
    """Add the requested measures that the index does not have; read files of runs only for those.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather.
        runs: the folder runs/.
        names: of columns to show, to select or to sort by; others than measures are ignored.

    Returns:
        The frame with a column `test_acc[CLASS]` for each class of its runs, where one of them or all (CLASS_ACCS) are
        named; and with the named measures of finished runs whose result.json was written before there was that measure,
        from predictions.npz. A measure stays missing where that file is missing or damaged.
    """
    names = set(names)
    for name in sorted(names & LOGIT_MEASURES.keys() & {*frame.columns}):
        lacking = frame["state"].eq("finished") & frame[name].isna()
        found = [from_predictions(runs / str(run_id), name) for run_id in frame.loc[lacking, "run_id"]]
        frame = frame.assign(**{name: pd.to_numeric(frame[name])})
        frame.loc[lacking, name] = found
    if not any(name == CLASS_ACCS or name.startswith(CLASS_ACC) for name in names):
        return frame
    accs = [class_accs(runs / str(run_id)) for run_id in frame["run_id"]]
    columns = dict.fromkeys(name for run in accs for name in run)
    return frame.assign(
        **{name: pd.Series([run.get(name) for run in accs], frame.index, dtype=float) for name in columns}
    )


def expand(columns: Sequence[str], frame: pd.DataFrame) -> list[str]:
    """Return the columns with CLASS_ACCS replaced by those of the classes that the frame has.

    Raises:
        UserError: it has none.
    """
    classes = [name for name in map(str, frame.columns) if name.startswith(CLASS_ACC)]
    if CLASS_ACCS in columns and not classes:
        raise UserError(f"--columns {CLASS_ACCS}: no run has a confusion matrix in its result.json")
    return [name for column in columns for name in (classes if column == CLASS_ACCS else [column])]


def from_predictions(folder: Path, name: str) -> float:
    predictions = read_predictions(RunDirectory(folder).predictions)
    return float("nan") if predictions is None or not len(predictions[1]) else LOGIT_MEASURES[name](*predictions)


def class_accs(folder: Path) -> dict[str, float]:
    """Return the accuracy of each class (its recall) by its column's name, from a run's confusion matrix.

    Classes without test images are left out; so are all where the run has no result or its record is damaged.
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
    images = confusion.sum(axis=1)
    return {
        f"{CLASS_ACC}{name}]": float(confusion[index, index] / images[index])
        for index, name in enumerate(classes)
        if images[index] > 0
    }

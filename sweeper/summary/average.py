"""Runs that differ only in their seed as one row: mean, standard deviation, count."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweeper.summary.columns import (
    chooser_of,
    is_deviation,
    is_implied,
    is_missing,
    is_number,
    is_result,
    setting_columns,
)


def average(frame: pd.DataFrame, over: str) -> pd.DataFrame:
    """Return one row for all runs that agree in every setting but `over` and in the code that trained them.

    Where `over` is a group, its own code and the settings that follow from its choice differ with it.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather.
        over: the setting that is averaged over, such as seed.

    Returns:
        The settings but `over`; `runs`, how many finished runs are averaged; for each result that is a number the mean
        over them and, as `<name>_std`, the sample standard deviation (of one run: missing); `state`, that of all runs
        or a count of each. The row of a single run keeps its run_id and its results, finished or not.
    """
    implied = [name for name in setting_columns(frame) if chooser_of(name) == over and is_implied(frame, name)]
    settings = [name for name in setting_columns(frame) if name not in (over, *implied)]
    codes = {text: without_group(text, over) for text in frame["code"].unique()}
    frame = frame.assign(code=frame["code"].map(codes))
    results = [name for name in map(str, frame.columns) if is_result(name)]
    cells: dict[str, list[Any]] = {str(name): frame[name].tolist() for name in frame}
    rows = []
    for runs in groups(frame.reset_index(drop=True), [*settings, "code"]):
        first, *others = runs.index.tolist()
        finished = [run for run in (first, *others) if cells["state"][run] == "finished"]
        row: dict[str, Any] = {name: cells[name][first] for name in ("run_id", *settings)}
        row["runs"] = len(finished)
        if not others:
            row |= {name: cells[name][first] for name in results}
        else:
            row["run_id"] = None
            for name in filter(is_number, results):
                row[name], row[f"{name}_std"] = mean_and_std([cells[name][run] for run in finished])
            row["state"] = format_states(runs)
            row["stale"] = any(cells["stale"][run] for run in (first, *others))
            row |= {"code": cells["code"][first], "torch": None, "device_type": None, "error": None}
        rows.append(row)
    columns = ["run_id", *settings, "runs", *(part for name in results for part in (name, f"{name}_std"))]
    return pd.DataFrame(rows, columns=[name for name in columns if name in rows[0] or is_deviation(name)])


def without_group(code: Any, group: str) -> Any:
    """Return recorded digests of code, as JSON, without those of a group."""
    digests = json.loads(code) if isinstance(code, str) and code else {}
    return code if group not in digests else json.dumps({key: digests[key] for key in digests if key != group})


def groups(frame: pd.DataFrame, columns: list[str]) -> list[pd.DataFrame]:
    """Return the runs that agree in all of the columns, group by group, in order of their first run."""
    return [runs for _, runs in frame.groupby(keys(frame, columns), sort=False)]


def keys(frame: pd.DataFrame, columns: list[str]) -> "list[pd.Series[str]]":
    """Return the varying columns as text: missing values are equal to each other, 1 and "1" are not."""
    varying = [name for name in columns if frame[name].nunique(dropna=False) > 1]
    return [frame[name].map(repr) for name in varying or columns[:1]]


def mean_and_std(values: Sequence[Any]) -> tuple[Any, Any]:
    """Return mean and standard deviation; where a target was never reached, how many runs reached it and no number."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = np.array([value for value in values if not isinstance(value, str) and not is_missing(value)], dtype=float)
    if texts:
        return f"reached by {len(numbers)}/{len(values)}", None
    if len(numbers) == 0:
        return None, None
    return float(numbers.mean()), float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None


def format_states(runs: pd.DataFrame) -> str:
    """Return `finished` where all runs are, or a count of each state, such as `2 finished, 1 failed`."""
    counts = Counter(runs["state"])
    if len(counts) == 1:
        return str(next(iter(counts)))
    order = sorted(counts, key=lambda state: (state != "finished", state))
    return ", ".join(f"{counts[state]} {state}" for state in order)

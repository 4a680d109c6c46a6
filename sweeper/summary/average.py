"""Runs that differ in nothing but their seed as one row: mean, standard deviation, count."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from sweeper.summary.gather import MEASURES

AVERAGED = tuple(name for name in MEASURES if name not in ("state", "stale", "code", "error"))
SPREADS = {f"{name}_std" for name in AVERAGED}


def average(frame: pd.DataFrame, over: str) -> pd.DataFrame:
    """One row for all runs that agree in every setting but `over`.

    Args:
        frame: a row for each run, see sweeper.summary.gather.gather.
        over: the setting that is averaged over, such as seed.

    Returns:
        The settings but `over`; `runs`, how many finished ones are averaged; for each of AVERAGED the mean over them
        and, as `<name>_std`, the sample standard deviation (of one run: missing); `state`, the one that all have, or a
        count of each. A row of one run alone keeps its run_id and what it has, finished or not.
    """
    settings = [name for name in frame.columns if name not in (*MEASURES, "run_id", over)]
    rows = []
    # Missing values group together, and a key of text keeps 1 and "1" of foreign records from meeting by accident.
    for _, runs in frame.groupby([frame[name].map(repr) for name in settings] or (lambda _: 0), sort=False):
        finished = runs[runs["state"] == "finished"]
        row: dict[str, Any] = {name: runs[name].iloc[0] for name in ("run_id", *settings)}
        row["runs"] = len(finished)
        if len(runs) == 1:
            row |= {name: runs[name].iloc[0] for name in MEASURES}
        else:
            row["run_id"] = None
            for name in AVERAGED:
                row[name], row[f"{name}_std"] = mean_and_std(finished[name])
            row["state"] = states(runs)
            row |= {"stale": bool(finished["stale"].any()), "code": None, "error": None}
        rows.append(row)
    columns = ["run_id", *settings, "runs", *(part for name in MEASURES for part in (name, f"{name}_std"))]
    return pd.DataFrame(rows, columns=[name for name in columns if name in rows[0] or name in SPREADS])


def mean_and_std(values: "pd.Series[Any]") -> tuple[Any, Any]:
    """Of what was measured; where a target was never reached, how many reached it and no number."""
    numbers = pd.to_numeric(values, errors="coerce").dropna().to_numpy(dtype=float)
    if values.map(lambda value: isinstance(value, str)).any():
        return f"{len(numbers)} of {len(values)} reached it", None
    if len(numbers) == 0:
        return None, None
    return float(numbers.mean()), float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None


def states(runs: pd.DataFrame) -> str:
    """`finished` where all are, or such as `2 finished, 1 failed`."""
    counts = Counter(runs["state"])
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{counts[state]} {state}" for state in sorted(counts, key=lambda one: (one != "finished", one)))

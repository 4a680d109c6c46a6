"""From run directories to one table: a row for every run, whatever its state."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.record import Record, flat_settings

# What was measured, in the order of the table's columns.
MEASURES = (
    "best_val_acc",
    "best_epoch",
    "test_acc",
    "convergence_epoch",
    "convergence_seconds",
    "epochs_to_target",
    "epochs_done",
    "train_seconds",
    "parameters",
    "state",
    "error",
)


READINGS = ("convergence_fraction", "target_acc")  # how the curve was read, which may differ between runs


def gather(runs: Path, only: Collection[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read every run below a folder, or of these only those with the given ids.

    Returns:
        A row for each run: run_id, its effective settings under their dotted names, the MEASURES. A run that is not
        finished has what its metrics say so far. And the names of the folders that are no readable runs.
    """
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for folder in sorted(path for path in runs.glob("*") if path.is_dir() and (only is None or path.name in only)):
        try:
            row = read_run(Record(folder))
        except (TypeError, ValueError, KeyError, AttributeError):  # values of kinds that we never write
            row = None
        if row is None:
            unreadable.append(folder.name)
        else:
            rows.append(row)
    settings_found = dict.fromkeys(name for row in rows for name in row if name not in MEASURES)
    return pd.DataFrame(rows, columns=[*settings_found, *MEASURES]), unreadable


def read_run(record: Record) -> dict[str, Any] | None:
    """One run as a row; None where the directory does not say which run it is."""
    run, status = record.run(), record.status()
    if run is None or not isinstance(run.get("effective"), dict):
        return None
    metrics = [row for row in record.metrics() if {"epoch", "val_acc", "train_seconds"} <= row.keys()]
    result = record.result() or {}
    best: dict[str, Any] = max(metrics, key=lambda row: row["val_acc"], default={})
    row: dict[str, Any] = {"run_id": record.run_id, **flat_settings(run["effective"])}
    row |= {name: result.get(name, run.get("config", {}).get(name)) for name in READINGS}
    row |= {"best_val_acc": best.get("val_acc"), "best_epoch": best.get("epoch")}
    row |= {name: result.get(name) for name in MEASURES if name in result}
    row["train_seconds"] = sum(row["train_seconds"] for row in metrics)
    row["epochs_done"] = len(metrics)
    if result.get("target_acc") is not None and result.get("epochs_to_target") is None:
        row["epochs_to_target"] = f">{len(metrics)}"
    row["parameters"] = run.get("parameters")
    row["state"] = (status or {}).get("state", "unknown")
    row["error"] = last_line((status or {}).get("error"))
    return row


def last_line(error: Any) -> str | None:
    """What a traceback ends with; None where there is no error."""
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else None

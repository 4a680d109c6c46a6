"""From run directories to one table: a row for every run, whatever its state."""

import hashlib
import json
import math
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.record import Record, flat_settings, number, read_json, write_text
from sweeper.training_code import code_fingerprint

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
    "stale",
    "error",
)


READINGS = ("convergence_fraction", "target_acc")  # how the curve was read, which may differ between runs
FILES = ("run.json", "status.json", "result.json", "metrics.jsonl")  # what a row is made of
ENDED = ("finished", "failed", "diverged", "interrupted")  # states that do not change by themselves
INDEX = ".index.json"
INDEX_VERSION = 1  # one more when a row is made of other things


def gather(runs: Path, only: Collection[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read every run below a folder, or of these only those with the given ids.

    Returns:
        A row for each run: run_id, its effective settings under their dotted names, the MEASURES. A run that is not
        finished has what its metrics say so far; one that other code trained than there is now is stale. And the
        names of the folders that are no readable runs.
    """
    index = Index(runs.parent / INDEX)
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for name in sorted(entry.name for entry in scan(runs) if only is None or entry.name in only):
        row = index.row(Record(runs / name))
        if row is None:
            unreadable.append(name)
        else:
            rows.append(row)
    index.save(None if only is not None else {row["run_id"] for row in rows})
    now = digest(code_fingerprint())
    for row in rows:
        row["stale"] = row.pop("code") not in (None, now)
    settings_found = dict.fromkeys(name for row in rows for name in row if name not in MEASURES)
    return pd.DataFrame(rows, columns=[*settings_found, *MEASURES]), unreadable


def scan(runs: Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return []


@dataclass
class Index:
    """The rows of runs that have ended, kept in a file beside them and read again while a run's files are the same."""

    file: Path
    kept: dict[str, Any] = field(init=False)
    changed: bool = False

    def __post_init__(self) -> None:
        saved = read_json(self.file) or {}
        kept = saved.get("rows") if saved.get("version") == INDEX_VERSION else None
        self.kept = kept if isinstance(kept, dict) else {}

    def row(self, record: Record) -> dict[str, Any] | None:
        signature = [one for name in FILES for one in stamp(record.folder / name)]
        known = self.kept.get(record.run_id)
        if known is not None and known["signature"] == signature:
            return dict(known["row"])
        try:
            row = read_run(record)
        except (TypeError, ValueError, KeyError, AttributeError):  # values of kinds that we never write
            row = None
        if row is not None and row["state"] in ENDED:
            self.kept[record.run_id] = {"signature": signature, "row": dict(row)}
            self.changed = True
        return row

    def save(self, existing: set[str] | None) -> None:
        """Write what is new, less runs that are gone; `existing` is None where not all were looked at."""
        if self.changed:
            if existing is not None:
                self.kept = {name: row for name, row in self.kept.items() if name in existing}
            try:
                content = {"schema": 1, "version": INDEX_VERSION, "rows": self.kept}
                write_text(self.file, json.dumps(content))
            except (OSError, ValueError, TypeError):  # whoever may only read has no index
                pass


def stamp(path: Path) -> tuple[int, int]:
    """What changes with a file: when it was written last, in nanoseconds, and its size."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_run(record: Record) -> dict[str, Any] | None:
    """One run as a row; None where the directory does not say which run it is."""
    run, status = record.run(), record.status()
    if run is None or not isinstance(run.get("effective"), dict):
        return None
    metrics = [row for row in record.metrics() if {"epoch", "val_acc", "train_seconds"} <= row.keys()]
    result = record.result() or {}
    best: dict[str, Any] = max(metrics, key=lambda row: row["val_acc"], default={})
    row: dict[str, Any] = {"run_id": record.run_id} | flat_settings(run["effective"]) | {"run_id": record.run_id}
    row |= {name: result.get(name, run.get("config", {}).get(name)) for name in READINGS}
    row |= {"best_val_acc": best.get("val_acc"), "best_epoch": best.get("epoch")}
    row |= {name: result[name] if is_measure(result[name]) else None for name in MEASURES if name in result}
    row["train_seconds"] = sum(row["train_seconds"] for row in metrics)
    row["epochs_done"] = len(metrics)
    if result.get("target_acc") is not None and result.get("epochs_to_target") is None:
        row["epochs_to_target"] = f">{len(metrics)}"
    row["parameters"] = run.get("parameters") if is_measure(run.get("parameters")) else None
    row["state"] = (status or {}).get("state", "unknown")
    row["error"] = last_line((status or {}).get("error"))
    row["code"] = digest(run["code"]) if isinstance(run.get("code"), dict) else None
    return row


def is_measure(value: Any) -> bool:
    """Whether it is what we write: a number, or none."""
    return value is None or number(value) is not None or (isinstance(value, float) and math.isnan(value))


def digest(code: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:16]


def last_line(error: Any) -> str | None:
    """What a traceback ends with; None where there is no error."""
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else None

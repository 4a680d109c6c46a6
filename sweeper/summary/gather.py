"""From run directories to one table: a row for every run, whatever its state."""

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.files import read_json, write_text
from sweeper.runs.directory import RunDirectory, flat_settings
from sweeper.runs.fingerprint import code_of

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
    "code",
    "error",
)
READINGS = ("convergence_fraction", "target_acc")  # how the curve was read, which may differ between runs
FILES = ("run.json", "status.json", "result.json", "metrics.jsonl")  # what a row is made of
ENDED = ("finished", "failed", "diverged", "interrupted", "cancelled")  # states that do not change by themselves
LARGEST = 1e100  # no result of a run; sums and squares of numbers below it are finite
INDEX = ".index.json"
INDEX_VERSION = 2  # one more when a row is made of other things
RESERVED = {"run_id", "runs", *MEASURES, *(f"{name}_std" for name in MEASURES)}  # columns that are no settings


def gather(runs: Path, only: Collection[str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read every run below a folder, or of these only those with the given ids.

    Returns:
        A row for each run: run_id, its effective settings under their dotted names, the MEASURES. A run that is not
        finished has what its metrics say so far. `code` is a digest of the code that trained it; where that is not
        today's, the run is stale. And the names of the folders that are no readable runs.
    """
    index = Index(runs.parent / INDEX)
    rows: list[dict[str, Any]] = []
    unreadable: list[str] = []
    for name in sorted(entry.name for entry in scan(runs) if only is None or entry.name in only):
        row = index.row(RunDirectory(runs / name))
        if row is None:
            unreadable.append(name)
        else:
            rows.append(row)
    index.save(None if only is not None else {row["run_id"] for row in rows})
    for row in rows:
        run = RunDirectory(runs / row["run_id"]).run() or {}
        row["stale"] = row["code"] not in (None, digest(code_of(run.get("effective", {}))))
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

    def row(self, record: RunDirectory) -> dict[str, Any] | None:
        signature = [one for name in FILES for one in stamp(f"{record.folder}/{name}")]
        known = self.kept.get(record.run_id)
        if isinstance(known, dict) and known.get("signature") == signature and is_row(known.get("row")):
            return dict(known["row"])
        try:
            row = read_run(record)
        except RecursionError:  # nested deeper than anything that we write
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


def is_row(row: Any) -> bool:
    """Whether a row of the index is one of ours, so that nothing else in that file is shown."""
    return isinstance(row, dict) and {"run_id", *MEASURES} - {"stale"} <= row.keys()


def stamp(path: str) -> tuple[int, int]:
    """What changes with a file: when it was written last, in nanoseconds, and its size."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_run(record: RunDirectory) -> dict[str, Any] | None:
    """One run as a row, whatever its files hold; None where the directory does not say which run it is."""
    run, status, result = record.run(), record.status() or {}, record.result() or {}
    if run is None or not isinstance(run.get("effective"), dict):
        return None
    rows = [row for row in record.metrics() if measure(row.get("epoch")) is not None]
    measured = [row for row in rows if measure(row.get("val_acc")) is not None]
    best: dict[str, Any] = max(measured, key=lambda row: row["val_acc"], default={})
    config, code, state = run.get("config"), run.get("code"), status.get("state")
    found: dict[str, Any] = dict.fromkeys(MEASURES)
    found |= {"best_val_acc": best.get("val_acc"), "best_epoch": best.get("epoch")}
    found |= {name: measure(result[name]) for name in MEASURES if name in result}
    found["epochs_done"] = len(rows)
    found["train_seconds"] = sum(measure(row.get("train_seconds")) or 0 for row in rows)
    if measure(result.get("target_acc")) is not None and result.get("epochs_to_target") is None:
        found["epochs_to_target"] = f">{len(rows)}"
    found["parameters"] = measure(run.get("parameters"))
    found["state"] = state if isinstance(state, str) else "unknown"
    found["code"] = digest(code) if isinstance(code, dict) else None
    found["error"] = last_line(status.get("error"))
    if found["error"] is None and len(measured) < len(rows):
        found["error"] = f"{len(rows) - len(measured)} of {len(rows)} epochs have no val_acc in metrics.jsonl"
    settings = {free(name): plain(value) for name, value in flat_settings(run["effective"]).items()}
    asked = config if isinstance(config, dict) else {}
    readings = {name: measure(result.get(name, asked.get(name))) for name in READINGS}
    return {"run_id": record.run_id} | settings | readings | found


def plain(value: Any) -> Any:
    """A setting that can be counted."""
    return str(value) if isinstance(value, list | dict) else value


def free(name: str) -> str:
    """A setting's name, which no other column has."""
    return f"{name} (setting)" if name in RESERVED else name


def measure(value: Any) -> Any:
    """What was measured; None for what is no number that a run could have."""
    return value if isinstance(value, int | float) and -LARGEST < value < LARGEST else None


def digest(code: Any) -> str:
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()[:16]


def last_line(error: Any) -> str | None:
    """What a traceback ends with; None where there is no error."""
    lines = str(error or "").strip().splitlines()
    return lines[-1] if lines else None

"""The index: rows of ended runs, stored in a file next to runs/ and reused while the files of a run are unchanged."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.files import SCHEMA, read_json, write_text
from sweeper.runs.directory import RunDirectory
from sweeper.runs.states import STATES
from sweeper.summary import run_row
from sweeper.summary.columns import AVERAGED, RESULTS
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.run_row import RunRow

INDEX = ".index.json"
VERSION = 14  # incremented whenever the content of rows changes
FILES = ("run.json", "status.json", "result.json", "metrics.jsonl")  # the files that a row is built from
COLUMNS = {"run_id", *RESULTS} - {"code", "stale", "costs"}  # of a row; what other files decide is added later
TARGET = "epochs_to_target"  # a number or a text such as >30
NUMBERS = {*AVERAGED, "test_images", "val_images", "num_classes", "images_per_second"} - {TARGET}
TEXTS = COLUMNS - NUMBERS - {TARGET}
ENDED = {state.value for state, properties in STATES.items() if properties.has_ended}


@dataclass
class Index:
    """Rows of ended runs, all read with the same options.

    Many runs share their code and their effective config, so that each of these is stored once, under its digest.
    """

    file: Path
    options: ConvergenceOptions
    rows: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    changed: bool = False

    def __post_init__(self) -> None:
        saved = read_json(self.file) or {}
        rows, shared = saved.get("rows"), saved.get("shared")
        if saved.get("index") == self.identity and isinstance(rows, dict) and isinstance(shared, dict):
            self.rows = rows
            self.shared = {name: content for name, content in shared.items() if isinstance(content, dict)}

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for saved rows to be valid."""
        options = self.options
        return {"version": VERSION, "convergence_fraction": options.fraction, "target_acc": options.target_acc}

    def read(self, folder: str) -> RunRow | None:
        """Return a run's row, from its files unless they are unchanged; None where there is no readable run."""
        run_id = folder.rpartition("/")[2]
        signature = [number for name in FILES for number in file_signature(f"{folder}/{name}")]
        known = self.known(run_id, signature)
        if known is not None:
            return known
        try:
            run = run_row.read_run(RunDirectory(Path(folder)), self.options)
            if run is not None and run.row["state"] in ENDED:
                run = self.keep(run_id, signature, run)
        except RecursionError:  # nested deeper than any file that this program writes
            return None
        return run

    def known(self, run_id: str, signature: list[int]) -> RunRow | None:
        saved = self.rows.get(run_id)
        if not isinstance(saved, dict) or saved.get("signature") != signature or not is_row(saved.get("row")):
            return None
        labels, keys = saved.get("labels"), (str(saved.get("effective")), str(saved.get("code")))
        extend = saved.get("extend", [])
        if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
            return None
        if not isinstance(extend, list) or not self.shared.keys() >= {*keys}:
            return None
        return RunRow(dict(saved["row"]), labels, self.shared[keys[0]], self.shared[keys[1]], keys, extend)

    def keep(self, run_id: str, signature: list[int], run: RunRow) -> RunRow:
        """Keep a run's row; return the run with the config and the code that it shares with others."""
        effective, code = run.keys
        saved = {"signature": signature, "row": dict(run.row), "labels": run.labels}
        saved |= {"extend": run.extend} if run.extend else {}
        self.rows[run_id] = saved | {"effective": effective, "code": code}
        self.changed = True
        shared = {
            name: self.shared.setdefault(name, value) for name, value in ((effective, run.effective), (code, run.code))
        }
        return replace(run, effective=shared[effective], code=shared[code])

    def save(self, existing: set[str] | None) -> None:
        """Write what is new, without runs that are gone; `existing` is None where not all folders were read."""
        if not self.changed:
            return
        if existing is not None:
            self.rows = {name: saved for name, saved in self.rows.items() if name in existing}
            used = {str(saved.get(name)) for saved in self.rows.values() for name in ("effective", "code")}
            self.shared = {name: content for name, content in self.shared.items() if name in used}
        try:
            content = {"schema": SCHEMA, "index": self.identity, "rows": self.rows, "shared": self.shared}
            write_text(self.file, json.dumps(content))
        except (OSError, ValueError, TypeError, RecursionError):  # a read-only folder, or a record nested too deep
            pass


def is_row(row: Any) -> bool:
    """Return whether a saved row has the columns of one that this version writes, with values of their types."""
    return (
        isinstance(row, dict)
        and row.keys() >= COLUMNS
        and all(isinstance(row[name], int | float | None) for name in NUMBERS)
        and all(isinstance(row[name], str | None) for name in TEXTS)
        and not any(isinstance(value, list | dict) for value in row.values())
    )


def file_signature(path: str) -> tuple[int, int]:
    """Return the modification time of a file, in nanoseconds, and its size."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size

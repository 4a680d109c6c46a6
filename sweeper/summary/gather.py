"""From run directories to one frame: a row for every run, whatever its state."""

import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.garbage import no_collection
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import REGISTRIES, changes_since
from sweeper.summary.columns import FINGERPRINT, RESULTS, ROOT
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.index import INDEX, Index
from sweeper.summary.kept_costs import cell_of, read_costs
from sweeper.summary.run_row import RunRow, digest

MAX_NAMED = 10  # runs of version 0.1 that a caption names


@dataclass(frozen=True)
class Skipped:
    """Folders in runs/ that have no row.

    Attributes:
        old: runs of version 0.1.
        copies: folders that have another name than their run's ID, such as backups.
        unreadable: folders that hold no readable run.
    """

    old: Sequence[str] = ()
    copies: Sequence[str] = ()
    unreadable: Sequence[str] = ()

    @property
    def old_runs(self) -> str:
        """Describe the runs of version 0.1; empty where there are none."""
        if not self.old:
            return ""
        names = ", ".join(self.old[:MAX_NAMED])
        rest = f" and {len(self.old) - MAX_NAMED} more" if len(self.old) > MAX_NAMED else ""
        runs = (
            "1 run of version 0.1 (schema 1) is"
            if len(self.old) == 1
            else f"{len(self.old)} runs of version 0.1 (schema 1) are"
        )
        return f"{runs} not shown: {names}{rest}"

    @property
    def captions(self) -> list[str]:
        lines = [self.old_runs] if self.old else []
        lines += [f"Left out (copies, not named by their run's ID): {', '.join(self.copies)}"] if self.copies else []
        return lines + ([f"Left out (not readable as runs): {', '.join(self.unreadable)}"] if self.unreadable else [])


@no_collection()
def gather(
    runs: Path, only: Collection[str] | None = None, options: ConvergenceOptions | None = None
) -> tuple[pd.DataFrame, Skipped]:
    """Read every run below a folder.

    Args:
        runs: the folder runs/.
        only: ids of the runs that are wanted; None for all.
        options: how learning curves are read; None for the defaults.

    Returns:
        A row for each run: run_id, its effective settings under their dotted names, a group's choice by its label,
        and the RESULTS. A run that is not finished has the results that its metrics give so far. And the folders that
        have no row.
    """
    index = Index(runs.parent / INDEX, options or ConvergenceOptions())
    found: list[RunRow] = []
    old: list[str] = []
    copies: list[str] = []
    unreadable: list[str] = []
    for name in sorted(entry.name for entry in scan(runs) if only is None or entry.name in only):
        run = index.read(f"{runs}/{name}")
        if run is not None:
            found.append(run)
            continue
        record = RunDirectory(runs / name)
        if record.is_copy(record.run()):
            copies.append(name)
        else:
            (old if is_old(record.folder) else unreadable).append(name)
    index.save(None if only is not None else {run.row["run_id"] for run in found})
    code_columns, costs = CodeColumns(), read_costs(runs.parent)
    for run in found:
        run.row.update(code_columns.of(run))
        run.row["costs"] = cell_of(costs, run.row["run_id"], digest(run.row["code"])) if costs else None
    apply_labels(found)
    rows = name_folders([run.row for run in found])
    settings = [name for name in column_names(rows) if name not in RESULTS]
    frame = pd.DataFrame(rows, columns=[*settings, *RESULTS])
    for group, (_, idle) in REGISTRIES.items():
        if idle is not None and group in frame:  # left out of the effective config where it does nothing
            frame[group] = frame[group].fillna(idle)
    return keep_integers(frame, rows, settings), Skipped(old, copies, unreadable)


def keep_integers(frame: pd.DataFrame, rows: Sequence[dict[str, Any]], settings: Sequence[str]) -> pd.DataFrame:
    """Return the frame with the integers of settings that some runs lack, which pandas made floating-point numbers."""
    columns = {}
    for name in settings:
        if pd.api.types.is_float_dtype(frame[name]) and frame[name].hasnans:
            cells = [row.get(name) for row in rows]
            if any(isinstance(cell, int) for cell in cells):
                columns[name] = pd.Series(cells, frame.index, dtype=object)
    return frame.assign(**columns)


def name_folders(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the column data.root, behind `data`, where datasets of one name differ in their images.

    A dataset that several runs found in different folders has the most common one, then the alphabetically first.
    """
    folders: dict[Any, dict[Any, Counter[str]]] = {}
    for row in rows:
        if row["folder"] is not None:
            counts = folders.setdefault(row.get("data"), {}).setdefault(row.get(FINGERPRINT), Counter())
            counts[row["folder"]] += 1
    chosen = {
        (data, fingerprint): min(counts, key=lambda folder: (-counts[folder], folder))
        for data, datasets in folders.items()
        if len(datasets) > 1
        for fingerprint, counts in datasets.items()
    }
    found = [chosen.get((row.get("data"), row.get(FINGERPRINT))) for row in rows]
    if not chosen:
        return list(rows)
    return [
        dict(chain.from_iterable([item, (ROOT, folder)] if item[0] == "data" else [item] for item in row.items()))
        for row, folder in zip(rows, found, strict=True)
    ]


def column_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return every name of a row, in the order in which they first occur."""
    return list(dict.fromkeys(chain.from_iterable(dict.fromkeys(map(tuple, rows)))))  # most rows have the same names


def scan(runs: Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(runs) if entry.is_dir()]
    except FileNotFoundError:
        return []


def is_old(folder: Path) -> bool:
    """Return whether version 0.1 wrote the run."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(run, dict) and run.get("schema") == 1 and "effective" in run


class CodeColumns:
    """The columns `code` and `stale`, made once for runs of equal config and equal code; never stored in the index."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, ...], dict[str, Any]] = {}

    def of(self, run: RunRow) -> dict[str, Any]:
        """Return {group: digest of its code} as canonical JSON, and whether any of it differs from today's code."""
        keys = (*run.keys, *run.extend)
        if keys not in self.made:
            recorded = {"effective": run.effective, "code": run.code, "config": {"extend": run.extend}}
            self.made[keys] = {"code": group_digests(run.code), "stale": bool(changes_since(recorded))}
        return self.made[keys]


def group_digests(code: Any) -> str | None:
    if not isinstance(code, dict):
        return None
    try:
        return json.dumps({group: digest(definitions) for group, definitions in sorted(code.items())})
    except RecursionError:  # nested deeper than any file that this program writes
        return None


def apply_labels(runs: Sequence[RunRow]) -> None:
    """Show a group's preset in place of its builder, the same one for equal settings, however they were typed.

    Of several presets with equal settings, the most common is shown, then the alphabetically first. A preset whose
    builder was overridden (activation=relu activation.name=gelu) names two builders: these runs show the builder.
    Likewise the name of a file in place of its digest, unless files of other content have the same name.
    """
    columns = column_names([run.row for run in runs])
    for group in sorted({group for run in runs for group in run.labels}):
        members = [run for run in runs if group in run.row]
        names = [name for name in columns if name == group or name.startswith(f"{group}.")]
        keys = [tuple(repr(run.row.get(name)) for name in names) for run in members]
        labels: dict[tuple[str, ...], Counter[Any]] = {}
        for run, key in zip(members, keys, strict=True):
            labels.setdefault(key, Counter())[run.labels.get(group, run.row[group])] += 1
        chosen = {key: min(counts, key=lambda label: (-counts[label], label)) for key, counts in labels.items()}
        builders: dict[str, set[str]] = {}
        for key, label in chosen.items():
            builders.setdefault(label, set()).add(key[names.index(group)])
        for run, key in zip(members, keys, strict=True):
            if len(builders[chosen[key]]) == 1:
                run.row[group] = chosen[key]

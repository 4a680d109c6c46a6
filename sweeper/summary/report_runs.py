"""The report's sections on single runs: the best run's confusion matrix, failures, provenance."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import pandas as pd

from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import changed_definitions, code_of
from sweeper.runs.scores import score_in
from sweeper.runs.states import State
from sweeper.summary.best import best_run
from sweeper.summary.report_question import format_dataset, nested
from sweeper.summary.run_row import last_line

MAX_CLASSES = 100  # of a confusion matrix that is shown
NO_FAILURE = {State.FINISHED, State.RUNNING, State.INTERRUPTED, State.QUEUED, State.WAITING}


def confusion(frame: pd.DataFrame, records: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """Return the confusion matrix of the best run, see sweeper.summary.best; without rows where it is large."""
    run_id = best_run(frame)
    best = next((record for record in records if record.run_id == run_id), None)
    rows = None if best is None else (best.result() or {}).get("confusion")
    if best is None or not is_matrix(rows):
        return None
    classes = nested(best.run(), "dataset", "classes")
    if not isinstance(classes, list) or len(classes) != len(rows):
        classes = list(range(len(rows)))
    is_pixelwise = score_in(best.result() or {}) == "miou"
    return {
        "run_id": best.run_id,
        "counted": "Labeled pixels of the test images" if is_pixelwise else "Test images",
        "by": "validation mIoU" if is_pixelwise else "validation accuracy",
        "classes": list(map(str, classes)),
        "rows": rows if len(rows) <= MAX_CLASSES else [],
    }


def is_matrix(rows: Any) -> TypeGuard[list[list[int]]]:
    """Return whether these are as many rows of counts as each has columns."""
    return (
        isinstance(rows, list)
        and len(rows) > 0
        and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
        and all(isinstance(count, int) and 0 <= count < 1e15 for row in rows for count in row)
    )


def failures(frame: pd.DataFrame, statuses: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what failed and why, grouping runs with the same state and error."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run_id, state, status in zip(frame["run_id"], frame["state"], statuses, strict=True):
        error = str(status.get("error") or "")
        if error or state not in NO_FAILURE:
            groups.setdefault((str(state), error), []).append(str(run_id))
    return [
        {
            "state": state,
            "reason": last_line(error) or missing_reason(state),
            "error": error,
            "runs": run_ids,
        }
        for (state, error), run_ids in groups.items()
    ]


def missing_reason(state: str) -> str:
    """Return the reason of a failure without a recorded one."""
    return "process disappeared without reporting a status" if state == State.LOST else "no reason recorded"


def provenance(frame: pd.DataFrame, runs: Iterable[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Return the provenance of the runs: the name of each fact, its values, and how many runs have each."""
    found: dict[str, Counter[str]] = {}
    for run, stale in zip(runs, frame["stale"], strict=True):
        for name, value in facts(run).items():
            found.setdefault(name, Counter())[value] += 1
        found.setdefault("training code", Counter())[code_fact(run) if stale else "current"] += 1
    return [
        (name, value, count)
        for name, counts in found.items()
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def code_fact(run: Mapping[str, Any]) -> str:
    """Return which definitions of a stale run have changed."""
    if not isinstance(run.get("code"), dict):
        return "not recorded"
    return f"stale; changed: {', '.join(changed_definitions(run['code'], code_of(run['effective'])))}"


def facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's facts by name; `not recorded` where one is missing."""
    versions, device, shape = nested(run, "versions"), nested(run, "device"), nested(run, "dataset", "input_shape")
    found = {
        "git commit": nested(run, "git", "commit"),
        **({f"version of {name}": version for name, version in versions.items()} if isinstance(versions, dict) else {}),
        "host": nested(run, "host"),
        "device": device if nested(run, "device_type") is None else f"{device} ({nested(run, 'device_type')})",
        "threads": nested(run, "threads"),
        "dataset": format_dataset(dict(run)),
        "dataset fingerprint": nested(run, "dataset", "fingerprint") or nested(run, "effective", "data", "fingerprint"),
        "input shape": " x ".join(map(str, shape)) if isinstance(shape, list) else shape,
    }
    if found["git commit"] is not None and nested(run, "git", "dirty"):
        found["git commit"] = f"{found['git commit']}, with uncommitted changes"
    return {name: "not recorded" if value is None else str(value) for name, value in found.items()}

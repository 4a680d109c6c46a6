"""The report's first section: the question that the runs answer."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.runs.states import Action
from sweeper.summary.columns import RESULTS, format_value, is_missing
from sweeper.summary.table import lay_out
from sweeper.sweep.baseline import sort_key
from sweeper.sweep.saved import own_jobs

MAX_VALUES = 40  # of an axis
LAST_YEAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def shown_axes(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return, for each setting in which runs differ, the seed included, its values as text, in order."""
    table, _ = lay_out(frame, is_typed=True)
    axes = {}
    for name in table.columns:
        if name not in (*RESULTS, "run_id"):
            values = distinct(str(name), table[name])
            rest = [f"and {len(values) - MAX_VALUES} more"] if len(values) > MAX_VALUES else []
            axes[str(name)] = values[:MAX_VALUES] + rest
    return axes


def distinct(name: str, values: "pd.Series[Any]") -> list[str]:
    """Return the different values as text: numbers, then texts, then missing."""
    found = {format_value(name, value): value for value in values.tolist()}
    return sorted(found, key=lambda text: (is_missing(found[text]), *sort_key(found[text]), text))


def question(frame: pd.DataFrame, runs: Sequence[dict[str, Any]], plan: dict[str, Any] | None) -> dict[str, str]:
    """Return what describes the runs besides their axes: images, epochs, numbers, training time."""
    asked = {"dataset": "; ".join(sorted({format_dataset(run) for run in runs}))}
    if "epochs" in frame:
        asked["epochs"] = ", ".join(distinct("epochs", frame["epochs"]))
    if plan is not None:
        actions = Counter(job["action"] for job in plan["jobs"])
        missing = len(own_jobs(plan)) - len(frame)
        parts = [f"{actions[Action.EXCLUDED]} excluded"] * bool(actions[Action.EXCLUDED])
        parts += [f"{actions[Action.DUPLICATE]} duplicate"] * bool(actions[Action.DUPLICATE])
        parts += [f"{missing} without a readable run yet"] * (missing > 0)
        asked["combinations"] = ", ".join([str(len(plan["jobs"])), *parts])
    counts = Counter(map(str, frame["state"]))
    asked["runs"] = f"{len(frame)}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    seconds = sum(filter(None, map(number, frame["train_seconds"].tolist())))
    asked["training"] = f"{format_duration(seconds)} in total"
    started = format_time(min(filter(None, (number(run.get("created")) for run in runs)), default=None))
    return asked | ({"first run started": started} if started else {})


def format_dataset(run: dict[str, Any]) -> str:
    """Return the dataset's name, and its sizes where they were recorded."""
    name = nested(run, "effective", "data", "name") or nested(run, "config", "data", "name")
    return ", ".join(text for text in (str(name or "not recorded"), format_images(run)) if text)


def format_images(run: dict[str, Any]) -> str:
    """Return such as `45000 training + 5000 validation + 10000 test images of 10 classes`; empty where unknown."""
    parts = (("train", "training"), ("val", "validation"), ("test", "test"))
    counts = [f"{count} {name}" for part, name in parts if (count := nested(run, "dataset", part)) is not None]
    classes = nested(run, "dataset", "classes")
    of_classes = f" of {len(classes)} classes" if isinstance(classes, list) else ""
    return f"{' + '.join(counts)} images{of_classes}" if counts else ""


def nested(content: Any, *keys: str) -> Any:
    """Return the value below nested keys; None where a file has none or something else there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def format_duration(seconds: float) -> str:
    """Return such as `4,000.0 s (1:06:40)`."""
    return f"{seconds:,.1f} s" + (f" ({timedelta(seconds=int(seconds))})" if 60 <= seconds < LAST_YEAR else "")


def format_time(seconds: float | None) -> str | None:
    """Return seconds since 1970 as a UTC time; None where they are not a time."""
    if seconds is None or not 0 <= seconds < LAST_YEAR:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

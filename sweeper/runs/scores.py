"""The metric that ranks the runs of a task, as records name it. No torch here; sweeper.training.task has the tasks."""

from collections.abc import Mapping
from typing import Any

CLASSIFICATION = "classification"  # of an effective config that names no task
SCORES = {CLASSIFICATION: "acc", "segmentation": "miou"}


def task_of(effective: Any) -> str:
    """Return the task of an effective config; classification where it is damaged."""
    task = effective.get("task") if isinstance(effective, dict) else None
    name = task.get("name") if isinstance(task, dict) else None
    return name if name in SCORES else CLASSIFICATION


def score_of(effective: Any) -> str:
    """Return the metric that ranks the runs of an effective config: `val_` and `test_` with it are in their records."""
    return SCORES[task_of(effective)]


def score_in(result: Mapping[str, Any]) -> str:
    """Return the metric that ranks the run of a result.json."""
    return next((score for score in SCORES.values() if f"best_val_{score}" in result), SCORES[CLASSIFICATION])


def best_val_of(result: Mapping[str, Any]) -> float:
    """Return the validation metric of the best epoch that ranks the run of a result.json."""
    return float(result[f"best_val_{score_in(result)}"])

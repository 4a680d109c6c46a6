"""Watched sweeps for tests: records of runs, plans that are saved, and what is drawn of them."""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, Group

from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.states import State
from sweeper.sweep import watch as module
from sweeper.sweep.saved import read_plan
from sweeper.sweep.statuses import RunStatus, collect
from sweeper.sweep.watch import watch
from sweeper.sweep.watch_table import draw, draw_fitting


def row(val_acc: float, seconds: float = 2.0, speed: float = 100.0) -> dict[str, Any]:
    """An epoch, a quarter of whose seconds went into validation."""
    return {
        "epoch": 1,
        "val_acc": val_acc,
        "train_seconds": 0.75 * seconds,
        "eval_seconds": 0.25 * seconds,
        "images_per_second": speed,
    }


def make(output_dir: Path, run_id: str, state: str, rows: Sequence[dict[str, Any]] = ()) -> RunDirectory:
    """A run's directory as a run leaves it, readable as a whole."""
    record = RunDirectory(output_dir / "runs" / run_id)
    record.create({"effective": {"model": {"name": run_id}, "seed": 0}, "config": {}}, {})
    record.write_metrics(list(rows))
    record.write_status(state="running" if state == "lost" else state)
    if state == "lost":
        change_status(record, heartbeat=1e9)
    return record


def change_status(record: RunDirectory, **changes: Any) -> None:
    write_json(record.folder / "status.json", (record.status() or {}) | changes)


def job(run_id: str, *overrides: str, **more: Any) -> dict[str, Any]:
    """A job of sweep.json, by default of a new run."""
    decision: dict[str, Any] = {"action": "train", "reason": "new", "epoch": None, "changed": []}
    fields = {"epochs": 10, "seconds": None, "heartbeat": None}
    return {"overrides": list(overrides), "run_id": run_id, **decision, **fields, **more}


def save(output_dir: Path, jobs: Sequence[dict[str, Any]], name: str = "a-sweep", **more: Any) -> Path:
    """The sweep's folder."""
    folder = output_dir / "sweeps" / name
    folder.mkdir(parents=True)
    content = {"name": name, "created": 1.0, "command": "python train.py -m seed=1,2", "concurrency": 1, "jobs": jobs}
    write_json(folder / "sweep.json", content | more)
    return folder


def collected(output_dir: Path, jobs: Sequence[dict[str, Any]], **more: Any) -> list[RunStatus]:
    """The statuses of the runs of a sweep of these jobs."""
    folder = save(output_dir, jobs, **more)
    return collect(folder, read_plan(folder))


PLAN = {"created": 1.0, "command": "c", "concurrency": 1, "jobs": []}


def shown(
    statuses: Sequence[RunStatus], *, name: str = "a-sweep", rows: int | None = None, width: int = 200, **plan: Any
) -> str:
    file = io.StringIO()
    parts = draw(name, PLAN | plan, statuses, len(statuses) if rows is None else rows, width)
    Console(width=width, file=file).print(Group(*parts))
    return file.getvalue()


def fitted(statuses: Sequence[RunStatus], height: int, width: int = 200, **plan: Any) -> list[str]:
    """The lines drawn in a terminal of that size."""
    file = io.StringIO()
    console = Console(width=width, height=height, file=file)
    console.print(draw_fitting("a-sweep", PLAN | plan, statuses, console))
    return file.getvalue().splitlines()


def status_of(state: str, run_id: str = "", **more: Any) -> RunStatus:
    fields = {"epoch": 0, "epochs": 10, "best_val": None, "images_per_second": None, "seconds": None}
    return RunStatus("", run_id, State(state), **{**fields, **more})


def cells(text: str) -> list[list[str]]:
    """The table's rows."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def watched_live(output_dir: Path, monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> str:
    """The drawing of a watch in a terminal of 12 lines; `sleep` is called between two readings."""
    file = io.StringIO()
    terminal = Console(force_terminal=True, width=100, height=12, file=file, color_system=None)
    monkeypatch.setattr(module, "stdout_console", lambda *_: terminal)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(time, "sleep", sleep)
    watch(output_dir, None, once=False)
    return file.getvalue()

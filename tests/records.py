"""Run directories as training leaves them, made without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import code_of
from sweeper.summary import run_row
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.export import write_files
from sweeper.summary.run_row import RunRow
from sweeper.summary.table import lay_out, read_runs
from sweeper.summary.terminal import print_table

EFFECTIVE: dict[str, Any] = {
    "data": {"name": "digits", "val_size": 200, "mean": [0.5, 0.5], "fingerprint": "f00d"},
    "model": {"name": "mlp", "hidden": [1024]},
    "optimizer": {"name": "adam", "lr": 0.001},
    "epochs": 3,
    "seed": 0,
}
RUN: dict[str, Any] = {"versions": {"torch": "2.14.1"}, "device_type": "cpu", "parameters": 12345}

# of the fixture `runs`: finished runs of an activation and a seed
TEST_ACCS = {("relu", 0): 0.5, ("relu", 1): 0.6, ("relu", 2): 0.55, ("selu", 0): 0.7, ("selu", 1): 0.8}


def curve(accs: Sequence[float], seconds: float = 2.0) -> list[dict[str, Any]]:
    """Return an epoch for each accuracy; the loss is what the accuracy lacks to 2."""
    return [
        {"epoch": 1 + index, "val_acc": acc, "val_loss": 2 - acc, "train_loss": 2 - acc, "train_seconds": seconds}
        for index, acc in enumerate(accs)
    ]


def make(
    output_dir: Path,
    run_id: str,
    accs: Sequence[float] = (),
    state: str = "finished",
    *,
    run: dict[str, Any] | None = None,
    **changes: Any,
) -> RunDirectory:
    """Make a run's directory without a result.

    Args:
        output_dir: the folder that has runs/.
        run_id: the directory's name.
        accs: validation accuracy of each epoch; an epoch takes two seconds.
        state: of status.json.
        run: changes to run.json.
        changes: to the effective config.
    """
    record = RunDirectory(output_dir / "runs" / run_id)
    effective = EFFECTIVE | changes
    record.create(RUN | {"effective": effective, "code": code_of(effective)} | (run or {}), {})
    record.write_metrics(curve(accs))
    record.write_status(state=state)
    return record


def finish(output_dir: Path, run_id: str, accs: Sequence[float], test_acc: float = 0.5, **changes: Any) -> RunDirectory:
    """Make a finished run with a result, whose best epoch is the one of the best accuracy."""
    record = make(output_dir, run_id, accs, **changes)
    best = max(accs)
    result = {"best_val_acc": best, "best_epoch": 1 + accs.index(best), "test_acc": test_acc, "epochs": len(accs)}
    record.write_result(result)
    return record


def summarize(output_dir: Path) -> str:
    """Do what `python -m sweeper summary --group-by none` does; return the Markdown file's text."""
    frame, skipped = read_runs(output_dir)
    table, caption = lay_out(frame, skipped)
    print_table(table, caption)
    write_files(frame, table, caption, output_dir)
    return (output_dir / "summary.md").read_text(encoding="utf-8")


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the id of every run is added to whose files are read from now on."""
    read: list[str] = []
    real = run_row.read_run

    def counting(record: RunDirectory, options: ConvergenceOptions) -> RunRow | None:
        read.append(record.run_id)
        return real(record, options)

    monkeypatch.setattr(run_row, "read_run", counting)
    return read

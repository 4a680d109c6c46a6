"""Cost of a summary: 10,000 finished runs of 30 epochs, first and again; and reading compared to TensorBoard's.

python benchmarks/summary.py
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import code_of
from sweeper.runs.tensorboard import Events

REPOSITORY = Path(__file__).parent.parent
EPOCHS = 30
COMPARED = 4  # runs that TensorBoard's reader reads too
REPEATS = 5


def make_runs(output_dir: Path, number: int, *, events: bool = False) -> None:
    """Write finished runs as training leaves them, with invented numbers: two models, five activations, seeds."""
    generator = np.random.default_rng(0)
    for index in range(number):
        model, activation = ("mlp", "cnn")[index % 2], ("relu", "selu", "gelu", "silu", "tanh")[index // 2 % 5]
        effective: dict[str, Any] = {
            "data": {"name": "digits", "val_size": 200, "fingerprint": "f00d" * 16, "image_size": 32},
            "model": {"name": model, "hidden": [1024]},
            "optimizer": {"name": "adam", "lr": 0.0005, "betas": [0.9, 0.999], "weight_decay": 0.0},
            "scheduler": {"name": "constant", "warmup_epochs": 0.0},
            "activation": {"name": activation},
            "norm": {"name": "none"},
            "dropout": {"rate": 0.0},
            "augmentation": {},
            "loss": {"name": "cross_entropy", "label_smoothing": 0.0},
            "epochs": EPOCHS,
            "batch_size": 64,
            "seed": index // 10,
            "select": "val_acc",
        }
        record = RunDirectory(output_dir / "runs" / f"{model}-{activation}-{index:010}")
        run: dict[str, Any] = {
            "run_id": record.run_id,
            "effective": effective,
            "config": effective,
            "code": code_of(effective),
        }
        run |= {"created": 1e9, "parameters": 1000, "trainable_parameters": 1000}
        run |= {"labels": {}, "versions": {"torch": "2"}, "device_type": "cpu"}
        record.create(run, {})
        rows: list[dict[str, Any]] = [
            {
                "epoch": epoch,
                "train_loss": 2 / epoch,
                "train_acc": 0.5,
                "val_loss": 2.1 / epoch,
                "lr": 0.0005,
                "val_acc": 0.5 + epoch / 100 + generator.normal(0, 0.01),
                "val_balanced_acc": 0.5,
                "val_macro_f1": 0.5,
                "train_seconds": 1.5,
                "eval_seconds": 0.1,
                "images_per_second": 30_000.0,
            }
            for epoch in range(1, EPOCHS + 1)
        ]
        best = max(rows, key=lambda row: row["val_acc"])
        record.write_metrics(rows)
        record.write_result(
            {"best_val_acc": best["val_acc"], "best_epoch": best["epoch"], "test_acc": best["val_acc"] - 0.01}
            | {"test_loss": 1.0, "test_balanced_acc": 0.5, "test_macro_f1": 0.5, "test_top5_acc": 0.9, "test_ece": 0.1}
            | {"select": "val_acc"}
            | {"epochs": EPOCHS, "train_seconds": 45.0, "eval_seconds": 3.0, "confusion": [[10] * 10] * 10}
        )
        record.write_status(state="finished", attempt=1, epoch=EPOCHS + 1, step=0, error=None)
        if events:
            with Events(record.folder / "tensorboard", 1e9, rows):
                pass


def summarize(output_dir: Path) -> tuple[float, int]:
    """Run the summary command; return its seconds and its peak memory in MB."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "sweeper", "summary", "--output-dir", str(output_dir)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - begin, usage.ru_maxrss // 1024


def against_tensorboard(output_dir: Path) -> dict[str, float]:
    """Return medians of milliseconds per run, measured in this process without start and imports.

    Curves (all of a run's scalars at every epoch) by TensorBoard's reader and by this project's; and the table of all
    runs from their records, without an index and with it.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from sweeper.summary.gather import gather
    from sweeper.summary.index import INDEX

    runs = sorted((output_dir / "runs").iterdir())

    def by_tensorboard() -> None:
        for run in runs:
            accumulator = EventAccumulator(str(run / "tensorboard"))
            accumulator.Reload()
            for tag in accumulator.Tags()["scalars"]:
                assert len([event.value for event in accumulator.Scalars(tag)]) == EPOCHS

    def by_records() -> None:
        for run in runs:
            assert len([list(row.values()) for row in RunDirectory(run).metrics()]) == EPOCHS

    def table() -> None:
        (output_dir / INDEX).unlink(missing_ok=True)
        gather(output_dir / "runs")

    table()
    ways = {
        "curves by EventAccumulator": by_tensorboard,
        "curves by records": by_records,
        "table": table,
        "table, again": lambda: gather(output_dir / "runs"),
    }
    return {name: 1000 * median(timed(way) for _ in range(REPEATS)) / len(runs) for name, way in ways.items()}


def timed(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print each result with its target."""
    table = Table(title=f"Summaries of finished runs of {EPOCHS} epochs", title_justify="left")
    for header in ("what", "measured", "target"):
        table.add_column(header, justify="left" if header == "what" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, limits in ((2_500, ("", "", "")), (10_000, ("10 s", "2 s", "500 MB"))):
            make_runs(folder / str(number), number)
            (first, memory), (again, _) = summarize(folder / str(number)), summarize(folder / str(number))
            table.add_row(f"{number:,} runs, first", f"{first:.1f} s", limits[0])
            table.add_row(f"{number:,} runs, again", f"{again:.1f} s", limits[1])
            table.add_row(f"{number:,} runs, peak memory", f"{memory} MB", limits[2])
        make_runs(folder / "compared", COMPARED, events=True)
        costs = against_tensorboard(folder / "compared")
        for what, milliseconds in costs.items():
            table.add_row(f"{COMPARED} runs, {what}, per run", f"{milliseconds:.2f} ms", "")
        ratio = costs["curves by EventAccumulator"] / costs["curves by records"]
        table.add_row("curves, EventAccumulator / records", f"{ratio:.0f}", "20")
    Console().print(table)


if __name__ == "__main__":
    main()

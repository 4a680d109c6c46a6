"""Duration of the exercises, compared with that of the baseline loop for the same epochs.

python -m benchmarks.exercises [OUT]    OUT: the output folder of `make exercises` (outputs/exercises)

For each configuration the loop of benchmarks/baseline.py is timed for some seconds; its evaluations are not counted,
which favors it. This project's time is the time in which its runs were active, evaluation and saving included.
Interrupted runs are left out on both sides, since the length of their pause is not known.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from benchmarks.training import REPOSITORY, process
from sweeper.runs.directory import RunDirectory
from sweeper.sweep.saved import ids_of

SECONDS = 2.0
SHAPES = ("model", "activation", "norm", "dropout", "augmentation")  # settings that change what a step costs
SWEEPS = ("models", "softmax_lr", "batch_norm", "dropout", "activations", "scratch", "finetuned")


def overrides_of(record: RunDirectory) -> list[str]:
    """Return the overrides that compose the run again, on two threads."""
    overrides = [str(item) for item in OmegaConf.load(record.folder / ".hydra" / "overrides.yaml")]
    overrides = [override for override in overrides if not override.startswith(("hydra", "sweep."))]
    return [*overrides, "hydra.mode=RUN", "threads=2"]


def lifetime(record: RunDirectory) -> tuple[float, float]:
    """Return when the run began and when it ended."""
    return float((record.run() or {})["created"]), float((record.status() or {})["heartbeat"])


def busy(spans: list[tuple[float, float]]) -> float:
    """Return the seconds covered by at least one of the spans."""
    total, until = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def main() -> None:
    """Time the baseline loop for every configuration; print both totals."""
    output_dir = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "outputs" / "exercises")
    begun = [sweep for sweep in SWEEPS if (output_dir / "sweeps" / sweep).is_dir()]
    names = sorted({name for sweep in begun for name in ids_of(output_dir, sweep) or ()})
    groups: dict[str, list[RunDirectory]] = defaultdict(list)
    for record in (RunDirectory(output_dir / "runs" / name) for name in names):
        if record.is_finished() and (record.status() or {})["attempt"] == 1:
            effective: dict[str, Any] = (record.run() or {})["effective"]
            groups[json.dumps({name: effective.get(name) for name in SHAPES})].append(record)
    table = Table("configuration", "runs", "epochs", "baseline, images/s", "hours", title_justify="left")
    hours = 0.0
    for same in groups.values():
        line, _, _ = process("-m", "benchmarks.baseline", "baseline", str(SECONDS), *overrides_of(same[0]))
        epochs = sum(len(record.metrics()) for record in same)
        images = epochs * (same[0].run() or {})["dataset"]["train"]
        cost = images / float(line) / 3600
        hours += cost
        name = same[0].run_id.rsplit("-s", 1)[0]
        table.add_row(name, str(len(same)), str(epochs), f"{float(line):,.0f}", f"{cost:.2f}")
    ours = busy([lifetime(record) for same in groups.values() for record in same]) / 3600
    console = Console()
    console.print(table)
    console.print(
        f"baseline loop: {hours:.2f} h; `make exercises`: {ours:.2f} h; ratio {hours / ours:.1f} (target 3.5)"
    )


if __name__ == "__main__":
    main()

"""How long the practice took, beside what the obvious code would have taken for the same epochs.

python -m benchmarks.practice [OUT]    OUT: where `make practice` put its runs (outputs/practice)

For each configuration the tutorials' loop of benchmarks/obvious.py is timed for some seconds; its evaluations are not
counted, which favours it. This project's time is that in which its runs were going, with all they do, evaluation and
saving too. Runs that were interrupted, whose pause is not known, are left out on both sides.
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
    """What composes the run again, on two threads."""
    found = [str(one) for one in OmegaConf.load(record.folder / ".hydra" / "overrides.yaml")]
    kept = [one for one in found if not one.startswith(("hydra", "sweep."))]
    return [*kept, "hydra.mode=RUN", "threads=2"]


def lived(record: RunDirectory) -> tuple[float, float]:
    """When the run was begun and when it ended."""
    return float((record.run() or {})["created"]), float((record.status() or {})["heartbeat"])


def busy(spans: list[tuple[float, float]]) -> float:
    """Seconds in which at least one was going on."""
    total, until = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def main() -> None:
    """Time the obvious code for every configuration; print both totals."""
    output_dir = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "outputs" / "practice")
    begun = [sweep for sweep in SWEEPS if (output_dir / "sweeps" / sweep).is_dir()]
    names = sorted({name for sweep in begun for name in ids_of(output_dir, sweep) or ()})
    groups: dict[str, list[RunDirectory]] = defaultdict(list)
    for record in (RunDirectory(output_dir / "runs" / name) for name in names):
        if record.is_finished() and (record.status() or {})["attempt"] == 1:
            effective: dict[str, Any] = (record.run() or {})["effective"]
            groups[json.dumps({name: effective.get(name) for name in SHAPES})].append(record)
    table = Table("configuration", "runs", "epochs", "obvious, images/s", "hours", title_justify="left")
    hours = 0.0
    for same in groups.values():
        line, _, _ = process("-m", "benchmarks.obvious", "obvious", str(SECONDS), *overrides_of(same[0]))
        epochs = sum(len(record.metrics()) for record in same)
        images = epochs * (same[0].run() or {})["dataset"]["train"]
        cost = images / float(line) / 3600
        hours += cost
        name = same[0].run_id.rsplit("-s", 1)[0]
        table.add_row(name, str(len(same)), str(epochs), f"{float(line):,.0f}", f"{cost:.2f}")
    ours = busy([lived(record) for same in groups.values() for record in same]) / 3600
    console = Console()
    console.print(table)
    console.print(
        f"the obvious code: {hours:.2f} h; `make practice`: {ours:.2f} h; ratio {hours / ours:.1f} (target 3.5)"
    )


if __name__ == "__main__":
    main()

"""Overhead of sweeps: planning, the overhead of each run, and parallel runs. Ratios within one run of this script.

python benchmarks/sweep.py [--data FOLDER]    FOLDER: an image folder such as CIFAR-10 as files, in addition to digits
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parent.parent
REPEATS = 3

# 1,000 combinations: of 200 choices of groups with five seeds each, and of 1,000 choices of groups
MODELS = "model=mlp,mlp_deep,cnn,cnn_pool,resnet18"
ACTIVATIONS = "activation=relu,selu,gelu,silu,tanh"
NORMS = "norm=none,batch,group,layer"
WITH_SEEDS = [MODELS, ACTIVATIONS, NORMS, "optimizer=sgd,adam", "seed=range(5)"]
ALL_GROUPS = [MODELS, ACTIVATIONS, NORMS, "optimizer=sgd,adam", "scheduler=constant,cosine,onecycle,step,exponential"]
EIGHT = ["model=softmax,mlp,cnn,cnn_pool", "activation=relu,selu"]


def seconds(folder: Path, *overrides: str) -> float:
    """Time `python train.py -m` with these overrides, in a folder."""
    begin = time.perf_counter()
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", f"data.cache={folder.parent / 'cache'}", *overrides]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - begin


def fresh(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def finish_all(folder: Path, sweep: list[str]) -> None:
    """Finish a sweep's runs: train two runs of another sweep, and record the others as if they had been trained."""
    from sweeper.files import write_json
    from sweeper.runs.directory import RunDirectory

    seconds(folder, "data=digits", "model=softmax", "epochs=30", "seed=0,1")
    (template, *_) = (folder / "outputs" / "runs").glob("softmax*s0*")
    run, status, result = (json.loads((template / f"{name}.json").read_text()) for name in ("run", "status", "result"))
    metrics = (template / "metrics.jsonl").read_text()
    command = [sys.executable, "-c", LIST, str(REPOSITORY / "train.py"), "-m", "data=digits", "epochs=30", *sweep]
    listing = subprocess.run(
        [*command, f"data.cache={folder.parent / 'cache'}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listing.stdout.splitlines():
        if line.startswith("{"):
            planned = json.loads(line)
            record = RunDirectory(folder / "outputs" / "runs" / planned["run_id"])
            record.checkpoints.mkdir(parents=True)
            write_json(record.folder / "run.json", run | planned)
            write_json(record.folder / "status.json", status)
            write_json(record.folder / "result.json", result)
            record.predictions.touch()
            (record.folder / "metrics.jsonl").write_text(metrics)


# Print a sweep's runs instead of launching them.
LIST = """
import json, runpy, sys
from dataclasses import asdict
from sweeper.sweep import execute
def show(to_run, base, launch, folder):
    for spec in (planned.spec for planned in to_run):
        config = asdict(spec.config)
        print(json.dumps({"run_id": spec.run_id, "config": config, "effective": spec.effective, "code": spec.code}))
    sys.exit(0)
execute.launch_all = show
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def planning(folder: Path, sweep: list[str]) -> tuple[float, float]:
    """Return the seconds to plan 1,000 finished runs, first and again, beyond those of a sweep of a single run."""
    finish_all(folder, sweep)
    for path in (folder / "outputs" / "sweeps").glob("*/*"):
        path.unlink()
    whole = ["data=digits", "epochs=30", *sweep, "sweep.name=thousand"]
    single = ["data=digits", "epochs=30", "model=mlp", "optimizer=sgd", "sweep.name=single"]
    start = median(seconds(folder, *single) for _ in range(REPEATS))
    first = seconds(folder, *whole) - start
    return first, median(seconds(folder, *whole) for _ in range(REPEATS)) - start


def overhead(folder: Path, runs: int = 40) -> tuple[float, float]:
    """Return the seconds that this sweeper adds to each run, and those of a run with Hydra's own sweeper."""
    sweep = ["data=digits", "model=softmax", "epochs=1", f"seed=range({runs})"]
    own, hydras = [], []
    for repeat in range(REPEATS):
        own.append(seconds(fresh(folder, f"own{repeat}"), *sweep))
        hydras.append(seconds(fresh(folder, f"hydras{repeat}"), "hydra/sweeper=basic", *sweep))
    return (median(own) - median(hydras)) / runs, median(hydras) / runs


def in_parallel(folder: Path, *data: str) -> tuple[float, float]:
    """Compare eight small runs with hydra/launcher=parallel to the same runs with Hydra's basic launcher.

    Returns:
        The ratio of the total times; and the ratio of training and evaluation alone if no core were ever idle, which is
        what the machine allows: how much faster a run is on all cores than on its share of them, with the others busy.
    """
    ratios, allowed = [], []
    for repeat in range(REPEATS):
        alone, parallel = fresh(folder, f"alone{repeat}"), fresh(folder, f"parallel{repeat}")
        in_sequence = seconds(alone, *data, *EIGHT)
        ratios.append(seconds(parallel, *data, *EIGHT, "hydra/launcher=parallel") / in_sequence)
        allowed.append(at_work(parallel) / (os.cpu_count() or 1) / at_work(alone))
    return median(ratios), median(allowed)


def at_work(folder: Path) -> float:
    """Return the seconds that the runs of a folder trained and evaluated."""
    rows = [json.loads(line) for path in folder.glob("outputs/runs/*/metrics.jsonl") for line in path.open()]
    return sum(float(row["train_seconds"] + row["eval_seconds"]) for row in rows)


def main() -> None:
    """Measure and print each result with its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an image folder for the parallel runs")
    data: Path | None = parser.parse_args().data
    table = Table(title=f"Sweeping, {os.cpu_count()} cores, medians of {REPEATS}", title_justify="left")
    for header in ("what", "measured", "target"):
        table.add_column(header, justify="left" if header == "what" else "right")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, sweep in (("200 choices of groups, 5 seeds", WITH_SEEDS), ("1,000 choices of groups", ALL_GROUPS)):
            first, again = planning(fresh(folder, name.partition(" ")[0]), sweep)
            table.add_row(f"plan 1,000 finished runs, {name}: first", f"{first:.1f} s", "60 s")
            table.add_row(f"plan 1,000 finished runs, {name}: again", f"{again:.1f} s", "5 s")
        added, hydras = overhead(fresh(folder, "overhead"))
        table.add_row("added to each run by this sweeper", f"{1000 * added:.0f} ms", "50 ms")
        table.add_row("... of each run with Hydra's own sweeper", f"{100 * added / hydras:.0f}%", "")
        images = {"digits": ["data=digits", "epochs=30"]}
        if data is not None:
            images[data.name] = ["data=image_folder", f"data.root={data.resolve()}", "epochs=2"]
        for name, overrides in images.items():
            ratio, allowed = in_parallel(fresh(folder, f"images of {name}"), *overrides)
            table.add_row(f"eight runs, parallel / sequential, {name}", f"{ratio:.2f}", "0.65")
            table.add_row("... if parallel cost nothing and no core were idle", f"{allowed:.2f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()

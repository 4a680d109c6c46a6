"""Overhead of a cluster, on a temporary Slurm on this machine: submitting 1,000 runs, and packing eight runs in a job.

python benchmarks/slurm.py    as root on Debian, or where Slurm is installed
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parent.parent
CLUSTER = REPOSITORY / "tests" / "slurm" / "cluster.sh"
REPEATS = 3
EPOCHS = (30, 5)  # of the eight runs: how much training there is compared with startup

LAUNCHER = ["hydra/launcher=slurm", "hydra.launcher.gpus_per_run=0"]
SOFTMAX = ["data=digits", "model=softmax"]
PACK = "hydra.launcher.runs_per_job=8"
PACKINGS = {"eight jobs": [], "one job": [PACK], "one job, two at a time": [PACK, "hydra.launcher.concurrent=2"]}
HELD = ["hydra.launcher.additional_parameters={hold: true}", "sweep.wait=false"]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Yield the environment of a process that submits jobs; start the cluster unless it is up, and stop it again."""
    was_up = subprocess.run([CLUSTER, "status"], capture_output=True, check=False).returncode == 0
    subprocess.run([CLUSTER, "up"], check=True)
    try:
        exports = subprocess.run([CLUSTER, "env"], capture_output=True, text=True, check=True).stdout
        found = re.findall(r"^export (\w+)=(.*)$", exports, re.MULTILINE)
        yield {**os.environ, **dict(found)}
    finally:
        if not was_up:
            subprocess.run([CLUSTER, "down"], check=True)


def sweep(env: dict[str, str], folder: Path, *overrides: str) -> dict[str, float]:
    """Run `python train.py -m` in a folder; return when it had its plan and when it had submitted, in seconds."""
    folder.mkdir()
    program = [sys.executable, str(REPOSITORY / "train.py"), "-m", "hydra/hydra_logging=default"]  # has the time
    command = [*program, f"data.cache={folder.parent / 'cache'}", *overrides]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    stamps = re.findall(r"^\[(.*?)\]\[HYDRA\] (sweep|submitted) ", done.stdout, re.MULTILINE)
    return {what: datetime.fromisoformat(stamp.replace(",", ".")).timestamp() for stamp, what in stamps}


def submission(env: dict[str, str], folder: Path) -> float:
    """Return the seconds from the plan of 1,000 runs until all of them are in the queue, on hold."""
    times = sweep(env, folder, *SOFTMAX, *LAUNCHER, *HELD, "seed=range(1000)")
    (file,) = folder.glob("outputs/sweeps/*/jobs.json")
    jobs = [submission["job"] for submission in json.loads(file.read_text())["submissions"]]
    subprocess.run(["scancel", *jobs], env=env, check=True)
    return times["submitted"] - times["sweep"]


def eight(env: dict[str, str], folder: Path, *overrides: str) -> float:
    """Return the seconds from the plan of eight runs until the last of them has its result."""
    times = sweep(env, folder, *SOFTMAX, *LAUNCHER, "hydra.launcher.minutes=10", "seed=range(8)", *overrides)
    results = [path.stat().st_mtime for path in folder.glob("outputs/runs/*/result.json")]
    assert len(results) == 8
    return max(results) - times["sweep"]


def main() -> None:
    """Measure and print each result with its target."""
    table = Table(
        title=f"A cluster of four nodes on {os.cpu_count()} cores, medians of {REPEATS}", title_justify="left"
    )
    for header in ("what", "measured", "target"):
        table.add_column(header, justify="left" if header == "what" else "right")
    with cluster() as env, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sweep(env, folder / "once", *SOFTMAX, "epochs=1")  # the images are prepared
        table.add_row("submit 1,000 runs, beyond planning", f"{submission(env, folder / 'thousand'):.1f} s", "30 s")
        for epochs in EPOCHS:
            times: dict[str, list[float]] = {name: [] for name in PACKINGS}
            for repeat in range(REPEATS):
                for name, packing in PACKINGS.items():
                    where = folder / f"{epochs}-{len(packing)}-{repeat}"
                    times[name].append(eight(env, where, f"epochs={epochs}", *packing))
            (apart, *_) = times.values()
            for name, each in times.items():
                table.add_row(f"eight softmax runs on digits, {epochs} epochs, {name}", f"{median(each):.1f} s", "")
                ratio = median(packed / single for packed, single in zip(each, apart, strict=True))
                if each is not apart:
                    table.add_row("... ratio to eight jobs", f"{ratio:.2f}", "0.40")
    Console().print(table)


if __name__ == "__main__":
    main()

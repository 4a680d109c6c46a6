"""Fixtures: a real Slurm (cluster.sh), queries to it, and sweeps on it as real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from processes import REPOSITORY, environment
from support import freeze, metrics_and_weights, rows, runs, status

CLUSTER = Path(__file__).with_name("cluster.sh")
Environment = dict[str, str]


class Job(NamedTuple):
    """A line of squeue."""

    id: str  # 12, or 12_3 in an array
    state: str  # PENDING, RUNNING, COMPLETING
    name: str


def control(*arguments: str) -> str:
    """Run cluster.sh and return its output."""
    done = subprocess.run([str(CLUSTER), *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def slurm(env: Environment, *command: str) -> str:
    """Run a Slurm command and return its output."""
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def squeue(env: Environment, *states: str) -> list[Job]:
    """The jobs in these states, by default those that have not ended; elements of arrays separately."""
    chosen = [f"--states={','.join(states)}"] if states else []
    return [Job(*line.split("|")) for line in slurm(env, "squeue", "-h", "-r", *chosen, "-o", "%i|%T|%j").splitlines()]


def describe(env: Environment, job: str) -> dict[str, str]:
    """The fields of a job (JobState, Restarts, NodeList, ...), available until five minutes after its end."""
    items = slurm(env, "scontrol", "show", "job", job).split()
    return dict(item.split("=", 1) for item in items if "=" in item)


def wait_for(holds: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def has_pending(run: Path, which: signal.Signals) -> bool:
    """Whether a frozen process was sent a signal, or has ended because of it."""
    try:
        lines = Path(f"/proc/{status(run)['pid']}/status").read_text().splitlines()
    except FileNotFoundError:
        return True
    (mask,) = (line.split()[1] for line in lines if line.startswith("ShdPnd:"))
    return bool(int(mask, 16) >> (which - 1) & 1)


@dataclass
class Sweep:
    """`python train.py -m` with hydra/launcher=slurm, writing to outputs/ in its own folder."""

    env: Environment
    folder: Path
    overrides: list[str]
    program: Path = REPOSITORY
    process: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """Kill the command, where a failed test has left it running."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def start(self, *more: str, **extra: str) -> "Sweep":
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "output.log").open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(self.program / "train.py"), "-m", *self.overrides, *more],
                cwd=self.folder,
                env=self.env | extra,
                text=True,
                start_new_session=True,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def end(self, code: int = 0, seconds: float = 240) -> str:
        """Wait for the command and return its output."""
        assert self.process is not None
        try:
            assert self.process.wait(seconds) == code, self.output
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output) from None
        return self.output

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 90) -> None:
        """Wait for a condition; fail early where the command has failed."""
        process = self.process
        assert process is not None
        wait_for(lambda: bool(holds()) or process.poll() not in (None, 0), seconds, what)
        assert holds(), f"{what}\n{self.output}"

    @property
    def output(self) -> str:
        return (self.folder / "output.log").read_text()

    @property
    def runs(self) -> list[Path]:
        return runs(self.folder)

    def run(self, seed: int) -> Path:
        """The run of a seed; where it has not begun, a folder that does not exist."""
        return next(iter(self.folder.glob(f"outputs/runs/*-s{seed}-*")), self.folder / f"no run of seed {seed} yet")

    def catch(self, *seeds: int) -> list[Path]:
        """Freeze the runs of these seeds in the middle of their training."""
        free = set(seeds)

        def all_frozen() -> bool:
            for seed in list(free):
                if status(self.run(seed))["state"] == "running" and len(rows(self.run(seed))) >= 3:
                    freeze(self.run(seed))
                    free.remove(seed)
            return not free

        self.until(all_frozen, f"the middle of the runs of seeds {free}")
        return [self.run(seed) for seed in seeds]

    def jobs(self) -> dict[str, str]:
        """The job of each run that is submitted: 12, or 12_3 in an array."""
        (file,) = self.folder.glob("outputs/sweeps/*/jobs.json")
        return {
            run_id: f"{submission['job']}_{element}" if len(submission["packs"]) > 1 else submission["job"]
            for submission in json.loads(file.read_text())["submissions"]
            for element, pack in enumerate(submission["packs"])
            for run_id in pack
        }

    def states(self) -> dict[str, str]:
        return {run.name: status(run)["state"] for run in self.runs}


SMALL = ("data=digits", "data.image_size=16", "threads=1", "model=mlp", "model.hidden=[64]", "epochs=60")
ON_NODES = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_run=0", "hydra.launcher.minutes=10")
HELD = "hydra.launcher.additional_parameters={hold: true}"  # jobs stay pending until they are released
SEEDS = 6


@pytest.fixture(scope="session")
def undisturbed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of seeds 0 to 5 without Slurm."""
    folder = tmp_path_factory.mktemp("undisturbed")
    overrides = [*SMALL, f"data.cache={cache}", f"seed=range({SEEDS})", "hydra/launcher=parallel"]
    Sweep(environment(), folder, overrides).start().end()
    return folder


@pytest.fixture
def sweep(cluster: Environment, cache: Path, tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Creates sweeps of small runs on the cluster."""
    made: list[Sweep] = []

    def make(*overrides: str, name: str = "sweep") -> Sweep:
        made.append(Sweep(cluster, tmp_path / name, [*SMALL, *ON_NODES, f"data.cache={cache}", *overrides]))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def is_identical(run: Path, undisturbed: Path) -> bool:
    """Whether the metrics and weights of a run are bit-identical to those without Slurm."""
    return metrics_and_weights(run) == metrics_and_weights(undisturbed / "outputs" / "runs" / run.name)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Environment]:
    """The environment of a process that submits jobs. The cluster is started and stopped, unless it is up already."""
    if not all(shutil.which(program) for program in ("sbatch", "slurmctld", "slurmd", "munged")):
        pytest.skip("Slurm is not installed: `make slurm-test` installs it, as root on Debian")
    was_up = subprocess.run([str(CLUSTER), "status"], capture_output=True, check=False).returncode == 0
    control("up")
    exports = (line.removeprefix("export ").split("=", 1) for line in control("env").splitlines())
    yield environment(**dict(exports))
    if not was_up:
        control("down")


@pytest.fixture(autouse=True)
def clean_cluster(cluster: Environment) -> Iterator[None]:
    """After each test, restart the daemons that it stopped and cancel its jobs."""
    yield
    control("up")
    for state in ("PENDING", "RUNNING"):
        slurm(cluster, "scancel", f"--state={state}")
    # nodes retry only now and then to reach a controller that was unavailable
    wait_for(lambda: not squeue(cluster), 120, "jobs to be gone")

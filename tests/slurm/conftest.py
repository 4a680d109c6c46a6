"""A real Slurm to test on (cluster.sh), and what tests ask of it."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CLUSTER = Path(__file__).with_name("cluster.sh")
Environment = dict[str, str]


class Job(NamedTuple):
    """A line of squeue."""

    id: str  # of an array's task: 12_3
    state: str  # PENDING, RUNNING, COMPLETING
    name: str


def control(*arguments: str) -> str:
    """Run cluster.sh; what it prints."""
    done = subprocess.run([str(CLUSTER), *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def slurm(env: Environment, *command: str) -> str:
    """Run a command of Slurm's; what it prints."""
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def squeue(env: Environment) -> list[Job]:
    """The jobs that have not ended, each task of an array by itself."""
    return [Job(*line.split("|")) for line in slurm(env, "squeue", "-h", "-r", "-o", "%i|%T|%j").splitlines()]


def describe(env: Environment, job: str) -> dict[str, str]:
    """What Slurm knows of a job (JobState, Restarts, NodeList, ...), for five minutes after its end."""
    items = slurm(env, "scontrol", "show", "job", job).split()
    return dict(item.split("=", 1) for item in items if "=" in item)


def wait_for(holds: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Environment]:
    """The environment of a process that submits jobs; the cluster is started unless it is up, and then stopped."""
    if not shutil.which("sbatch"):
        pytest.skip("no Slurm here: `make slurm-test` installs one, as root on Debian")
    was_up = subprocess.run([str(CLUSTER), "status"], capture_output=True, check=False).returncode == 0
    control("up")
    exports = (line.removeprefix("export ").split("=", 1) for line in control("env").splitlines())
    yield {**os.environ, **dict(exports)}
    if not was_up:
        control("down")


@pytest.fixture(autouse=True)
def nothing_left(cluster: Environment) -> Iterator[None]:
    """After each test, whatever it broke is up again and its jobs are gone."""
    yield
    control("up")
    for state in ("PENDING", "RUNNING"):
        slurm(cluster, "scancel", f"--state={state}")
    wait_for(lambda: not squeue(cluster), 30, "jobs to be gone")

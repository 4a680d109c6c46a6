"""hydra/launcher=parallel: how cores and GPUs are divided, how a death is told. Its life: test_sweep_faults."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from support import REPOSITORY

from hydra_plugins.parallel_launcher import Died, places, visible_gpus


def threads(places: list[dict[str, str]]) -> list[str]:
    return [place["OMP_NUM_THREADS"] for place in places]


@pytest.mark.parametrize(
    ("n_jobs", "cores", "fixed", "shares"),
    [
        (None, 2, None, ["1", "1"]),
        (None, 8, None, ["1"] * 8),
        (2, 8, None, ["4", "4"]),
        (3, 8, None, ["2", "2", "2"]),
        (4, 2, None, ["1"] * 4),  # more runs than cores are the user's wish
        (None, 8, 4, ["4", "4"]),  # so many runs of `threads` threads as there is room for
        (None, 2, 4, ["2"]),
    ],
)
def test_cores_are_divided(n_jobs: int | None, cores: int, fixed: int | None, shares: list[str]) -> None:
    found = places(n_jobs, 1, cores, [], fixed)
    assert threads(found) == shares
    assert all("CUDA_VISIBLE_DEVICES" not in place for place in found)


@pytest.mark.parametrize(
    ("n_jobs", "runs_per_gpu", "gpus", "used"),
    [
        (None, 1, ["0", "1"], ["0", "1"]),
        (None, 2, ["0", "1"], ["0", "1", "0", "1"]),
        (3, 1, ["0", "1"], ["0", "1", "0"]),
        (None, 1, ["GPU-7f", "3"], ["GPU-7f", "3"]),
    ],
)
def test_runs_are_spread_over_gpus(n_jobs: int | None, runs_per_gpu: int, gpus: list[str], used: list[str]) -> None:
    found = places(n_jobs, runs_per_gpu, 16, gpus, None)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in found] == used
    assert threads(found) == [str(16 // len(used))] * len(used)


@pytest.mark.parametrize(
    ("named", "count", "gpus"),
    [(None, 2, ["0", "1"]), ("2,5", 2, ["2", "5"]), ("3, 1", 1, ["3"]), (None, 0, []), ("", 0, [])],
)
def test_gpus_keep_the_names_that_the_environment_gives(
    named: str | None, count: int, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (-signal.SIGKILL, "was killed by SIGKILL, as the system does when memory runs out"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
        (3, "ended with status 3"),
    ],
)
def test_a_death_is_told(exitcode: int, words: str) -> None:
    assert str(Died(exitcode)) == f"its process {words}"


def test_a_signal_to_all_processes_spares_the_server_that_knows_when_workers_end() -> None:
    """Slurm sends SIGTERM to every process of a job; without the server each run would look as if it had ended."""
    code = """
import signal
from multiprocessing import forkserver
from hydra_plugins.parallel_launcher import SIGNALS, start_fork_server
start_fork_server()
pid = forkserver._forkserver._forkserver_pid
(mask,) = (line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("SigBlk:"))
print([int(mask, 16) >> (which - 1) & 1 for which in SIGNALS])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1, 1, 1]"

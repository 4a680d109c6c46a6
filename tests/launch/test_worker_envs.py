"""How cores and GPUs are divided among workers."""

import os
import sys

import pytest
import torch

from sweeper.launch import worker_envs as module
from sweeper.launch.worker_envs import visible_gpus, worker_envs


def threads(envs: list[dict[str, str]]) -> list[str]:
    return [env["OMP_NUM_THREADS"] for env in envs]


@pytest.mark.parametrize(
    ("n_jobs", "cores", "threads_per_run", "expected"),
    [
        (None, 2, None, ["1", "1"]),
        (None, 8, None, ["1"] * 8),
        (2, 8, None, ["4", "4"]),
        (3, 8, None, ["2", "2", "2"]),
        (4, 2, None, ["1"] * 4),  # more workers than cores, if the user wants that
        (None, 8, 4, ["4", "4"]),
        (None, 2, 4, ["2"]),
    ],
)
def test_division_of_cores(n_jobs: int | None, cores: int, threads_per_run: int | None, expected: list[str]) -> None:
    envs = worker_envs(n_jobs, 1, cores, [], threads_per_run)
    assert threads(envs) == expected
    assert all("CUDA_VISIBLE_DEVICES" not in env for env in envs)


@pytest.mark.parametrize(
    ("n_jobs", "runs_per_gpu", "gpus", "expected"),
    [
        (None, 1, ["0", "1"], ["0", "1"]),
        (None, 2, ["0", "1"], ["0", "1", "0", "1"]),
        (3, 1, ["0", "1"], ["0", "1", "0"]),
        (None, 1, ["GPU-7f", "3"], ["GPU-7f", "3"]),
    ],
)
def test_division_of_gpus(n_jobs: int | None, runs_per_gpu: int, gpus: list[str], expected: list[str]) -> None:
    envs = worker_envs(n_jobs, runs_per_gpu, 16, gpus, None)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in envs] == expected
    assert threads(envs) == [str(16 // len(expected))] * len(expected)
    assert [env["SWEEPER_RUNS_PER_GPU"] for env in envs] == [str(expected.count(gpu)) for gpu in expected]


@pytest.mark.parametrize(
    ("variable", "count", "gpus"),
    [(None, 2, ["0", "1"]), ("2,5", 2, ["2", "5"]), ("3, 1", 1, ["3"]), (None, 0, []), ("", 0, [])],
)
def test_gpus_are_named_as_in_the_environment(
    variable: str | None, count: int, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(module, "GPU_DEVICES", ("/dev/null",))
    assert visible_gpus() == gpus
    monkeypatch.setattr(module, "GPU_DEVICES", ("/nowhere",))
    assert visible_gpus() == [] or sys.platform != "linux"

"""The division of cores and GPUs among worker processes, as environment variables."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeper.errors import UserError

GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA, of Windows' Linux, of AMD


def local_worker_envs(
    n_jobs: int | None, runs_per_gpu: int, threads: int | None, device: str | None
) -> list[dict[str, str]]:
    """Return the environment of each worker on this machine, by the settings of hydra/launcher=parallel.

    Raises:
        UserError: a setting is invalid.
    """
    from joblib import cpu_count  # slow to import, and not needed by a process that manages a pack

    for name, value in {"n_jobs": n_jobs, "runs_per_gpu": runs_per_gpu}.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"hydra.launcher.{name}={value} must be an integer >= 1")
    return worker_envs(n_jobs, runs_per_gpu, cpu_count(), visible_gpus() if device != "cpu" else [], threads)


def worker_envs(
    n_jobs: int | None, runs_per_gpu: int, cores: int, gpus: Sequence[str], threads: int | None
) -> list[dict[str, str]]:
    """Divide cores and GPUs among workers.

    Args:
        n_jobs: number of workers. None: `runs_per_gpu` workers per GPU, or without GPUs a worker per core, or per
            `threads` cores.
    """
    count = n_jobs or (runs_per_gpu * len(gpus) if gpus else max(1, cores // (threads or 1)))
    common = thread_limits(max(1, cores // count)) | {"TERM": "dumb"}
    if not gpus:
        return [common] * count
    from sweeper.training.device import RUNS_PER_GPU  # imports torch, as visible_gpus did

    used = [gpus[rank % len(gpus)] for rank in range(count)]
    return [common | {"CUDA_VISIBLE_DEVICES": gpu, RUNS_PER_GPU: str(used.count(gpu))} for gpu in used]


def thread_limits(count: int) -> dict[str, str]:
    """Return the environment variables that limit the threads of a process."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES."""
    if sys.platform == "linux" and not any(Path(device).exists() for device in GPU_DEVICES):
        return []
    import torch  # not needed by a process that manages a pack

    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return [name.strip() for name in names.split(",")][:count] if names else [str(index) for index in range(count)]

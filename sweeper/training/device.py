"""The process and the device that training uses."""

import ctypes
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from sweeper.errors import UserError

RUNS_PER_GPU = "SWEEPER_RUNS_PER_GPU"  # environment variable: the processes among which a GPU is divided
CPUINFO = Path("/proc/cpuinfo")  # of Linux
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def set_up_process(device: str, threads: int | None) -> torch.device:
    """Prepare this process for training: memory allocation, threads, determinism.

    Args:
        device: the setting `device`.
        threads: CPU threads; None leaves torch's number.

    Raises:
        UserError: see `choose_device`.
    """
    chosen = choose_device(device)
    tune_malloc()
    if threads is not None:
        torch.set_num_threads(threads)
    if chosen.type == "cuda":
        enable_determinism()
    return chosen


def choose_device(name: str) -> torch.device:
    """Return the device of a `device=` setting.

    Raises:
        UserError: cuda is asked for and not available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: no CUDA device available; choose device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> dict[str, Any]:
    """Describe the device of this process, as run.json records it."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else name_processor()
    shared = {"runs_per_gpu": int(os.environ.get(RUNS_PER_GPU, "1"))} if on_gpu else {}
    return {"device": name, "device_type": device.type, "threads": torch.get_num_threads(), **shared}


def name_processor() -> str:
    """Return the model of this machine's processor where Linux knows it, else its architecture, such as arm64."""
    text = CPUINFO.read_text(encoding="utf-8") if CPUINFO.exists() else ""
    models = re.findall(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return str(models[0]) if models else platform.processor() or platform.machine()


def tune_malloc() -> None:
    """Let glibc keep the memory that a step frees for the next step, up to 1 GB.

    By default it returns tensors above a few MB to the system immediately, and the next allocation costs a page fault
    every 4 kB: half the time of a small convolutional network. On systems other than Linux this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 16 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def enable_determinism() -> None:
    """Make a GPU compute deterministically where it can: bit-exact resume is worth some speed.

    An operation without a deterministic implementation still runs, and torch warns.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # no code here reads uninitialized memory

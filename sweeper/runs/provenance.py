"""Where a run comes from: its config, code, versions, machine and command."""

import json
import platform
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweeper.config import Config
from sweeper.data.cache import Cached
from sweeper.runs.spec import run_id
from sweeper.training.build import choose_device


def command_as_typed(without: str | None = None) -> str:
    """The command that this process was started with, less one argument."""
    return shlex.join(["python", *(argument for argument in sys.argv if argument != without)])


def describe(
    config: Config, effective: dict[str, Any], code: dict[str, str], cached: Cached, model: nn.Module, command: str
) -> dict[str, Any]:
    """What run.json says."""
    parameters = list(model.parameters())
    device = choose_device(config.device)
    val_size = int(config.data.val_size or 0)
    return {
        "run_id": run_id(effective),
        "created": time.time(),
        "command": command,
        "effective": effective,
        "config": asdict(config),
        "code": code,
        "git": git_state(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "hydra-core", "numpy")},
        },
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "dataset": {
            "fingerprint": effective["data"]["fingerprint"],
            "classes": cached.classes,
            "input_shape": list(cached.input_shape),
            "train": cached.num_train - val_size,
            "val": val_size or cached.num_test,
            "test": cached.num_test,
        },
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def git_state() -> dict[str, Any]:
    """The commit of the program's checkout and whether files differ from it; nothing where it is no checkout.

    A copy of the program for queued jobs says of what it is a copy.
    """
    here = Path(__file__).parent.parent
    if (here / "git.json").exists():
        said: dict[str, Any] = json.loads((here / "git.json").read_text())
        return said

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}

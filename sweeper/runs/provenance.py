"""Provenance of a run: config, code, versions, machine and command. No torch here."""

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.runs.directory import RunDirectory

if TYPE_CHECKING:
    from sweeper.runs.spec import RunSpec


def command_as_typed(**instead: str) -> str:
    """Return the command that started this process.

    Args:
        instead: settings of `sweep` that the command has instead of those given, with their defaults. An argument that
            sets one is left out; where a dict or a file sets it, the default is added.
    """
    arguments = list(sys.argv)
    for name, default in instead.items():
        kept = [argument for argument in arguments if argument.lstrip("+").partition("=")[0] != f"sweep.{name}"]
        arguments = kept if len(kept) < len(arguments) else [*kept, f"sweep.{name}={default}"]
    return shlex.join(["python", *arguments])


def next_command(arguments: str, output_dir: Path) -> str:
    """Return the line that says what to do next: a command that reads the runs of an output folder."""
    folder = "" if str(output_dir) == "outputs" else f" --output-dir {shlex.quote(str(output_dir))}"
    return f"next: python -m sweeper {arguments}{folder}"


def in_folder(command: str, recorded: str | Path, output_dir: Path) -> str:
    """Return a recorded command for outputs that have moved since: with the folder where they are now.

    Args:
        command: starts a run or a sweep.
        recorded: the output folder that it was started with.
        output_dir: the folder now.
    """
    moved = Path(recorded).resolve() != output_dir.resolve()
    return f"{command} output_dir={shlex.quote(str(output_dir))}" if moved else command


def command_of(record: RunDirectory) -> str:
    """Return the command that repeats a recorded run, in the folder where the record is now."""
    run = record.run() or {}
    command, config, folder = run.get("command"), run.get("config"), record.folder.parent.parent
    recorded = config.get("output_dir") if isinstance(config, dict) else None
    return in_folder(str(command), folder if recorded is None else str(recorded), folder)


def describe(
    spec: "RunSpec", *, command: str, device: Mapping[str, Any], parameters: int, trained: int
) -> dict[str, Any]:
    """Return the content of run.json.

    Args:
        spec: the run.
        command: the command that repeats it.
        device: the device of this process, see sweeper.training.device.describe_device.
        parameters, trained: how many parameters the network has, and how many of them are trained.
    """
    from sweeper.config import as_recorded  # with OmegaConf, which readers do not need

    return {
        "run_id": spec.run_id,
        "created": time.time(),
        "command": command,
        "effective": spec.effective,
        "labels": dict(spec.labels),
        "config": as_recorded(spec.config),
        "code": spec.code,
        "git": git_state(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "hydra-core", "numpy")},
        },
        "host": socket.gethostname(),
        **device,
        "dataset": {
            "fingerprint": spec.cached.fingerprint,
            "classes": spec.cached.classes,
            "input_shape": list(spec.cached.input_shape),
            "train": spec.num_train,
            "val": spec.config.data.val_size or spec.cached.num_val or spec.cached.num_test,
            "test": spec.cached.num_test,
        },
        "parameters": parameters,
        "trainable_parameters": trained,
    }


def git_state() -> dict[str, Any]:
    """Return the commit of the program's checkout and whether files differ from it; None outside a checkout.

    A repository around the program that does not track it is not its checkout. A snapshot of the program for queued
    jobs records what it is a copy of, in git.json.
    """
    here = Path(__file__).parent.parent
    if (here / "git.json").exists():
        recorded: dict[str, Any] = json.loads((here / "git.json").read_text(encoding="utf-8"))
        return recorded

    # Set in a hook, they would name another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), "--no-optional-locks", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    try:
        git("ls-files", "--error-unmatch", Path(__file__).relative_to(here).as_posix())
        return {
            "commit": git("rev-parse", "HEAD").strip(),
            "dirty": bool(git("status", "--porcelain", "--", str(here.parent))),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}

"""What several test files share: the small images' facts, real processes, and readers of what runs leave."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from numpy.typing import NDArray
from omegaconf.errors import OmegaConfBaseException
from processes import REPOSITORY, Program

from sweeper.cli import register_schema
from sweeper.config import Config, to_config
from sweeper.data.source import Source
from sweeper.errors import UserError
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import loaded_texts
from sweeper.sweep.compose import Composer

CLASSES = ("ant", "bee", "cat")  # three, so that nothing may take ten for granted
TRAIN_IMAGES, TEST_IMAGES = 40, 10  # per class
TINY = ["model=softmax", "optimizer=sgd"]
TIMINGS = ("train_seconds", "eval_seconds", "images_per_second")

Train = Callable[..., subprocess.CompletedProcess[str]]


def copy_program(folder: Path) -> None:
    """Copy the program, to change the copy."""
    for name in ("train.py", "sweeper", "conf", "hydra_plugins"):
        source = REPOSITORY / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder)


def train_copy(folder: Path, *arguments: str) -> str:
    """Run train.py of a copy of the program, which must succeed, and return its output."""
    return finish(Program(arguments, folder, program=folder))


def composed(*overrides: str) -> Config:
    """Return the config of `python train.py OVERRIDES`, as the sweeper makes it of presets that are composed once.

    It equals Hydra's (tests/sweep/test_compose.py), which takes ten times as long.
    """
    try:
        return composer(tuple(loaded_texts()))(list(overrides)).config
    except (UserError, HydraException, OmegaConfBaseException):  # also for an experiment that defines a sweep
        return composed_by_hydra(*overrides)


@lru_cache(maxsize=1)
def composer(extensions: tuple[tuple[str, str, str], ...]) -> Composer:
    """Return what composes while these extensions are loaded."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
    return Composer(loader, loader.load_configuration("config", [], RunMode.MULTIRUN))


def composed_by_hydra(*overrides: str) -> Config:
    """Compose the config of `python train.py OVERRIDES` in this process."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return to_config(compose("config", overrides=list(overrides)))


def decoded(source: Source) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Decode a source into memory: its arrays by name, and its classes."""
    arrays: dict[str, NDArray[Any]] = {}
    return arrays, source.decode(lambda name, shape, dtype: arrays.setdefault(name, np.zeros(shape, dtype)))


def start(overrides: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> Program:
    """Start `python train.py` in a folder; its standard output has its errors, too."""
    folder.mkdir(exist_ok=True)
    return Program(overrides, folder, env)


def finish(process: Program) -> str:
    """Wait for a process to succeed, and return its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_for_epoch(process: Program, folder: Path) -> None:
    """Wait until the run has a row of metrics."""
    while process.poll() is None:
        if any(path.read_text() for path in folder.glob("outputs/runs/*/metrics.jsonl")):
            return
        time.sleep(0.002)
    pytest.fail(f"the run ended early: {process.communicate()[0]}")


def runs(folder: Path) -> list[Path]:
    """List the run directories that were written from a working directory."""
    return sorted((folder / "outputs" / "runs").glob("*"))


def the_run(folder: Path) -> Path:
    """Return the only run directory that was written from a working directory."""
    (run,) = runs(folder)
    return run


def status(run: Path) -> dict[str, Any]:
    """Read status.json; the state is "not started" where there is none."""
    try:
        content: dict[str, Any] = json.loads((run / "status.json").read_text())
    except FileNotFoundError:
        return {"state": "not started"}
    return content


def freeze(run: Path) -> None:
    """Stop the process that trains a run, so that the run does not end before a test has disturbed it."""
    os.kill(status(run)["pid"], signal.SIGSTOP)


def thaw(run: Path) -> None:
    with suppress(ProcessLookupError):  # it was killed; Slurm also thaws jobs that it ends
        os.kill(status(run)["pid"], signal.SIGCONT)


def rows(run: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl; no rows where there is none."""
    try:
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


def untimed(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on the clock."""
    return {key: value for key, value in values.items() if key not in TIMINGS}


def outcome(run: Path) -> dict[str, Any]:
    """Read everything of a finished run that must not depend on interruptions, for `assert_equal`."""
    state = checkpoint.load(run / "checkpoints" / "last.pt", run.name)["state"]
    state["loop"].pop("seconds")
    state["loop"]["history"] = [untimed(row) for row in state["loop"]["history"]]
    with np.load(run / "predictions.npz") as predictions:
        arrays = {name: torch.from_numpy(predictions[name]) for name in predictions.files}
    return {
        "state": state,
        "best": checkpoint.load(run / "checkpoints" / "best.pt", run.name),
        "rows": [untimed(row) for row in rows(run)],
        "result": untimed(json.loads((run / "result.json").read_text())),
        "predictions": arrays,
    }


def metrics_and_weights(run: Path) -> tuple[Any, ...]:
    """Read what a run trained to, timings left out, for `==`: its metrics, and its best weights as numbers."""
    weights = checkpoint.load(run / "checkpoints" / "best.pt", run.name)["model"]
    return [untimed(row) for row in rows(run)], {name: tensor.tolist() for name, tensor in weights.items()}


def assert_equal(one: object, other: object, where: str = "") -> None:
    """Compare nested values, tensors included, exactly."""
    assert type(one) is type(other), where
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}[{index}]")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    else:
        assert one == other, where


def record_end(
    record: RunDirectory, code: Any, result: dict[str, Any] | None, described: dict[str, Any] | None = None
) -> None:
    """Record a planned run as finished with this result, or as diverged where there is none, without training it."""
    record.create(described or {"effective": {}, "config": {}, "code": code}, {})
    record.predictions.touch()
    if result is not None:
        record.write_result(result)
    record.write_status(state="diverged" if result is None else "finished")

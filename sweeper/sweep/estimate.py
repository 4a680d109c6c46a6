"""Estimates of how long runs take: from earlier runs of the same kind, else of the same model, else from a probe."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import RunSpec
from sweeper.sweep.probe import probe
from sweeper.training.device import choose_device

READ_AT_MOST = 300  # earlier runs, the newest
PER_RUN = 1.0  # seconds of a run besides its epochs: composing, building, saving
PROBED_PARAMETERS = 100_000_000  # probing a larger model might exhaust this process's memory
PROBE_AT_MOST = 15.0  # total seconds; models beyond that have no estimate
OF_RECORDS, OF_A_PROBE = 1.1, 2.0  # factors: how runs of one kind differ; what a probe leaves out, such as validation


@dataclass(frozen=True)
class Estimate:
    """The seconds that a run has left.

    Attributes:
        low, high: the range in which they are expected.
    """

    seconds: float
    low: float
    high: float


@dataclass(frozen=True)
class Speed:
    """Seconds per image and epoch, including validation, and the range in which they are expected."""

    typical: float
    low: float
    high: float

    @classmethod
    def of_runs(cls, speeds: Sequence[float]) -> "Speed":
        """Return the speed of runs of one kind, without the fastest and the slowest tenth of them."""
        ordered = sorted(speeds)
        cut = len(ordered) // 10
        return cls(median(ordered), ordered[cut] / OF_RECORDS, ordered[-1 - cut] * OF_RECORDS)


class Estimator:
    """Estimates the runs of a sweep. A speed that was read or measured once serves all runs of the same kind.

    Args:
        runs: the folder of run directories.
        concurrency: runs at a time, which share the cores.
    """

    def __init__(self, runs: Path, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.probing = 0.0  # seconds spent on probes
        newest = sorted(runs.glob("*/metrics.jsonl"), key=modification_time)[-READ_AT_MOST:]
        measured: dict[str, list[float]] = {}
        for path in newest:
            for key, speed in measured_speeds(RunDirectory(path.parent)).items():
                measured.setdefault(key, []).append(speed)
        self.speeds = {key: Speed.of_runs(values) for key, values in measured.items()}

    def estimate(self, spec: RunSpec, parameters: int, done: int) -> Estimate | None:
        """Estimate the time left of a run of which `done` epochs are done; None where its model cannot be probed."""
        config, cached = spec.config, spec.cached
        threads = config.threads or max(1, torch.get_num_threads() // self.concurrency)
        device = describe_machine(choose_device(config.device).type, threads)
        keys = speed_keys(spec.effective, list(cached.input_shape), device)
        speed = next((self.speeds[key] for key in keys if key in self.speeds), None)
        if speed is None:
            begin = time.perf_counter()
            may_probe = parameters <= PROBED_PARAMETERS and self.probing < PROBE_AT_MOST
            fastest = probe(spec, threads) if may_probe else None
            self.probing += time.perf_counter() - begin
            if fastest is None:
                return None
            speed = Speed(fastest, fastest, fastest * OF_A_PROBE)
            self.speeds |= dict.fromkeys(keys, speed)
        images = (config.epochs - done) * spec.num_train
        return Estimate(*(PER_RUN + images * value for value in (speed.typical, speed.low, speed.high)))


def modification_time(path: Path) -> float:
    """Return when a file was last written; long ago where it has just been moved."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def describe_machine(device: str, threads: int) -> str:
    """Describe the properties of this machine that determine a run's speed."""
    return f"cpu with {threads} threads" if device == "cpu" else device


def speed_keys(effective: dict[str, Any], input_shape: list[int], device: str) -> list[str]:
    """Return the keys that a run's speed is looked up by: everything that determines it, then only the model."""
    model, others = effective.get("model"), ("activation", "norm", "mixing", "loss", "optimizer", "averaging")
    whole: list[Any] = [effective.get(group, {}).get("name") for group in others]
    settings = ("batch_size", "autocast", "augmentation", "architecture", "courses", "selective_backprop")
    whole += [effective.get(name) for name in settings]
    return [json.dumps([model, input_shape, device, *rest], sort_keys=True) for rest in (whole, [])]


def measured_speeds(record: RunDirectory) -> dict[str, float]:
    """Return the seconds per image and epoch of a run, including validation, under each of its keys."""
    run, rows = record.run() or {}, record.metrics()
    try:
        dataset = run["dataset"]
        seconds = median(row["train_seconds"] + row["eval_seconds"] for row in rows)
        device = describe_machine(run["device_type"], run["threads"])
        keys = speed_keys(run["effective"], dataset["input_shape"], device)
        return dict.fromkeys(keys, seconds / dataset["train"])
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):  # no epoch yet, or a foreign file
        return {}

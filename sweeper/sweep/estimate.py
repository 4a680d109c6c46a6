"""How long runs take: from what earlier runs of the same model took, or from a few steps on random images."""

import heapq
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from sweeper.runs.directory import RunDirectory

if TYPE_CHECKING:
    from sweeper.runs.spec import RunSpec

READ_AT_MOST = 300  # earlier runs, the newest
PER_RUN = 1.0  # seconds that a run takes besides its epochs: composing, building, saving
PROBED_PARAMETERS = 100_000_000  # a larger model's steps might take this process down for lack of memory
PROBE_AT_MOST = 15.0  # seconds in all; models beyond that are of unknown length
SMALL_BATCH = 8  # images of a probe's first step
LONG_STEP = 1.0  # seconds; where a whole batch would take longer, the small one must do


class Estimator:
    """Estimates runs of a folder's parent sweep; what it measured or read once serves all runs of the same kind."""

    def __init__(self, runs: Path, concurrency: int = 1) -> None:
        self.concurrency = concurrency  # runs that share the cores
        self.probing = 0.0  # seconds spent on probes
        self.speeds: dict[str, float] = {}  # seconds an image and epoch, by kind
        newest = sorted(runs.glob("*/metrics.jsonl"), key=changed)[-READ_AT_MOST:]
        found: dict[str, list[float]] = {}
        for path in newest:
            for kind, speed in measured_speeds(RunDirectory(path.parent)).items():
                found.setdefault(kind, []).append(speed)
        self.speeds = {kind: median(values) for kind, values in found.items()}

    def seconds(self, spec: "RunSpec", parameters: int, done: int) -> float | None:
        """Estimate the time left of a run of which `done` epochs are done; None where its model cannot be probed."""
        import torch

        from sweeper.training.device import choose_device

        config, cached, effective = spec.config, spec.cached, spec.effective
        threads = config.threads or max(1, torch.get_num_threads() // self.concurrency)
        wanted = speed_keys(effective, list(cached.input_shape), machine(choose_device(config.device).type, threads))
        speed = next((self.speeds[kind] for kind in wanted if kind in self.speeds), None)
        if speed is None:
            begin = time.perf_counter()
            may_try = parameters <= PROBED_PARAMETERS and self.probing < PROBE_AT_MOST
            speed = probe(spec, threads) if may_try else None
            self.probing += time.perf_counter() - begin
            if speed is None:
                return None
            self.speeds |= dict.fromkeys(wanted, speed)
        images = cached.num_train - int(config.data.val_size or 0)
        return PER_RUN + (config.epochs - done) * images * speed


def changed(path: Path) -> float:
    """When a file was written last; long ago where it has just been moved."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def machine(device: str, threads: int) -> str:
    """What of the machine a run's speed follows from."""
    return f"cpu with {threads} threads" if device == "cpu" else device


def speed_keys(effective: dict[str, Any], input_shape: list[int], device: str) -> list[str]:
    """What a run's speed follows from: whole, and as little of it as still says something."""
    model, others = effective.get("model"), ("activation", "norm", "mixing", "loss", "optimizer", "averaging")
    whole: list[Any] = [effective.get(group, {}).get("name") for group in others]
    whole += [effective.get("batch_size"), effective.get("autocast"), effective.get("augmentation")]
    return [json.dumps([model, input_shape, device, *rest], sort_keys=True) for rest in (whole, [])]


def measured_speeds(record: RunDirectory) -> dict[str, float]:
    """Seconds an image and epoch that a run took, validation included, for each of its kinds."""
    run, rows = record.run() or {}, record.metrics()
    try:
        dataset = run["dataset"]
        seconds = median(row["train_seconds"] + row["eval_seconds"] for row in rows)
        return dict.fromkeys(
            speed_keys(run["effective"], dataset["input_shape"], machine(run["device_type"], run["threads"])),
            seconds / dataset["train"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):  # no epoch yet, or not written by us
        return {}


def probe(spec: "RunSpec", threads: int) -> float | None:
    """Measure the seconds per image that training takes on `threads` threads, by a few steps on random images."""
    import torch

    from sweeper.data.cache import Dataset, Images
    from sweeper.training.build import build
    from sweeper.training.device import set_up_process
    from sweeper.training.loop import train_epoch

    cached, config = spec.cached, spec.config

    def measure(batch_size: int) -> float:
        number = 3 * batch_size  # the first step warms up
        images = torch.randint(256, (number + 2, *cached.input_shape), dtype=torch.uint8)
        labels = torch.arange(number + 2) % len(cached.classes)
        dataset = Dataset(Images(images, labels), Images(images, labels), cached.classes)
        small = replace(config, batch_size=batch_size, compile=False, data=replace(config.data, val_size=0))
        slow = partial(spec.choices.optimizer, lr=1e-9)  # its time does not depend on the rate, divergence does
        built = build(small, replace(spec.choices, optimizer=slow), dataset, device, load_pretrained=False)
        times = [time.perf_counter()]
        train_epoch(built.state, built.recipe, built.train_loader, lambda: times.append(time.perf_counter()))
        return min(times[2] - times[1], times[3] - times[2]) / batch_size

    before = torch.get_num_threads()
    try:
        device = set_up_process(config.device, threads)
        small = measure(SMALL_BATCH)
        return small if small * config.batch_size > LONG_STEP else measure(config.batch_size)
    except Exception:  # the run itself will report it
        return None
    finally:
        torch.set_num_threads(before)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Return when the last run ends, if each starts in the first free slot, the longest first."""
    free = [0.0] * slots
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def format_duration(seconds: float) -> str:
    """Format a duration, no finer than an estimate deserves."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"

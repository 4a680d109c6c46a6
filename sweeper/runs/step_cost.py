"""Duration of a training step of recorded runs on this machine: each run alternates with a reference."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean, median, quantiles
from typing import Any

import torch

from sweeper.data.batches import CHUNK, CHUNK_PIXELS
from sweeper.data.cache import load
from sweeper.errors import Stopped, UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import resolve_recorded
from sweeper.runs.teacher import load_teacher
from sweeper.training.build import build
from sweeper.training.device import describe_device, set_up_process
from sweeper.training.loop import train_epoch

POSITIONS = (1 / 6, 1 / 2, 5 / 6)  # fractions of training at which steps are measured, since courses change their cost
ROUNDS = 7  # blocks of each run, at each position
BLOCK_SECONDS = 0.1  # seconds that a block takes at least,
LONGEST_BLOCK = 2.0  # and at most, unless that is less than a step


@dataclass(frozen=True)
class StepCost:
    """The cost of a training step of a run.

    Attributes:
        seconds: per step: the reference's times `ratio`, so that slow phases of the machine cancel.
        ratio: of seconds per step to the reference's: median over the blocks at a position, mean over the positions.
        spread: half the interquartile range of the blocks' ratios, as a fraction of their median; mean over the
            positions.
        parameters: of the network.
        memory: peak bytes that the run allocates on a GPU, including its images; None on a CPU.
    """

    run_id: str
    seconds: float
    ratio: float
    spread: float
    parameters: int
    memory: int | None


class Trainer:
    """A recorded run, rebuilt to train some steps; its records are not changed.

    Its learning rate is 0: a step costs the same, but the weights do not change, so steps that are run out of order
    cannot diverge.

    Raises:
        UserError: the record is of another version, or its images or its teacher are missing or have changed.
    """

    def __init__(self, record: RunDirectory, device: torch.device, data: Mapping[str, Any] | None = None) -> None:
        self.device = device
        others = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        spec = resolve_recorded(record, data)
        teacher = load_teacher(spec.config, spec.cached)
        components = build(spec.config, spec.choices, load(spec.cached), device, load_pretrained=False, teacher=teacher)
        self.state, self.loader = components.state, components.train_loader
        self.recipe = replace(components.recipe, lr=0.0)
        self.parameters = sum(parameter.numel() for parameter in self.state.model.parameters())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for position in POSITIONS:  # warm up
            self.go_to(position)
            self.seconds_a_step(1)
        self.memory = torch.cuda.max_memory_allocated() - others if device.type == "cuda" else None

    def go_to(self, position: float) -> None:
        """Continue at a fraction of the whole training."""
        epoch, step = divmod(int(position * self.recipe.total_steps), len(self.loader))
        self.state.loop.epoch, self.state.loop.step_in_epoch = 1 + epoch, step

    def seconds_a_step(self, steps: int) -> float:
        """Train a number of steps, after one that is not timed; return the mean seconds per step.

        At the end of an epoch, start it again.
        """
        loop, done, begin = self.state.loop, 0, 0.0

        def after_step() -> None:
            nonlocal done, begin
            done += 1
            if done == 1:
                begin = self.now()
            if done > steps:
                raise Stopped

        while done <= steps:
            with suppress(Stopped):
                train_epoch(self.state, self.recipe, self.loader, after_step)
            loop.step_in_epoch %= len(self.loader)
        return (self.now() - begin) / steps

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def steps_of_block(self) -> int:
        """Return the steps of a block: whole chunks of images, which are prepared together, unless too slow."""
        whole = CHUNK
        if self.loader.augmentation:
            whole = max(CHUNK, CHUNK_PIXELS // self.loader.data.images[0].numel())
        chunk = max(1, min(whole // self.loader.batch_size, len(self.loader)))
        seconds = self.seconds_a_step(2)
        chunks = math.ceil(BLOCK_SECONDS / (seconds * chunk))
        return max(1, min(chunks * chunk, int(LONGEST_BLOCK / seconds)))


def measure(
    reference: RunDirectory,
    others: Sequence[RunDirectory],
    report: Callable[[str], None] = lambda line: None,
    data: Mapping[str, Any] | None = None,
) -> tuple[dict[str, StepCost], dict[str, object]]:
    """Measure the training step of runs, on the reference's device with its number of threads.

    Args:
        reference: the run that all others are compared with.
        others: of the same dataset.
        report: called with a line of progress before each of them.
        data: changed settings of data, such as the root where the images are now.

    Returns:
        The cost of each run by its ID, the reference's first; and the device, see
        sweeper.training.device.describe_device.

    Raises:
        UserError: the device is not available here, or see Trainer.
    """
    run = reference.run() or {}
    kind = str(run.get("device_type") or "auto")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{reference.run_id} was trained on a GPU, and there is none here; measure where there is one")
    device = set_up_process(kind, run.get("threads"))
    base = Trainer(reference, device, data)
    measured: dict[str, tuple[float, float, int, int | None]] = {}
    seconds: list[float] = []
    for index, record in enumerate(others):
        report(f"measuring {index + 1} of {len(others)}: {record.run_id}")
        trainer = Trainer(record, device, data)
        ratios, spreads = [], []
        for blocks in alternate(base, trainer):
            seconds += [before for before, _ in blocks]
            of_blocks = [after / before for before, after in blocks]
            low, middle, high = quantiles(of_blocks, n=4, method="inclusive")
            ratios.append(middle)
            spreads.append((high - low) / 2 / middle)
        measured[record.run_id] = fmean(ratios), fmean(spreads), trainer.parameters, trainer.memory
    usual = median(seconds)
    costs = {reference.run_id: StepCost(reference.run_id, usual, 1.0, 0.0, base.parameters, base.memory)}
    for run_id, (ratio, spread, parameters, memory) in measured.items():
        costs[run_id] = StepCost(run_id, ratio * usual, ratio, spread, parameters, memory)
    return costs, describe_device(device)


def alternate(base: Trainer, other: Trainer) -> Iterator[list[tuple[float, float]]]:
    """Yield for each position the seconds per step of both, in blocks whose order alternates from round to round."""
    for position in POSITIONS:
        blocks = []
        for trainer in (base, other):
            trainer.go_to(position)
        sizes = [trainer.steps_of_block() for trainer in (base, other)]
        for number in range(ROUNDS):
            timed: dict[int, float] = {}
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                trainer = (base, other)[side]
                trainer.go_to(position)
                timed[side] = trainer.seconds_a_step(sizes[side])
            blocks.append((timed[0], timed[1]))
        yield blocks

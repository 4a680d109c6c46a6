"""The speed of a model without earlier runs: a few training steps on random images, which affect no run."""

import logging
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch

from sweeper.data.cache import Dataset, Images
from sweeper.runs.spec import RunSpec
from sweeper.runs.teacher import load_teacher
from sweeper.training.build import build
from sweeper.training.device import set_up_process
from sweeper.training.loop import train_epoch
from sweeper.training.state import LoopState

SMALL_BATCH = 8  # images of a probe's first step
BUDGET = 1.0  # seconds of steps that are timed
MOST_STEPS = 30  # or so many
EPOCH = 3  # steps
LONG_STEP = 1.0  # seconds; where a whole batch would take longer, the small batch is enough


def probe(spec: RunSpec, threads: int) -> float | None:
    """Return the seconds per image that training takes on a number of threads; None if the model cannot be trained."""
    before = torch.get_num_threads()
    logging.disable(logging.INFO)  # what a run says of itself is not of the sweep
    try:
        device = set_up_process(spec.config.device, threads)
        small = time_step(spec, SMALL_BATCH, device) / SMALL_BATCH
        batch_size = spec.config.batch_size
        return small if small * batch_size > LONG_STEP else time_step(spec, batch_size, device) / batch_size
    except Exception:  # the run itself reports it
        return None
    finally:
        logging.disable(logging.NOTSET)
        torch.set_num_threads(before)


def time_step(spec: RunSpec, batch_size: int, device: torch.device) -> float:
    """Return the seconds of a training step: the fastest of those within the budget, after one that warms up.

    What else the machine does makes steps slower, never faster, so the fastest is the reproducible one.
    """
    cached, config = spec.cached, spec.config
    num_images = EPOCH * batch_size + 2
    images = torch.randint(256, (num_images, *cached.input_shape), dtype=torch.uint8)
    labels = torch.arange(num_images) % len(cached.classes)
    if spec.choices.task().targets == "masks":
        labels = labels[:, None, None].expand(-1, *cached.input_shape[1:]).to(torch.uint8)
    dataset = Dataset(Images(images, labels), Images(images, labels), cached.classes)
    small = replace(
        config, batch_size=batch_size, compile=False, data=replace(config.data, val_size=0, train_size=None)
    )
    slow = partial(
        spec.choices.optimizer, lr=1e-9
    )  # the learning rate does not change the duration, but a high one diverges
    choices, teacher = replace(spec.choices, optimizer=slow), load_teacher(config, cached)
    built = build(small, choices, dataset, device, load_pretrained=False, teacher=teacher)
    steps: list[float] = []
    times: list[float] = []
    begin = time.perf_counter()
    while not steps or (len(steps) < MOST_STEPS and time.perf_counter() - begin < BUDGET):
        built.state.loop = LoopState()
        times[:] = [time.perf_counter()]
        train_epoch(built.state, built.recipe, built.train_loader, lambda: times.append(time.perf_counter()))
        steps += [end - start for start, end in pairwise(times[not steps : EPOCH + 1])]
    return min(steps)

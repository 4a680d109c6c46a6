"""Cost of each trick per training step; writes docs/tricks.csv and the catalog of all tricks, docs/tricks.md.

python -m benchmarks.tricks [TRICK...]    measure all, ten minutes to half an hour, and write both; or print those named
python -m benchmarks.tricks --text        write docs/tricks.md again, with the costs of docs/tricks.csv

Tricks are found in the registries and in conf/. Each is measured on the first base that it applies to: a run without
it and one with it alternate in this process, epoch by epoch, through the program's own `fit`. The measure is CPU time
on one thread, which on an idle machine equals wall-clock time.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from statistics import NormalDist, mean, median, quantiles
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from benchmarks.training import machine
from benchmarks.tricks_catalog import CONF, MODEL, Trick, catalog, is_baseline, is_pixelwise
from benchmarks.tricks_page import Cost, write_costs, write_page
from sweeper.cli import register_schema
from sweeper.config import Config, to_config, validate
from sweeper.data.batches import eval_batches
from sweeper.data.cache import Cached, Dataset, Images, load, prepare
from sweeper.errors import UserError
from sweeper.training.build import build, check, choose_all, seeded_model
from sweeper.training.device import set_up_process
from sweeper.training.loop import evaluate, fit
from sweeper.training.views import AveragedViews

Overrides = dict[str, str]

BATCH, THREADS, TEST_IMAGES = 64, 1, 2
STEPS, EPOCHS = 16, 15  # steps per epoch, and measured epochs: more, up to
MOST_EPOCHS, ERROR = 60, 0.01  # so many, until the ratio's standard error is at most this part of it
SLOW_STEPS, SLOW_EPOCHS = 1, 4  # of all other networks than these
QUICK = ("softmax", "mlp", "mlp_deep", "cnn", "cnn_pool")
# Each trick is measured on the first of these that it applies to.
BASES: tuple[Overrides, ...] = (
    {"model": MODEL},
    {"model": MODEL, "norm": "batch"},
    {"model": MODEL, "dropout": "light"},
    {"model": MODEL, "optimizer": "adamw"},
    {"model": MODEL, "augmentation": "flip"},
    {"model": "resnet18", "model.stem": "imagenet"},
    {"model": "airbench"},
    {"model": "torchvision"},
)
CHANGING = ("courses", "averaging")  # groups whose cost changes as training proceeds
WITHOUT_WEIGHTS = {"model.weights": "null"}  # of a pretrained model: they would be downloaded, and cost no step


@contextmanager
def digits() -> Iterator[Dataset]:
    """Yield the digits, which need no download."""
    with tempfile.TemporaryDirectory() as folder:
        yield load(prepare(config_of({"data": "digits", "data.cache": folder}).data))


def config_of(overrides: Overrides) -> Config:
    """Compose the config of a run."""
    config = to_config(compose("config", [f"{key}={value}" for key, value in overrides.items()]))
    validate(config)
    return config


def some_images(dataset: Dataset, number: int) -> Dataset:
    """Return a dataset with so many training images, repeated where it has fewer, and almost no test images."""
    chosen = torch.arange(number) % len(dataset.train)
    train = Images(dataset.train.images[chosen], dataset.train.labels[chosen])
    test = Images(dataset.test.images[:TEST_IMAGES], dataset.test.labels[:TEST_IMAGES])
    return Dataset(train, test, dataset.classes)


class Side:
    """A run that is measured epoch by epoch.

    Raises:
        UserError: the settings do not fit each other.
    """

    def __init__(self, overrides: Overrides, dataset: Dataset, epochs: int) -> None:
        fixed = {"data": "digits", "data.val_size": "0", "batch_size": str(BATCH), "epochs": str(epochs)}
        self.config = config_of(fixed | overrides)
        self.choices, self.dataset = choose_all(self.config), dataset
        source: Any = None
        images = (len(dataset.train), len(dataset.test))
        check(self.config, self.choices, Cached(source, CONF, "", dataset.classes, dataset.input_shape, *images))

    def start(self) -> None:
        """Build the run."""
        device = set_up_process("cpu", THREADS)
        taught = "teacher" in self.choices.loss.keywords
        teacher = seeded_model(self.config, self.choices, self.dataset) if taught else None
        self.run = build(self.config, self.choices, self.dataset, device, teacher=teacher)

    def epoch(self) -> float:
        """Train the next epoch; return its processor seconds, with what an averaging does before an evaluation."""
        start, state = time.process_time(), self.run.state
        fit(state, self.run.recipe, self.run.train_loader, self.run.val_loader, epochs=state.loop.epoch)
        return time.process_time() - start

    def evaluation(self) -> float:
        """Evaluate the views of the training images; return the processor seconds."""
        start = time.process_time()
        images = torch.arange(len(self.dataset.train))
        batches = eval_batches(self.dataset.train, images, self.run.normalize)
        evaluate(AveragedViews(self.run.state.model, self.choices.views), batches, len(self.dataset.classes))
        return time.process_time() - start


def sides_of(
    trick: Trick, dataset: Dataset, steps: int | None = None, epochs: int | None = None
) -> tuple[str, Side, Side]:
    """Find the first base that a trick applies to.

    Args:
        steps, epochs: steps of an epoch, and epochs after the first, at most; None follows from the network.

    Returns:
        The base, and the runs without and with the trick.

    Raises:
        UserError: it applies to none.
    """
    reasons = []
    for base in BASES:
        added = base | dict(trick.overrides) | (WITHOUT_WEIGHTS if "pretrained" in trick.name else {})
        slow = any(overrides["model"] not in QUICK for overrides in (base, added))
        images = some_images(dataset, BATCH * (steps or (SLOW_STEPS if slow else STEPS)))
        usual = EPOCHS if trick.group in CHANGING else MOST_EPOCHS
        number = 1 + (epochs or (SLOW_EPOCHS if slow else usual))
        try:
            plain, tricked = Side(base, images, number), Side(added, images, number)
        except UserError as reason:
            reasons.append(str(reason))
        else:
            return " ".join(f"{key}={value}" for key, value in base.items()), plain, tricked
    raise UserError(f"{trick.name} does not apply to any base: {'; '.join(dict.fromkeys(reasons))}")


def measure(trick: Trick, dataset: Dataset, steps: int | None = None, epochs: int | None = None) -> Cost:
    """Measure a trick; see `sides_of` for the arguments.

    The first epoch has one-time costs and counts only in means over a whole run.
    """
    base, *sides = sides_of(trick, dataset, steps, epochs)
    for side in sides:
        side.start()
    base_seconds, ratios = list[float](), list[float]()
    for epoch in range(sides[0].config.epochs):
        seconds = {}
        for side in sides[:: (-1) ** epoch]:  # each is first in turn
            seconds[side] = side.evaluation() if trick.group == "views" else side.epoch()
        plain, tricked = (seconds[side] for side in sides)
        base_seconds.append(plain)
        ratios.append(tricked / plain)
        if epochs is None and epoch >= EPOCHS and trick.group not in CHANGING and error_of(ratios[1:]) <= ERROR:
            break
    low, middle, high = quantiles(ratios[1:], n=4, method="inclusive")
    num_batches = len(sides[0].dataset.train) / BATCH
    base_ms = 1000 * median(base_seconds[1:]) / num_batches
    return Cost(base, base_ms, mean(ratios) if trick.group in CHANGING else middle, low, high)


def error_of(ratios: Sequence[float]) -> float:
    """Return the standard error of the median of ratios, as a part of it, as if they were normally distributed."""
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    deviation = (high - low) / (2 * NormalDist().inv_cdf(0.75))
    return deviation / middle * math.sqrt(math.pi / 2 / len(ratios))


def measured(tricks: Sequence[Trick]) -> Iterator[tuple[Trick, Cost, float]]:
    """Yield tricks with their costs, and the load of the machine by other processes."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"), digits() as dataset:
        for trick in tricks:
            cost = measure(trick, dataset)
            yield trick, cost, max(0.0, os.getloadavg()[0] - THREADS)


def main() -> None:
    """Measure and write, or write only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tricks", nargs="*", metavar="TRICK", help="such as optimizer=lion: measure these, and print")
    parser.add_argument("--text", action="store_true", help="measure nothing; write the page again")
    options = parser.parse_args()
    if options.text:
        write_page()
        return
    every = [trick for trick in chain(*catalog().values()) if not is_baseline(trick) and not is_pixelwise(trick)]
    chosen = [trick for trick in every if not options.tricks or trick.name in options.tricks]
    if unknown := set(options.tricks) - {trick.name for trick in chosen}:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(trick.name for trick in every)}")
    costs, loads = {}, []
    about = machine(["torch", "torchvision"], THREADS)
    for trick, cost, load_of_others in measured(chosen):
        costs[trick.name] = cost
        loads.append(load_of_others)
        print(f"{trick.name:<60} {cost.ratio:6.2f} ({cost.low:.2f} to {cost.high:.2f}) with {cost.base}", flush=True)
        if not options.tricks:
            write_costs(costs, f"{about} {shared(mean(loads))}")
    if not options.tricks:
        write_page()


def shared(load_of_others: float) -> str:
    """Describe what else ran, from the mean load of other processes."""
    if load_of_others < 0.1:
        return "Nothing else ran."
    return f"The machine was shared: other processes had a load of {load_of_others:.1f} on average."


if __name__ == "__main__":
    main()

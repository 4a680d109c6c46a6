"""A tutorial-style baseline loop, PyTorch Lightning's Trainer, and the upper bound of a step's speed.

python benchmarks/baseline.py SIDE SECONDS OVERRIDE...   print images per second; the overrides are train.py's
"""

import logging
import sys
import tempfile
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, Protocol

import torch
from hydra import compose, initialize
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from sweeper.cli import register_schema
from sweeper.config import Config, to_config
from sweeper.data.batches import Step
from sweeper.data.cache import Images, load, prepare
from sweeper.data.validation import resolve_val_size
from sweeper.training.build import TrainingComponents, build, choose_all, seeded_model
from sweeper.training.device import set_up_process

PREPARED = 8  # batches that upper_bound cycles through: in the CPU cache, like freshly made batches
WARM_UP = 2.0  # seconds; this project's first epoch does not count either
LEAST = 8  # steps that are counted, however long they take
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR = 0.0005
Loader = DataLoader[tuple[Tensor, int]]


class Ends(Protocol):
    """Decides when a loop ends."""

    def step(self) -> bool:
        """Count a step; true after the last."""


class Meter:
    """Count steps on batches of some size for some seconds after a warm-up."""

    def __init__(self, seconds: float, batch_size: int) -> None:
        self.seconds = seconds
        self.batch_size = batch_size
        self.times: list[float] = []  # at the end of each step

    def step(self) -> bool:
        """Count a step; true once the time is over."""
        self.times.append(time.perf_counter())
        return self.times[-1] > self.times[0] + WARM_UP + self.seconds and len(self.counted) > LEAST

    @property
    def counted(self) -> list[float]:
        """When the steps after the warm-up ended."""
        first = bisect_right(self.times, self.times[0] + WARM_UP)
        return self.times[first:]

    @property
    def images_per_second(self) -> float:
        counted = self.counted
        return self.batch_size * (len(counted) - 1) / (counted[-1] - counted[0])


class InMemory(Dataset[tuple[Tensor, int]]):
    """Like torchvision.datasets.CIFAR10: all images in one array; each is turned into a PIL image and transformed."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self.data = images.images.numpy().transpose(0, 2, 3, 1)  # (N, H, W, C), a view, there and here
        self.targets = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def tutorial_loader(images: Images, batch_size: int, workers: int) -> Loader:
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    return DataLoader(InMemory(images, transform), batch_size=batch_size, shuffle=True, num_workers=workers)


def baseline(model: nn.Module, loader: Loader, meter: Ends) -> None:
    """Train with a tutorial-style loop."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    running_loss = 0.0
    model.train()
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if meter.step():
                return


def lightning(model: nn.Module, loader: Loader, meter: Ends) -> None:
    """Train with Lightning's Trainer and its defaults, but no progress bar."""
    import lightning

    class Classifier(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            images, labels = batch
            loss = F.cross_entropy(self.model(images), labels)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LR)

    class Watch(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: object) -> None:
            trainer.should_stop = meter.step()

    warnings.simplefilter("ignore")  # advice on workers and the like
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"max_epochs": 1000, "enable_progress_bar": False, "default_root_dir": folder}
        lightning.Trainer(accelerator="cpu", callbacks=[Watch()], **settings).fit(Classifier(), loader)


def upper_bound(components: TrainingComponents, meter: Ends) -> None:
    """Train this project's model, memory format and optimizer on prepared batches, and do nothing else.

    The layers that are frozen in the second epoch are frozen, since that is the epoch that this is compared with.
    """
    loader, recipe = components.train_loader, components.recipe
    prepared = [(images.clone(), targets.clone()) for images, targets in islice(loader.epoch(1), PREPARED)]
    model, optimizer = components.state.model, components.state.optimizer
    model.train()
    for course in recipe.courses:
        course(model, Step(len(loader), recipe.total_steps, loader.seed))
    for images, targets in cycle(prepared):
        loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if meter.step():
            return


def config_of(overrides: list[str]) -> Config:
    """Compose the config of a run, and set its number of threads."""
    register_schema()
    with initialize(config_path="../conf", version_base="1.3"):
        config = to_config(compose("config", overrides))
    torch.set_num_threads(config.threads or torch.get_num_threads())
    return config


def main() -> None:
    """Measure one side and print its images per second."""
    side, seconds, *overrides = sys.argv[1:]
    config = config_of(overrides)
    cached = prepare(config.data)
    config = replace(config, data=resolve_val_size(config.data, cached))
    choices, dataset, meter = choose_all(config), load(cached), Meter(float(seconds), config.batch_size)
    if side == "upper_bound":
        upper_bound(build(config, choices, dataset, set_up_process(config.device, config.threads)), meter)
    else:
        model = seeded_model(config, choices, dataset)  # and nothing else that build() does
        loader = tutorial_loader(dataset.train, config.batch_size, workers=2 if side == "workers" else 0)
        (lightning if side == "lightning" else baseline)(model, loader, meter)
    print(meter.images_per_second)


if __name__ == "__main__":
    main()

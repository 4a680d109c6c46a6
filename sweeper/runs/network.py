"""The network of a finished run, built again from its record and its best.pt; its images are not needed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from sweeper.config import Config, to_config
from sweeper.data.batches import EVAL_BATCH, Normalize
from sweeper.data.cache import Cached
from sweeper.data.image_files import lenient, open_image, read_image
from sweeper.data.source import Source
from sweeper.data.value_range import ValueRange
from sweeper.errors import UserError, warn_once
from sweeper.runs import checkpoint
from sweeper.runs.directory import RunDirectory
from sweeper.runs.extensions import load_recorded
from sweeper.runs.fingerprint import changed_network
from sweeper.runs.provenance import command_of
from sweeper.runs.stored_images import Pixels
from sweeper.training.build import choose_all, seeded_model
from sweeper.training.device import choose_device
from sweeper.training.loop import forward

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How a run turns an image file into pixels. Equal readings give equal pixels.

    Attributes:
        image_size: height and width in pixels that images are resized to.
        channels: 3 for color, 1 for gray.
        resize, value_range: as of data; None where the dataset has no such setting.
    """

    image_size: int
    channels: int
    resize: str | None = None
    value_range: tuple[float, ...] | None = None

    def __call__(self, path: Path | str) -> Pixels:
        """Read a file: (C, H, W).

        Raises:
            UserError: it cannot be read as an image.
        """
        mode, values = "RGB" if self.channels == 3 else "L", ValueRange(self.value_range)
        pixels = read_image(str(path), mode, self.image_size, resize=self.resize, value_range=values)
        if values.is_dark:
            warn_once(
                log,
                "some images with more than 8 bits have no value in the upper half of their range, and are read as "
                "dark ones; a run that is trained with data.value_range=[BLACK,WHITE] reads them otherwise",
            )
        return pixels

    def whole(self, path: Path | str) -> Pixels:
        """Return the image of a file that can be read in its own size and in color: (H, W, 3)."""
        return np.asarray(open_image(str(path), "RGB", ValueRange(self.value_range)))


class TrainedNetwork(nn.Module):
    """The network of a run's best epoch, in evaluation mode, with what it needs to classify images.

    Attributes:
        run_id: of the run.
        classes: names, in the order of the logits.
        input_shape: channels, height, width.
        network: takes normalized images (B, C, H, W) float32 and returns logits (B, K).
        read: turns a file into pixels (C, H, W) uint8, as in training.
        normalize: turns pixels (B, C, H, W) uint8 into normalized images.
        autocast: the type of the run's mixed precision, or None.
    """

    def __init__(self, run: dict[str, Any], config: Config, cached: Cached, network: nn.Module, device: str) -> None:
        super().__init__()
        self.run_id, self.config = str(run["run_id"]), config
        self.classes, self.input_shape = list(cached.classes), cached.input_shape
        is_conv = any(isinstance(module, nn.Conv2d) for module in network.modules())
        memory_format = torch.channels_last if is_conv else torch.contiguous_format
        self.device = choose_device(device)
        self.network = network.requires_grad_(False).to(self.device).to(memory_format=memory_format)
        mean, std = (torch.tensor(values, device=self.device) for values in (config.data.mean, config.data.std))
        self.normalize = Normalize(mean, std, memory_format)
        self.autocast = getattr(torch, config.autocast) if config.autocast is not None else None
        values = None if config.data.value_range is None else tuple(config.data.value_range)
        self.read = Reading(self.input_shape[1], self.input_shape[0], config.data.resize, values)
        self.eval()

    def transform(self, path: Path | str) -> Tensor:
        """Read and normalize an image file: (C, H, W) float32, on the network's device.

        Raises:
            UserError: it cannot be read as an image.
        """
        with lenient():
            pixels = self.read(path).copy()
        return self.normalize(torch.from_numpy(pixels)[None].to(self.device))[0]

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (B, K) float32 of normalized images (B, C, H, W)."""
        return forward(self.network, images, self.autocast)

    @torch.inference_mode()
    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Compute the logits (N, K) of pixels (N, C, H, W) uint8, in batches."""
        batches = torch.from_numpy(np.require(pixels, requirements="W")).split(EVAL_BATCH)
        return torch.cat([self(self.normalize(batch.to(self.device))).cpu() for batch in batches]).numpy()


def load_network(record: RunDirectory, device: str = "auto") -> TrainedNetwork:
    """Build the network of a finished run and load its best.pt.

    Args:
        record: of a finished run, see sweeper.summary.find.find_finished.
        device: auto, cpu or cuda, whatever the run was trained on.

    Raises:
        UserError: another version wrote the record, the code of the network has changed since, its weights are missing
            or damaged, or there is no such device.
    """
    run = record.run() or {}
    files = load_recorded(record)
    try:
        config, cached = to_config(run["config"]), recorded_images(run["dataset"])
    except (OmegaConfBaseException, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{record.folder}/run.json was written by another version of this program") from error
    if changed := changed_network(run, files):
        raise UserError(
            f"{record.run_id} is stale: the code of its network differs ({', '.join(changed)} changed); retrain it: "
            f"{command_of(record)}"
        )
    best = load_best(record)
    with torch.random.fork_rng(devices=[]):  # weights are drawn, and replaced
        network = seeded_model(config, choose_all(config), cached)
    checkpoint.load_weights(best, network)
    return TrainedNetwork(run, config, cached, network, device)


def load_best(record: RunDirectory) -> checkpoint.Checkpoint:
    """Read a run's best.pt.

    Raises:
        UserError: it is missing or damaged.
    """
    run_id = str((record.run() or {}).get("run_id", record.run_id))  # the directory may be a copy of another name
    try:
        return checkpoint.load(record.best, run_id)
    except (FileNotFoundError, checkpoint.Damaged) as error:
        again = f"retrain with: {command_of(record)} sweep.reuse=none"
        raise UserError(f"{record.best} is missing or damaged; {again}") from error


def recorded_images(dataset: dict[str, Any]) -> Cached:
    """Return a dataset as run.json describes it, without its images.

    Raises:
        KeyError, TypeError, ValueError: it does not.
    """
    channels, height, width = map(int, dataset["input_shape"])
    classes, counts = list(map(str, dataset["classes"])), (int(dataset["train"]), int(dataset["test"]))
    source = Source(dataset["fingerprint"], no_images)
    return Cached(source, Path(), dataset["fingerprint"], classes, (channels, height, width), *counts)


def no_images(allocate: Callable[..., Any]) -> list[str]:
    raise UserError("a record has no images")

"""From resident uint8 images to normalized, shuffled, augmented batches.

An epoch's order and its augmentation follow from (seed, epoch) alone, so that a run can resume at any batch. Images are
gathered and normalized in chunks of several batches: most of the work that an image needs is the same for a batch and
for four.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sweeper.data.cache import Images
from sweeper.data.draws import changes_pixels, num_draws

CHUNK = 256  # images prepared at once
# Pixels augmented at once, and on a GPU evaluated at once, where this is more: many functions are called, for few
# pixels as for many.
CHUNK_PIXELS = 3 << 20
EVAL_BATCH = 125  # images per batch in evaluation; more gain nothing on a CPU and take memory


def derived_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for a purpose, such as the order of epoch 3; different purposes give unrelated streams."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, *purpose: object) -> torch.Generator:
    """Return torch's CPU generator for a purpose, see `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


@dataclass(frozen=True)
class Step:
    """Where training stands at a batch: what mixing and courses may depend on.

    Attributes:
        index: optimizer steps done, of all `total` that the schedule counts.
    """

    index: int
    total: int
    seed: int

    def generator(self, name: str) -> torch.Generator:
        """Return a generator for the draws of this step by the trick of this name."""
        return generator_for(self.seed, "step", name, self.index)


@dataclass
class Normalize:
    """uint8 pixels to float32: scale to [0, 1], then (x - mean) / std per channel."""

    mean: Tensor  # (C,)
    std: Tensor  # (C,)
    memory_format: torch.memory_format = torch.contiguous_format

    def __post_init__(self) -> None:
        self.scale = (1 / (255 * self.std))[:, None, None]
        self.shift = (-self.mean / self.std)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        pixels = images.to(torch.float32).mul_(self.scale).add_(self.shift)
        return pixels.contiguous(memory_format=self.memory_format)  # last: over three channels, inner loops are short

    @property
    def mean_pixel(self) -> Tensor:
        return (self.mean * 255).round().to(torch.uint8)


class Identity:
    """Instead of Normalize, for features, which are the input of the network's last layer."""

    mean_pixel = torch.zeros(1, dtype=torch.uint8)

    def __call__(self, features: Tensor) -> Tensor:
        return features


@dataclass
class TrainLoader:
    """The training batches of a run, with a fresh order and fresh augmentation every epoch.

    Attributes:
        indices: (N,) int64, of the training images within `data`.
        augmentation: the steps by name, in the order in which they are applied, see sweeper.data.augmentation.
        moves: for steps that move targets, a function of targets and draws, see sweeper.data.mask_moves.
    """

    data: Images
    indices: Tensor
    batch_size: int
    seed: int
    transform: Normalize | Identity
    augmentation: Mapping[str, partial[Any]] = field(default_factory=dict)
    moves: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Batches per epoch. The last may be smaller, but a last batch of a single image is dropped (batch norm)."""
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole + (rest > 1)

    @property
    def num_images(self) -> int:
        """Images per epoch."""
        return min(len(self.indices), len(self) * self.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the epoch's batches from index `first` on: images (B, C, H, W) float32, targets (B,) int64.

        Targets are those of the data: masks (B, H, W) uint8 in their place.
        """
        device = (
            self.data.images.device
        )  # where all that an epoch needs is brought at its start: a GPU then never waits
        order = self.indices[self.order(epoch)].to(device)
        steps = {name: step for name, step in self.augmentation.items() if changes_pixels(step)}
        draws = {name: self.draws(name, step, epoch).to(device) for name, step in steps.items()}
        mean_pixel = self.transform.mean_pixel
        size = max(CHUNK, CHUNK_PIXELS // self.data.images[0].numel()) if steps else CHUNK
        batches_per_chunk = max(1, size // self.batch_size)
        for start in range(first - first % batches_per_chunk, len(self), batches_per_chunk):
            stop = min(start + batches_per_chunk, len(self))
            chunk = slice(start * self.batch_size, stop * self.batch_size)
            chosen = order[chunk]
            pixels, targets = self.data.images.index_select(0, chosen), self.data.labels[chosen]
            for name, step in steps.items():
                pixels = step(pixels, draws[name][chunk], mean_pixel)
                if name in self.moves:
                    targets = self.moves[name](targets, draws[name][chunk])
            images = self.transform(pixels)
            for batch in range(max(start, first), stop):
                part = slice((batch - start) * self.batch_size, (batch - start + 1) * self.batch_size)
                yield images[part], targets[part]

    def order(self, epoch: int) -> Tensor:
        """Return an epoch's images in their order: (N,) int64, positions in `indices`."""
        order = torch.randperm(len(self.indices), generator=generator_for(self.seed, "order", epoch))
        for step in self.augmentation.values():
            if not changes_pixels(step):
                order = step(order, self.batch_size)
        return order

    def draws(self, name: str, step: partial[Any], epoch: int) -> Tensor:
        """Draw a step's uniform numbers for an epoch's images in their order: (N, D).

        A step with a setting `alternating` draws once per image for the whole training; in every other epoch its
        numbers are moved by half, so that what half of the images underwent in one epoch, the others do in the next.
        """
        shape = (len(self.indices), num_draws(step))
        if "alternating" not in step.keywords.values():
            return torch.rand(shape, generator=generator_for(self.seed, "augmentation", name, epoch))
        of_images = torch.rand(shape, generator=generator_for(self.seed, "augmentation", name))
        return (of_images[self.order(epoch)] - epoch % 2 / 2) % 1


def eval_batches(data: Images, indices: Tensor, transform: Normalize | Identity) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images in their order, in large batches: images (B, C, H, W) float32, targets (B,) int64."""
    size = max(EVAL_BATCH, CHUNK_PIXELS // data.images[0].numel()) if data.images.is_cuda else EVAL_BATCH
    for chosen in torch.split(indices.to(data.images.device), size):
        yield transform(data.images.index_select(0, chosen)), data.labels[chosen]

"""From resident uint8 images to normalised, shuffled, augmented batches.

What an epoch draws, its order and its augmentation, follows from (seed, epoch) alone, so that a run can go on at any
batch. Images are gathered and normalised in chunks of several batches: most of the work an image needs is the same
for one batch and for four.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.data.cache import Images

CHUNK = 256  # images prepared at once
EVAL_BATCH = 125  # images a batch in evaluation; more gain nothing on a CPU and take memory


def derived_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose, such as the order of epoch 3; different purposes give unrelated streams."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass
class Normalise:
    """uint8 pixels to float32: scaled to [0, 1], then (x - mean) / std per channel."""

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


class AsTheyAre:
    """In place of Normalise, for features, which are what the network's last layer wants."""

    mean_pixel = torch.zeros(1, dtype=torch.uint8)

    def __call__(self, features: Tensor) -> Tensor:
        return features


@dataclass
class TrainBatches:
    """The training images of a run, a fresh order and fresh augmentation every epoch."""

    data: Images
    indices: Tensor  # (N,), the training images' places in data
    batch_size: int
    seed: int
    normalise: Normalise | AsTheyAre
    augment: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __len__(self) -> int:
        """Batches an epoch. The last may be smaller, but one of a single image, useless to batch norm, is left out."""
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole + (rest > 1)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches (images (B, C, H, W) float32, labels (B,)) from batch number `first` on."""
        num = len(self.indices)
        order = torch.randperm(num, generator=self.generator("order", epoch))
        draws = torch.rand(num, 5, generator=self.generator("augmentation", epoch))
        mean_pixel = self.normalise.mean_pixel
        batches_a_chunk = max(1, CHUNK // self.batch_size)
        device = self.data.images.device
        for start in range(first - first % batches_a_chunk, len(self), batches_a_chunk):
            stop = min(start + batches_a_chunk, len(self))
            places = slice(start * self.batch_size, stop * self.batch_size)
            chosen = self.indices[order[places]].to(device)
            pixels = self.augment(self.data.images.index_select(0, chosen), draws[places].to(device), mean_pixel)
            images, labels = self.normalise(pixels), self.data.labels[chosen]
            for batch in range(max(start, first), stop):
                part = slice((batch - start) * self.batch_size, (batch - start + 1) * self.batch_size)
                yield images[part], labels[part]

    def generator(self, *purpose: object) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.seed, *purpose))


def eval_batches(data: Images, indices: Tensor, normalise: Normalise | AsTheyAre) -> Iterator[tuple[Tensor, Tensor]]:
    """The images in their order, in large batches: (images (B, C, H, W) float32, labels (B,))."""
    for chosen in torch.split(indices.to(data.images.device), EVAL_BATCH):
        yield normalise(data.images.index_select(0, chosen)), data.labels[chosen]

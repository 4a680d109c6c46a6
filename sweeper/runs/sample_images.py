"""Choose training images of a run, and augment them as the run does: for pictures, so that a setting can be seen."""

from itertools import count

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.data.batches import TrainLoader
from sweeper.data.draws import changes_pixels
from sweeper.runs.samples import Samples

MOST = 20  # images
FEW_CLASSES = 5  # up to so many have two images each
SCENES = 6  # images with masks
VERSIONS = 2  # of each image
LARGEST = 64  # pixels of a side


def sample_images(loader: TrainLoader) -> Samples:
    """Return some images of a run's epochs, of different classes, as the network is shown them for the first times.

    The versions of an image are those of its first epochs, with the draws that it has there; where a batch contains
    copies of an image (augmentation.repeats), those of its copies. The run's random draws do not change. Mixing, which
    comes after augmentation, is left out.
    """
    chosen = choose(loader)
    indices = loader.indices[chosen]
    steps = {name: step for name, step in loader.augmentation.items() if changes_pixels(step)}
    data = loader.data
    has_masks = data.labels.ndim == 3
    if not steps:
        shape = data.images.shape[1:] if data.images.ndim == 4 else (1, 1, 1)  # features have no pixels
        nothing = torch.empty((len(indices), 0, *shape), dtype=torch.uint8)
        return as_samples(indices, nothing, None)
    shown = torch.empty((len(indices), VERSIONS, *data.images.shape[1:]), dtype=torch.uint8)
    masks = torch.empty((len(indices), VERSIONS, *data.labels.shape[1:]), dtype=torch.uint8) if has_masks else None
    versions = torch.zeros(len(indices), dtype=torch.int64)
    for epoch in count(1):
        order = loader.order(epoch)
        rows = torch.isin(order, chosen).nonzero()[:, 0]
        which = (order[rows][:, None] == chosen).int().argmax(1)  # of the chosen
        where = indices[which].to(data.images.device)
        pixels, targets = data.images[where], data.labels[where]
        for name, step in steps.items():
            draws = loader.draws(name, step, epoch)[rows].to(pixels.device)
            pixels = step(pixels, draws, loader.transform.mean_pixel)
            if name in loader.moves:
                targets = loader.moves[name](targets, draws)
        for row, image in enumerate(which.tolist()):
            if versions[image] < VERSIONS:
                shown[image, versions[image]] = pixels[row].cpu()
                if masks is not None:
                    masks[image, versions[image]] = targets[row].cpu()
                versions[image] += 1
        if bool((versions == VERSIONS).all()):
            break
    return as_samples(indices, shown, masks)


def choose(loader: TrainLoader) -> Tensor:
    """Return the positions of some images in `loader.indices`: the first of each class of those in the first epoch."""
    positions: Tensor = loader.order(1).unique()
    positions = positions[loader.indices[positions].argsort()]
    labels = loader.data.labels.cpu()[loader.indices[positions]]
    if labels.ndim > 1:
        return positions[:SCENES]
    classes = labels.unique()[:MOST].tolist()
    each = 2 if len(classes) <= FEW_CLASSES else 1
    return torch.cat([positions[labels == index][:each] for index in classes])


def as_samples(indices: Tensor, shown: Tensor, masks: Tensor | None) -> Samples:
    """Return samples of at most LARGEST pixels a side."""
    height, width = shown.shape[-2:]
    scale = min(1.0, LARGEST / max(height, width))
    size = max(1, round(scale * height)), max(1, round(scale * width))
    if masks is None:
        masks = torch.empty((*shown.shape[:2], 0, 0), dtype=torch.uint8)
    elif scale < 1:
        masks = F.interpolate(masks.float(), size, mode="nearest-exact").to(torch.uint8)
    if scale < 1:
        flat = shown.flatten(0, 1).float()
        small = F.interpolate(flat, size, mode="area") if len(flat) else flat.new_empty((0, flat.shape[1], *size))
        shown = small.round().to(torch.uint8).unflatten(0, shown.shape[:2])
    return Samples(indices.numpy(), shown.numpy(), masks.numpy())

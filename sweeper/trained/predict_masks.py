"""Masks of image files, as a network of segmentation or the mean of several predicts them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sweeper.data.image_files import upright
from sweeper.data.source import UNLABELED
from sweeper.errors import UserError, enumerate_words
from sweeper.files import writing
from sweeper.runs.measures import probabilities
from sweeper.runs.network import TrainedNetwork
from sweeper.summary.mask_pictures import overlaid, palette
from sweeper.trained.images import read_images
from sweeper.trained.predict import check_classes

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PredictedMasks:
    """What was written.

    Attributes:
        shares: a row for each readable file, in the order given, by its path; a column for each class, the fraction of
            its pixels.
        masks: path of each mask, by that of its image.
        unreadable: the reason for each other file.
    """

    shares: pd.DataFrame
    masks: dict[Path, Path] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


def check_tasks(networks: Sequence[TrainedNetwork]) -> bool:
    """Return whether the networks are of segmentation.

    Raises:
        UserError: only some of them are.
    """
    tasks = {network.config.task.name: network.run_id for network in networks}
    if len(tasks) > 1:
        raise UserError(
            f"{enumerate_words([*tasks.values()])} have different tasks, {enumerate_words([*tasks])}; predict with one"
        )
    return "segmentation" in tasks


def predict_masks(
    networks: Sequence[TrainedNetwork],
    files: Sequence[Path],
    folder: Path,
    after: Callable[[int], None] = lambda done: None,
) -> PredictedMasks:
    """Write a palette PNG of class indices and an overlay for each image file, both of the image's size.

    Of several networks, the mean of their probabilities decides. Pixels that data.resize=crop cuts off are unlabeled
    (255). A file that cannot be read is left out.

    Args:
        networks: of the same classes.
        files: image files, see sweeper.trained.images.find_images.
        folder: gets NAME.png and NAME_overlay.png.
        after: called with the number of files that were done since the last call.

    Raises:
        UserError: the networks have different classes, or a file cannot be written.
    """
    check_classes(networks)
    classes = networks[0].classes
    readings = list(dict.fromkeys(network.read for network in networks))
    names = iter(unique_names(files))
    shares, masks, unreadable, done = [], dict[Path, Path](), dict[Path, str](), 0
    for chunk in read_images(files, readings):
        for file, image in zip(files[done : done + len(chunk)], chunk, strict=True):
            name = next(names)
            if isinstance(image, UserError):
                unreadable[file] = str(image)
            else:
                each = [probabilities(network.logits(image[network.read][None])) for network in networks]
                mask = np.mean(each, axis=0)[0].argmax(0).astype(np.uint8)
                masks[file] = write_mask(file, mask, networks[0].config.data.resize, len(classes), folder / name)
                shares.append(np.bincount(mask.ravel(), minlength=len(classes)) / mask.size)
            after(1)
        done += len(chunk)
    table = pd.DataFrame(shares, pd.Index(map(str, masks), name="image"), classes)
    return PredictedMasks(table, masks, unreadable)


def unique_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each file, its own without the suffix, with a number where another has it."""
    names: dict[str, None] = {}
    for file in files:
        name, number = file.stem, 2
        while name in names:
            name, number = f"{file.stem}_{number}", number + 1
        names[name] = None
    return list(names)


def write_mask(file: Path, mask: Pixels, resize: str | None, num_classes: int, target: Path) -> Path:
    """Write the mask of an image file in the image's size, and the overlay.

    Args:
        mask: (H, W), of the resized image.
        resize: how it was resized.
        target: path of the mask without its suffix.
    """
    with Image.open(file) as image:
        image.load()
        pixels = upright(image, image).convert("RGB")
    whole = as_large(mask, pixels.size, resize)
    picture = Image.fromarray(whole, "P")
    picture.putpalette(palette(num_classes).tobytes())
    over = Image.fromarray(overlaid(np.asarray(pixels).transpose(2, 0, 1), whole, num_classes))
    path = target.with_name(f"{target.name}.png")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        over.save(target.with_name(f"{target.name}_overlay.png"))
    return path


def as_large(mask: Pixels, size: tuple[int, int], resize: str | None) -> Pixels:
    """Return the mask (H, W) of a resized image in the image's size (width, height): see `as_array` of image_files."""
    width, height = size
    side, image = mask.shape[0], Image.fromarray(mask)
    if resize == "pad" and width != height:
        scale = side / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = round((side - inner[0]) / 2), round((side - inner[1]) / 2)
        image = image.crop((left, top, left + inner[0], top + inner[1]))
    if resize == "crop" and width != height:
        shorter = min(width, height)
        whole = np.full((height, width), UNLABELED, np.uint8)
        left, top = round((width - shorter) / 2), round((height - shorter) / 2)
        part = image.resize((shorter, shorter), Image.Resampling.NEAREST)
        whole[top : top + shorter, left : left + shorter] = np.asarray(part)
        return whole
    return np.asarray(image.resize(size, Image.Resampling.NEAREST))

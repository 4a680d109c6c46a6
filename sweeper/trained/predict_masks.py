"""Masks of image files, as a network of segmentation or the mean of several predicts them."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sweeper.data.source import UNLABELED
from sweeper.errors import UserError, enumerate_words
from sweeper.files import write_bytes, write_text, writing
from sweeper.runs.measures import probabilities
from sweeper.runs.naming import ID_DIGITS
from sweeper.runs.network import TrainedNetwork
from sweeper.summary.export import as_csv
from sweeper.summary.mask_pictures import overlaid, palette
from sweeper.trained.images import read_images
from sweeper.trained.predict import check_classes

Pixels = NDArray[np.uint8]
MOST_NAMED = 8  # runs in the name of a folder
TABLE = "masks.csv"  # of the classes' fractions of each image


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
        networks: of the same classes, which read images alike.
        files: image files, see sweeper.trained.images.find_images.
        folder: gets NAME.png and NAME_overlay.png, and TABLE: image, mask, and the fraction of each class.
        after: called with the number of files that were done since the last call.

    Raises:
        UserError: the networks have different classes or readings, a file would be written over an image that is to
            be predicted, or cannot be written.
    """
    check_classes(networks)
    check_geometry(networks)
    classes = networks[0].classes
    readings = list(dict.fromkeys(network.read for network in networks))
    targets = iter(targets_of(files, folder))
    shares, masks, unreadable, done = [], dict[Path, Path](), dict[Path, str](), 0
    for chunk in read_images(files, readings):
        for file, image in zip(files[done : done + len(chunk)], chunk, strict=True):
            target = next(targets)
            if isinstance(image, UserError):
                unreadable[file] = str(image)
            else:
                each = [probabilities(network.logits(image[network.read][None])) for network in networks]
                mask = np.mean(each, axis=0)[0].argmax(0).astype(np.uint8)
                pixels = networks[0].read.whole(file)
                whole = as_large(mask, (pixels.shape[1], pixels.shape[0]), networks[0].read.resize)
                write_mask(whole, pixels, len(classes), *target)
                masks[file] = target[0]
                counts = np.bincount(whole[whole != UNLABELED], minlength=len(classes))
                shares.append(counts / counts.sum())
            after(1)
        done += len(chunk)
    table = pd.DataFrame(shares, pd.Index(map(str, masks), name="image"), classes)
    if masks:
        names = pd.DataFrame({"image": list(map(str, masks)), "mask": [path.name for path in masks.values()]})
        fractions = table.reset_index(drop=True).add_prefix("fraction[").add_suffix("]")
        write_text(folder / TABLE, as_csv(pd.concat([names, fractions], axis=1)), sync=False)
    return PredictedMasks(table, masks, unreadable)


def folder_name(run_ids: Sequence[str]) -> str:
    """Return the folder of the masks of a run, or of an ensemble: the last digits of its runs, or of many a digest."""
    if len(run_ids) > MOST_NAMED:
        digest = hashlib.sha256(" ".join(run_ids).encode()).hexdigest()[:ID_DIGITS]
        return f"{len(run_ids)}-runs-{digest}"
    return run_ids[0] if len(run_ids) == 1 else "-".join(run_id[-ID_DIGITS:] for run_id in run_ids)


def check_geometry(networks: Sequence[TrainedNetwork]) -> None:
    """Check that pixels of the networks' masks are the same places of an image.

    Raises:
        UserError: they resize images differently.
    """
    forms = {f"data.image_size={one.read.image_size} data.resize={one.read.resize or 'squeeze'}" for one in networks}
    if len(forms) > 1:
        raise UserError(
            f"the runs resize images differently, {enumerate_words(sorted(forms))}, so that their masks cannot be "
            "averaged; predict with runs that do it alike"
        )


def targets_of(files: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    """Return the paths of the mask and the overlay of each file: its name, with a number where another has it.

    Raises:
        UserError: one of them is an image that is to be predicted.
    """
    taken, inputs = set[str](), {file.resolve() for file in files}
    targets = []
    for file in files:
        name, number = file.stem, 2
        while taken & {name, f"{name}_overlay"}:
            name, number = f"{file.stem}_{number}", number + 1
        taken |= {name, f"{name}_overlay"}
        targets.append((folder / f"{name}.png", folder / f"{name}_overlay.png"))
        if over := next((path for path in targets[-1] if path.resolve() in inputs), None):
            raise UserError(f"--output {folder}: {over} is an image to predict, and would be overwritten; name another")
    return targets


def write_mask(mask: Pixels, pixels: Pixels, num_classes: int, path: Path, overlay: Path) -> None:
    """Write the mask (H, W) of an image (H, W, 3), and the overlay.

    Raises:
        WriteError: one of them cannot be written.
    """
    picture = Image.fromarray(mask, "P")
    picture.putpalette(palette(num_classes).tobytes())
    over = Image.fromarray(overlaid(pixels.transpose(2, 0, 1), mask, num_classes))
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    for image, target in ((picture, path), (over, overlay)):
        content = io.BytesIO()
        image.save(content, "PNG")
        write_bytes(target, content.getvalue(), sync=False)


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

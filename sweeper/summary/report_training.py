"""The report's training images, each with what the best run's augmentation makes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeper.runs.directory import RunDirectory
from sweeper.runs.samples import Samples, read_samples
from sweeper.runs.stored_images import StoredImages, find_test_images, find_train_images
from sweeper.summary.columns import format_override
from sweeper.summary.mask_pictures import side_by_side
from sweeper.summary.report_question import nested
from sweeper.summary.report_samples import GAP, encode
from sweeper.summary.wrong_images import as_pixels, class_names

SIDE = 64  # pixels of an image; smaller ones are drawn larger

Pixels = NDArray[np.uint8]


def missing_images(best: RunDirectory | None) -> str:
    """Return why a run's images cannot be shown, or ''."""
    if best is None:
        return ""
    needed = [find_test_images(best), *([find_train_images(best)] if best.samples.is_file() else [])]
    if all(images is not None for images in needed):
        return ""
    cache = nested(best.run(), "config", "data", "cache")
    where = "" if cache is None else f", {cache}"
    return (
        f"The images of the best run are not shown, since the folder of decoded images that it names{where} does not "
        f"contain them; python -m sweeper evaluate {best.run_id} decodes them again"
    )


def training(best: RunDirectory | None) -> dict[str, Any] | None:
    """Return training images of a run, each above what augmentation makes of it.

    None where the run kept no samples, or where the cache of decoded images is not here.
    """
    samples = None if best is None else read_samples(best.samples)
    stored = None if best is None or samples is None else find_train_images(best)
    if best is None or samples is None or stored is None or not len(samples.indices):
        return None
    if not samples.shown.shape[1]:  # features of a frozen backbone have not the images' size
        samples = replace(samples, shown=np.empty((len(samples.indices), 0, *stored.images.shape[1:]), np.uint8))
    if not is_of(samples, stored):
        return None
    has_masks = stored.labels.ndim > 1
    names = class_names(best, known_classes(best, stored))
    images = []
    for row, index in enumerate(samples.indices):
        parts = tiles(samples, row, stored.images[index], stored.labels[index], len(names))
        picture, scale = column(parts), max(1, SIDE // len(parts[0]))
        name = "" if has_masks else names[int(stored.labels[index])]
        alt = "training image with its mask" if has_masks else f"training image of {name}"
        size = {"width": scale * picture.width, "height": scale * picture.height}
        images.append({"name": name, "alt": alt, "source": encode(picture), **size})
    settings = nested(best.run(), "effective", "augmentation")
    given = settings.items() if isinstance(settings, dict) else ()
    return {
        "images": images,
        "has_masks": has_masks,
        "versions": samples.shown.shape[1],
        "steps": ", ".join(f"{name}={format_override(value)}" for name, value in given),
    }


def is_of(samples: Samples, stored: StoredImages) -> bool:
    """Return whether samples may be of these images: a file may be another run's, or be written by another program."""
    channels, *size = samples.shown.shape[2:]
    is_whole = channels == stored.images.shape[1] in (1, 3) and min(size) > 0
    if stored.labels.ndim > 1 and samples.shown.shape[1]:
        is_whole = is_whole and list(samples.masks.shape[2:]) == size
    return bool(is_whole and 0 <= samples.indices.min() <= samples.indices.max() < len(stored.labels))


def known_classes(best: RunDirectory, stored: StoredImages) -> int:
    """Return the number of a run's classes: those that it records, or more where labels are higher."""
    known = nested(best.run(), "dataset", "classes")
    recorded = len(known) if isinstance(known, list) else 0
    return recorded if stored.labels.ndim > 1 else max(recorded, int(stored.labels.max()) + 1)


def tiles(samples: Samples, row: int, image: Pixels, label: NDArray[Any], num_classes: int) -> list[Pixels]:
    """Return an image and its versions, of one size (H, W, 3); with masks, beside their colors (H, 2 W, 3)."""
    height, width = samples.shown.shape[3:]
    found = [(resized(as_pixels(image), height, width), label)]
    found += list(zip(map(as_pixels, samples.shown[row]), samples.masks[row], strict=True))
    if label.ndim == 0:
        return [pixels for pixels, _ in found]
    masks = [resized(mask.astype(np.uint8), height, width, Image.Resampling.NEAREST) for _, mask in found]
    whole = [pixels.transpose(2, 0, 1) for pixels, _ in found]
    return [side_by_side(pixels, [mask], num_classes) for pixels, mask in zip(whole, masks, strict=True)]


def resized(pixels: Pixels, height: int, width: int, how: Image.Resampling = Image.Resampling.BOX) -> Pixels:
    """Return an image (H, W, 3) or a mask (H, W) of this size."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how))


def column(parts: Sequence[Pixels]) -> Image.Image:
    """Return parts (H, W, 3) below each other, with a larger gap after the first, which is the image as it is."""
    height, width = parts[0].shape[:2]
    tops = [number * (height + GAP) + (GAP if number else 0) for number in range(len(parts))]
    sheet = Image.new("RGBA", (width, tops[-1] + height))
    for top, part in zip(tops, parts, strict=True):
        sheet.paste(Image.fromarray(np.ascontiguousarray(part)), (0, top))
    return sheet

"""The report's section on the best run's most confident mistakes: thumbnails inside the page."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import task_of
from sweeper.runs.stored_images import StoredImages, find_test_images
from sweeper.summary.best import best_run
from sweeper.summary.mask_pictures import palette, side_by_side
from sweeper.summary.worst_masks import find_worst
from sweeper.summary.wrong_images import as_pixels, find_mistakes

SHOWN = 24  # images
SHOWN_MASKS = 12  # images with their masks
MOST_CLASSES = 24  # in a legend
KEY = 10  # pixels of a color in it
LARGEST = 96  # pixels of a side; a thumbnail takes some 3 kB at 32


def mistakes(frame: pd.DataFrame, records: Sequence[RunDirectory]) -> dict[str, Any] | None:
    """Return the test images that the best run gets most confidently wrong, see sweeper.summary.best.

    None where it gets all right, or where its predictions or the cache of decoded images are not here.
    """
    run_id = best_run(frame)
    best = next((record for record in records if record.run_id == run_id), None)
    stored = None if best is None else find_test_images(best)
    if best is None or stored is None:
        return None
    if task_of((best.run() or {}).get("effective")) == "segmentation":
        return worst_masks(best, stored)
    try:
        found = find_mistakes(best, stored)
    except UserError:
        return None
    rows = found.frame.head(SHOWN).to_dict(orient="records")
    images = [{**row, "source": as_source(found.images[row["image"]])} for row in rows]
    counts = {"wrong": len(found.frame), "tested": found.num_images}
    return {"run_id": best.run_id, **counts, "images": images, "legend": []} if images else None


def worst_masks(record: RunDirectory, stored: StoredImages) -> dict[str, Any] | None:
    """Return the test images of the lowest mIoU, each with its mask and the predicted one; None without predictions."""
    try:
        found = find_worst(record, stored)
    except UserError:
        return None
    shown: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()}
        for row in found.frame.head(SHOWN_MASKS).to_dict(orient="records")
    ]
    for row in shown:
        masks = [found.masks[row["image"]], found.predicted[row["image"]]]
        triple = side_by_side(found.images[row["image"]], masks, len(found.classes))
        row["source"] = as_source(triple.transpose(2, 0, 1), (3 * LARGEST, LARGEST))
    colors = palette(len(found.classes))[: len(found.classes), :, None, None].repeat(KEY, 2).repeat(KEY, 3)
    legend = list(zip(found.classes, map(as_source, colors), strict=True))[:MOST_CLASSES]
    return {"run_id": record.run_id, "tested": len(found.frame), "images": shown, "legend": legend}


def as_source(image: NDArray[np.uint8], largest: tuple[int, int] = (LARGEST, LARGEST)) -> str:
    """Return an image (C, H, W) as the address of a PNG inside the page, large ones made smaller."""
    picture = Image.fromarray(np.ascontiguousarray(as_pixels(image)))
    picture.thumbnail(largest)
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

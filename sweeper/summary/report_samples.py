"""The report's pictures: some images of each class, and the best run's most confident mistakes, inside the page."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.stored_images import StoredImages, find_test_images
from sweeper.summary.report_question import nested
from sweeper.summary.wrong_images import as_pixels, class_names, find_mistakes

SHOWN = 24  # mistakes
SAMPLES = 6  # images of a class
MAX_CLASSES = 20  # that have samples
LARGEST, SMALL = 96, 40  # pixels of a side of a mistake, of a sample; a thumbnail takes some 3 kB at 32
GAP = 2  # pixels between samples


def mistakes(best: RunDirectory | None) -> dict[str, Any] | None:
    """Return the test images that a run gets most confidently wrong.

    None where it gets all right, or where its predictions or the cache of decoded images are not here.
    """
    stored = None if best is None else find_test_images(best)
    if best is None or stored is None:
        return None
    try:
        found = find_mistakes(best, stored)
    except UserError:
        return None
    rows = found.frame.head(SHOWN).to_dict(orient="records")
    images = [{**row, "source": as_source(found.images[row["image"]])} for row in rows]
    counts = {"wrong": len(found.frame), "tested": found.num_images}
    return {"run_id": best.run_id, **counts, "images": images} if images else None


def samples(best: RunDirectory | None) -> list[dict[str, Any]]:
    """Return for each class a strip of its first test images; none where they are not here, of too many classes,
    or have masks.
    """
    stored = None if best is None else find_test_images(best)
    if best is None or stored is None or not len(stored.labels) or stored.labels.ndim > 1:
        return []
    known, least = nested(best.run(), "dataset", "classes"), int(stored.labels.max()) + 1
    names = class_names(best, max(least, len(known) if isinstance(known, list) else 0))
    if len(names) > MAX_CLASSES:
        return []
    strips = []
    for index, name in enumerate(names):
        rows = np.flatnonzero(stored.labels == index)[:SAMPLES]
        if len(rows):
            strips.append({"name": name, "images": len(rows), **strip(stored, rows)})
    return strips


def strip(stored: StoredImages, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return images side by side as the address of one PNG, with its size."""
    pictures = [thumbnail(stored.images[row], SMALL) for row in rows]
    width, height = pictures[0].size
    sheet = Image.new("RGBA", (len(pictures) * (width + GAP) - GAP, height))
    for position, picture in enumerate(pictures):
        sheet.paste(picture, (position * (width + GAP), 0))
    scale = max(1, 48 // height)
    return {"source": encode(sheet), "width": scale * sheet.width, "height": scale * sheet.height}


def thumbnail(image: NDArray[np.uint8], largest: int) -> Image.Image:
    """Return an image (C, H, W), of at most so many pixels a side."""
    picture = Image.fromarray(np.ascontiguousarray(as_pixels(image)))
    picture.thumbnail((largest, largest))
    return picture


def as_source(image: NDArray[np.uint8]) -> str:
    """Return an image (C, H, W) as the address of a PNG inside the page, large ones made smaller."""
    return encode(thumbnail(image, LARGEST))


def encode(picture: Image.Image) -> str:
    """Return a picture as the address of a PNG inside the page."""
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

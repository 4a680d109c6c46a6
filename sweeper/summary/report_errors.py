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
from sweeper.runs.stored_images import find_test_images
from sweeper.summary.best import best_run
from sweeper.summary.wrong_images import as_pixels, find_mistakes

SHOWN = 24  # images
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
    try:
        found = find_mistakes(best, stored)
    except UserError:
        return None
    rows = found.frame.head(SHOWN).to_dict(orient="records")
    images = [{**row, "source": as_source(found.images[row["image"]])} for row in rows]
    counts = {"wrong": len(found.frame), "tested": found.num_images}
    return {"run_id": best.run_id, **counts, "images": images} if images else None


def as_source(image: NDArray[np.uint8]) -> str:
    """Return an image (C, H, W) as the address of a PNG inside the page, large ones made smaller."""
    picture = Image.fromarray(np.ascontiguousarray(as_pixels(image)))
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

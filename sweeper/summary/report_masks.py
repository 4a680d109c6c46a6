"""The report's pictures of segmentation: the test images that the best run predicts worst, with their masks."""

from typing import Any

from PIL import Image

from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import task_of
from sweeper.runs.stored_images import find_test_images
from sweeper.summary.mask_pictures import palette, side_by_side
from sweeper.summary.report_samples import LARGEST, encode
from sweeper.summary.worst_masks import find_worst

SHOWN = 12  # images with their masks
MAX_CLASSES = 24  # in the legend
KEY = 10  # pixels of a color in it


def worst_masks(best: RunDirectory | None) -> dict[str, Any] | None:
    """Return the test images of the lowest mIoU of a run of segmentation, each beside its mask and the predicted one.

    None of another task, or where its predictions or the cache of decoded images are not here.
    """
    if best is None or task_of((best.run() or {}).get("effective")) != "segmentation":
        return None
    stored = find_test_images(best)
    try:
        found = None if stored is None else find_worst(best, stored)
    except UserError:
        return None
    if found is None:
        return None
    images = []
    for row in found.frame.head(SHOWN).to_dict(orient="records"):
        masks = [found.masks[row["image"]], found.predicted[row["image"]]]
        triple = Image.fromarray(side_by_side(found.images[row["image"]], masks, len(found.classes)))
        triple.thumbnail((3 * LARGEST, LARGEST))
        images.append({**row, "source": encode(triple)})
    colors = palette(len(found.classes)).tolist()
    legend = [
        (name, encode(Image.new("RGB", (KEY, KEY), tuple(color))))
        for name, color in list(zip(found.classes, colors, strict=False))[:MAX_CLASSES]
    ]
    return {"run_id": best.run_id, "tested": len(found.frame), "images": images, "legend": legend}

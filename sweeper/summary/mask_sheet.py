"""A contact sheet of segmentation: test images, their masks and the predicted masks, with a legend of the classes."""

from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sweeper.summary.learning_curves import cut
from sweeper.summary.mask_pictures import palette, side_by_side
from sweeper.summary.output import printable
from sweeper.summary.sheet import NAME_LENGTH, blank, write_sheet
from sweeper.summary.worst_masks import WorstMasks

COLUMNS, CELL, CAPTION, TITLE = 3, 1.1, 0.25, 0.45  # triples a row; inches of a picture, its caption and the title
MOST_CLASSES = 24  # in the legend


def write_mask_sheet(path: Path, worst: WorstMasks, top: int) -> None:
    """Draw the first of the images into a PNG file.

    Raises:
        UserError: the path is not a file's.
    """
    write_sheet(path, partial(draw, worst, top))


def draw(worst: WorstMasks, top: int) -> Figure:
    """Draw rows of triples, each above its scores: image, true mask, predicted mask."""
    rows: list[Any] = list(worst.frame.head(top).itertuples(index=False))
    lines = -(-len(rows) // COLUMNS)
    legend = 0.2 * (1 + min(len(worst.classes), MOST_CLASSES) // 9)
    width, height = COLUMNS * (3 * CELL + 0.1), lines * (CELL + CAPTION) + TITLE + legend
    figure, axes = blank(width, height)
    for position, row in enumerate(rows):
        left, line = position % COLUMNS * (3 * CELL + 0.1), position // COLUMNS
        bottom = height - TITLE - line * (CELL + CAPTION) - CELL
        masks = [worst.masks[row.image], worst.predicted[row.image]]
        picture = side_by_side(worst.images[row.image], masks, len(worst.classes))
        axes.imshow(picture, extent=(left + 0.05, left + 3 * CELL, bottom, bottom + CELL), interpolation="nearest")
        name = cut(str(row.file), 3 * NAME_LENGTH) or f"test image {row.image}"
        scores = f"mIoU {row.miou:.3f}, pixel acc {row.pixel_acc:.3f}"
        if worst.true is not None:
            scores = f"{cut(worst.by, NAME_LENGTH)} {row.iou:.3f}, {scores}"
        axes.text(left + 0.05, bottom - 0.03, f"{name}: {scores}", va="top")
    title = (
        f"{printable(worst.run_id)}: the worst {len(rows)} of {len(worst.frame):,} test images by {printable(worst.by)}"
    )
    axes.text(0.05, height - 0.08, f"{title}\nimage, true mask, predicted mask", va="top")
    colors = palette(len(worst.classes)) / 255
    names = [cut(printable(name), NAME_LENGTH) for name in worst.classes[:MOST_CLASSES]]
    patches = [Patch(facecolor=colors[index], edgecolor="0.5", label=name) for index, name in enumerate(names)]
    figure.legend(handles=patches, loc="lower left", ncols=9, frameon=False, fontsize=6, borderaxespad=0.1)
    return figure

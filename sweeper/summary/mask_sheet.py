"""A contact sheet of segmentation: test images, their masks and the predicted masks, with a legend of the classes."""

import warnings
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sweeper.summary.curves import rendered
from sweeper.summary.learning_curves import cut
from sweeper.summary.mask_pictures import palette, side_by_side
from sweeper.summary.output import printable, write_output
from sweeper.summary.worst_masks import WorstMasks

COLUMNS, CELL, CAPTION, TITLE = 3, 1.1, 0.25, 0.45  # triples a row; inches of a picture, its caption and the title
MOST_CLASSES = 24  # in the legend
NAME_LENGTH = 20  # characters of a class


def write_mask_sheet(path: Path, worst: WorstMasks, top: int) -> None:
    """Draw the first of the images into a PNG file.

    Raises:
        UserError: the path is not a file's.
    """
    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # the font lacks the script of a name
        rcdefaults()  # without the user's matplotlibrc
        rcParams.update({"font.size": 7, "text.parse_math": False, "savefig.dpi": 150})
        write_output(path, rendered(draw(worst, top), ".png"))


def draw(worst: WorstMasks, top: int) -> Figure:
    """Draw rows of triples, each above its scores: image, true mask, predicted mask."""
    rows: list[Any] = list(worst.frame.head(top).itertuples(index=False))
    lines = -(-len(rows) // COLUMNS)
    legend = 0.2 * (1 + min(len(worst.classes), MOST_CLASSES) // 9)
    width, height = COLUMNS * (3 * CELL + 0.1), lines * (CELL + CAPTION) + TITLE + legend
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for position, row in enumerate(rows):
        left, line = position % COLUMNS * (3 * CELL + 0.1), position // COLUMNS
        bottom = height - TITLE - line * (CELL + CAPTION) - CELL
        masks = [worst.masks[row.image], worst.predicted[row.image]]
        picture = side_by_side(worst.images[row.image], masks, len(worst.classes))
        axes.imshow(picture, extent=(left + 0.05, left + 3 * CELL, bottom, bottom + CELL), interpolation="nearest")
        name = cut(str(row.file), 3 * NAME_LENGTH) or f"test image {row.image}"
        axes.text(left + 0.05, bottom - 0.03, f"{name}: mIoU {row.miou:.3f}, pixel acc {row.pixel_acc:.3f}", va="top")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    title = f"{printable(worst.run_id)}: the worst {len(rows)} of {len(worst.frame):,} test images"
    axes.text(0.05, height - 0.08, f"{title}\nimage, true mask, predicted mask", va="top")
    colors = palette(len(worst.classes)) / 255
    names = [cut(printable(name), NAME_LENGTH) for name in worst.classes[:MOST_CLASSES]]
    patches = [Patch(facecolor=colors[index], edgecolor="0.5", label=name) for index, name in enumerate(names)]
    figure.legend(handles=patches, loc="lower left", ncols=9, frameon=False, fontsize=6, borderaxespad=0.1)
    return figure

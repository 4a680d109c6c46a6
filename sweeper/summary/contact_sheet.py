"""A contact sheet: wrong test images as one picture, with true and predicted class and probability."""

from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sweeper.summary.learning_curves import cut
from sweeper.summary.output import printable
from sweeper.summary.sheet import NAME_LENGTH, blank, write_sheet
from sweeper.summary.wrong_images import Mistakes, as_pixels

COLUMNS, CELL, CAPTION, TITLE = 8, 1.25, 0.36, 0.4  # images a row; inches of an image, its caption and the title


def write_contact_sheet(path: Path, mistakes: Mistakes, top: int) -> None:
    """Draw the first of the mistakes into a PNG file.

    Raises:
        UserError: the path is not a file's.
    """
    write_sheet(path, partial(draw, mistakes, top))


def draw(mistakes: Mistakes, top: int) -> Figure:
    """Draw rows of images, each above `true -> predicted` and the probability of the prediction."""
    shown = mistakes.frame.head(top)
    columns = min(COLUMNS, max(4, len(shown)))
    rows = -(-len(shown) // columns)
    width, height = columns * CELL, rows * (CELL + CAPTION) + TITLE
    figure, axes = blank(width, height)
    rows_shown: list[Any] = list(shown.itertuples(index=False))
    for position, row in enumerate(rows_shown):
        left, line = position % columns * CELL, position // columns
        bottom = height - TITLE - line * (CELL + CAPTION) - CELL
        edges = (left + 0.06, left + CELL - 0.06, bottom + 0.06, bottom + CELL - 0.06)
        axes.imshow(as_pixels(mistakes.images[row.image]), extent=edges, interpolation="nearest")
        names = [cut(str(name), NAME_LENGTH) for name in (row.true, row.predicted)]
        text = f"{names[0]}, not\n{names[1]} ({row.probability:.2f})"
        axes.text(left + CELL / 2, bottom, text, ha="center", va="top", linespacing=1.1)
    title = f"{printable(mistakes.run_id)}, {printable(str(mistakes))}; most confident {len(shown)}"
    axes.text(0.06, height - 0.1, f"{title}\ntrue class, not the predicted class (its probability)", va="top")
    return figure

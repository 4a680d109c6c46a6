"""A sheet of pictures with captions, as one PNG file that looks the same on every machine."""

import warnings
from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sweeper.summary.curves import rendered
from sweeper.summary.output import write_output

NAME_LENGTH = 20  # characters of a class


def write_sheet(path: Path, draw: Callable[[], Figure]) -> None:
    """Draw a sheet into a PNG file.

    Raises:
        UserError: the path is not a file's.
    """
    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # the font lacks the script of a name
        rcdefaults()  # without the user's matplotlibrc
        rcParams.update({"font.size": 7, "text.parse_math": False, "savefig.dpi": 150, "image.aspect": "auto"})
        write_output(path, rendered(draw(), ".png"))


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty sheet of this size, whose coordinates are inches from the lower left corner."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(0, height))
    return figure, axes

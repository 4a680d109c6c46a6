"""Learning curves as a figure that is readable without color."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from sweeper.errors import UserError, format_names
from sweeper.summary.average import format_states
from sweeper.summary.columns import FINGERPRINT, measured
from sweeper.summary.convergence import ConvergenceOptions
from sweeper.summary.learning_curves import (
    Band,
    Curve,
    cut,
    learning_curves,
    loss_limit,
    name_of,
    split_settings,
    with_short_names,
)
from sweeper.summary.output import printable, write_output
from sweeper.summary.typed_presets import as_typed

COLORS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7")  # Okabe-Ito without yellow
# Sizes in points, chosen to look alike.
MARKERS = {"o": 4.0, "s": 3.7, "^": 4.4, "D": 3.3, "v": 4.4, "X": 5.0, "P": 5.0, "*": 6.0}
DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
HOLLOW: dict[str, Any] = {"markeredgewidth": 1.5, "markerfacecolor": "white", "linestyle": "none"}
UNFINISHED: dict[str, Any] = {"marker": "x", "markersize": 6, "markeredgewidth": 1.4, "color": "black", "ls": "none"}
MARKERS_PER_LINE = 6  # approximately
MAX_LINES = len(MARKERS) * len(DASHES)  # that differ in dashes or marker
TOP = 16  # configurations that are drawn by default
MAX_BANDS = 6  # configurations; the bands of more would hide each other

WIDTH, PANELS, TITLE, X_LABEL, MARGIN = 8.27, 5.2, 0.5, 0.55, 0.12  # inches; the width is A4's
NAME_LENGTH, CAPTION_LENGTH, CAPTION_LINES = 64, 165, 5  # characters a line, lines a paragraph
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 4,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "figure.subplot.wspace": 0.06,
    "figure.subplot.hspace": 0.08,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "text.parse_math": False,  # dollars in a name are dollars
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "sweeper",
    "pdf.fonttype": 42,
}
METADATA: dict[str, dict[str, Any]] = {  # no date, no version: equal records give equal files
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


def write_curves(
    output_dir: Path,
    frame: pd.DataFrame,
    *,
    title: str = "Learning curves",
    top: int = TOP,
    folder: Path | None = None,
    output: Path | None = None,
    options: ConvergenceOptions | None = None,
) -> list[Path]:
    """Write the curves to curves/curves.png and curves.svg in the output folder, or elsewhere.

    Args:
        output_dir: the folder that has runs/.
        frame: a row for each compared run, see sweeper.summary.table.read_runs.
        title: above the figure.
        top: number of configurations to draw, the best by validation accuracy.
        folder: where curves/ is; None for the output folder.
        output: another file instead, its type by its suffix.
        options: how learning curves were read.

    Returns:
        The files written.

    Raises:
        UserError: no run has completed an epoch, or `top` or `output` is not valid.
    """
    if not 1 <= top <= MAX_LINES:
        raise UserError(f"--top {top}: must be between 1 and {MAX_LINES}")
    usual = [(folder or output_dir) / "curves" / f"curves{suffix}" for suffix in (".png", ".svg")]
    files = usual if output is None else [output]
    if files[0].suffix.lower() not in METADATA:
        raise UserError(f"--output {files[0]}: unsupported file type; choose from {format_names(METADATA)}")
    frame = as_typed(frame)
    curves = learning_curves(output_dir, frame)
    if not curves:
        raise UserError(f"no run has completed an epoch yet, of {len(frame)} in {output_dir / 'runs'}")
    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # the font lacks the script of a name
        rcdefaults()  # without the user's matplotlibrc
        rcParams.update(STYLE)
        paragraphs = notes(frame, curves, top, options or ConvergenceOptions())
        figure = draw(with_short_names(curves[:top]), title, paragraphs, measured(frame))
        for file in files:
            write_output(file, rendered(figure, file.suffix.lower()))
    return files


def rendered(figure: Figure, suffix: str) -> bytes:
    """Return the file's content."""
    content = io.BytesIO()
    figure.savefig(content, format=suffix.removeprefix("."), metadata=METADATA[suffix])
    return content.getvalue()


def notes(frame: pd.DataFrame, curves: Sequence[Curve], top: int, options: ConvergenceOptions) -> list[str]:
    """Return the paragraphs under the figure: what is drawn, how it is read, what all runs share."""
    left_out, no_epoch = len(curves) - top, len(frame) - sum(max(curve.runs) for curve in curves)
    drawn = f"Configurations: {len(curves)}. Runs: {len(frame)} ({cut(format_states(frame), CAPTION_LENGTH)})"
    drawn += f". Without a completed epoch: {no_epoch}" if no_epoch > 0 else ""
    drawn += f". Drawn: the best {top} by validation {measured(frame)}; left out: {left_out}" if left_out > 0 else ""
    bands = "; band: ± its standard error" if min(len(curves), top) <= MAX_BANDS else ""
    read = (
        "Line: mean over the runs of a configuration (they differ only in seed) that completed the epoch"
        f"{bands}. Training is measured with augmentation and dropout on. Convergence epoch: the first at "
        f"{options.percent} of the run's best validation {measured(frame)}, mean over the finished runs."
    )
    if "data.val_size" in frame and (frame["data.val_size"] == 0).any():
        read += " With data.val_size=0 the validation images are the test images."
    shared = {name: frame[name].dropna().tolist()[0] for name in split_settings(frame)[2] if name != FINGERPRINT}
    return [f"{drawn}.", read, *([f"Shared settings: {name_of(shared)}."] if shared else [])]


def draw(curves: Sequence[Curve], title: str, paragraphs: Sequence[str], metric: str = "accuracy") -> Figure:
    """Draw accuracy and loss (rows), of validation and training by epoch and of validation by seconds (columns).

    Args:
        metric: name of what is drawn as accuracy, of validation images.
    """
    figure = Figure(figsize=(WIDTH, 2 * PANELS))
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3, sharey="row")
    limit, with_band = loss_limit(curves), len(curves) <= MAX_BANDS
    for index, curve in enumerate(curves):
        for row, (validation, training) in enumerate(
            ((curve.val_acc, curve.train_acc), (curve.val_loss, curve.train_loss))
        ):
            lines: list[tuple[Sequence[float], Band | None]] = [
                (curve.epochs, validation),
                (curve.epochs, training),
                (curve.seconds, validation),
            ]
            for axes, (x, band) in zip(panels[row], lines, strict=True):
                if band is not None:
                    is_marked = band is curve.val_acc
                    draw_curve(axes, x, band, curve, index, limit if row else None, with_band, is_marked)
    label_axes(panels, limit, metric)
    legend = add_legend(figure, curves)
    written = [line for text in paragraphs for line in wrap(text, CAPTION_LENGTH, CAPTION_LINES)]
    text = figure.text(0, 0, "\n".join(written), fontsize=6.5, color="0.25", va="top", linespacing=1.35)
    arrange(figure, cut(title, NAME_LENGTH), legend, text)
    return figure


def style(index: int) -> dict[str, Any]:
    """Return color, dashes and marker. The first MAX_LINES lines differ in dashes or marker, neighbors in all three."""
    dashes = (index + index // len(MARKERS)) % len(DASHES)
    marker, size = list(MARKERS.items())[index % len(MARKERS)]
    looks = {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[dashes], "marker": marker}
    return {**looks, "markersize": size, "markeredgewidth": 0}


def convergence_mark(index: int) -> dict[str, Any]:
    """Return the style of a line's convergence epoch: its marker, larger and hollow."""
    looks = style(index)
    return {**looks, "markersize": 2 * looks["markersize"], **HOLLOW}


def draw_curve(
    axes: Axes,
    x: Sequence[float],
    band: Band,
    curve: Curve,
    index: int,
    limit: float | None,
    with_band: bool,
    is_marked: bool,
) -> None:
    """Draw a line and, where runs are not finished, its end.

    Args:
        axes: the panel.
        x: position of each epoch.
        band: the values.
        curve: the configuration.
        index: its rank among the configurations.
        limit: upper end of the panel; None where it shows everything.
        with_band: whether the standard error is drawn.
        is_marked: whether the convergence epoch is drawn.
    """
    error, most = np.array(band.error), np.inf if limit is None else 2 * limit
    mean, low, high = (np.minimum(np.array(band.mean) + sign * error, most) for sign in (0, -1, 1))
    step = max(1, len(x) // MARKERS_PER_LINE)
    looks = style(index)
    axes.plot(x, mean, **looks, markevery=(index % len(MARKERS) * step // len(MARKERS), step))
    if with_band and max(curve.runs) > 1:
        axes.fill_between(x, low, high, color=looks["color"], alpha=0.18, linewidth=0)
    at = curve.convergence_epoch
    if is_marked and at is not None and curve.epochs[0] <= at <= curve.epochs[-1]:
        point = np.interp(at, curve.epochs, x), np.interp(at, curve.epochs, mean)
        axes.plot(*point, **convergence_mark(index), zorder=4)
    if curve.state != "finished":
        axes.plot(x[-1], mean[-1], **UNFINISHED, zorder=5)


def label_axes(panels: Any, limit: float | None, metric: str) -> None:
    """Set names and units; epochs are whole numbers."""
    panels[0, 0].set_ylabel(f"{metric} (0 to 1)")
    panels[1, 0].set_ylabel("loss (cross-entropy, nats)" + ("" if limit is None else f", cut at {limit:.3g}"))
    for axes, title in zip(panels[0], ("validation", "training", "validation by time"), strict=True):
        axes.set_title(title, loc="left", fontweight="bold")
    for column in range(3):
        panels[1, column].sharex(panels[0, column])
        panels[0, column].tick_params(labelbottom=False)
    for axes in panels[1, :2]:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[1, 2].set_xlabel("training time (s)")
    if limit is not None:
        panels[1, 0].set_ylim(0, limit)


def add_legend(figure: Figure, curves: Sequence[Curve]) -> Legend:
    """Add the name of each line, in as many columns as fit."""
    handles = [Line2D([], [], **style(index)) for index in range(len(curves))]
    labels = ["\n".join(label_of(curve)) for curve in curves]
    if any(curve.convergence_epoch is not None for curve in curves):
        handles.append(Line2D([], [], **convergence_mark(0) | {"color": "0.3"}))
        labels.append("convergence epoch (the line's marker)")
    if any(curve.state != "finished" for curve in curves):
        handles.append(Line2D([], [], **UNFINISHED))
        labels.append("not all runs finished")
    for columns in (4, 3, 2, 1):
        legend = figure.legend(handles, labels, loc="upper left", ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= (WIDTH - 2 * MARGIN) * figure.dpi:
            break
        legend.remove()
    return legend


def label_of(curve: Curve) -> list[str]:
    """Return the lines of a label: the name and, unless all runs are finished, their state."""
    name = wrap(curve.name, NAME_LENGTH, 2)
    return name if curve.state == "finished" else wrap(f"{' '.join(name)} ({curve.state})", NAME_LENGTH, 3)


def wrap(text: str, width: int, lines: int) -> list[str]:
    return textwrap.wrap(printable(text), width, max_lines=lines, placeholder=" …")


def arrange(figure: Figure, title: str, legend: Legend, text: Text) -> None:
    """Stack title, panels, legend and text, and fit the figure's height."""
    legend_height, text_height = (part.get_window_extent().height / figure.dpi for part in (legend, text))
    height = TITLE + PANELS + X_LABEL + legend_height + text_height + 2 * MARGIN
    figure.set_size_inches(WIDTH, height)
    bottom = text_height + legend_height + 2 * MARGIN + X_LABEL
    left, right = 5 * MARGIN / WIDTH, 1 - MARGIN / WIDTH
    figure.subplots_adjust(left=left, right=right, bottom=bottom / height, top=1 - TITLE / height)
    figure.suptitle(title, fontsize=10, x=0.5, y=1 - MARGIN / height, va="top")
    legend.set_bbox_to_anchor((MARGIN / WIDTH, (bottom - X_LABEL) / height))
    text.set_position((MARGIN / WIDTH, (text_height + MARGIN) / height))

"""Learning curves: each configuration's mean over its seeds, as numbers and as a figure that is read without colour."""

import io
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median_low
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

from sweeper.errors import UserError, choices
from sweeper.record import Record, number
from sweeper.summary.average import states
from sweeper.summary.gather import MEASURES
from sweeper.summary.table import SLOTS, is_missing, lay_out, show

APART = ("seed", "target_acc")  # runs that differ in these have the same curve but for chance
METRICS = ("val_acc", "train_loss", "train_seconds")
LARGEST = 1e100  # no loss or time; sums of numbers below it are finite

COLOURS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7")  # Okabe-Ito, less its yellow
# Their sizes in points, chosen to look alike.
MARKERS = {"o": 4.0, "s": 3.7, "^": 4.4, "D": 3.3, "v": 4.4, "X": 5.0, "P": 5.0, "*": 6.0}
DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))
HOLLOW: dict[str, Any] = {"markeredgewidth": 1.5, "markerfacecolor": "white", "linestyle": "none"}
UNFINISHED: dict[str, Any] = {"marker": "x", "markersize": 6, "markeredgewidth": 1.4, "color": "black", "ls": "none"}
MARKS = 6  # markers on a line, about
MOST = len(MARKERS) * len(DASHES)  # lines that differ without their colour
TOP = 16

WIDTH, PANELS, TITLE, X_LABEL, MARGIN = 8.27, 5.6, 0.35, 0.55, 0.12  # inches; the width is A4's
SETTING, VALUE, NAME, CAPTION, CAPTION_LINES = 32, 32, 64, 165, 5  # characters; lines of a paragraph
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
    "text.parse_math": False,  # a name is a name, whatever dollars it has
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "sweeper",
    "pdf.fonttype": 42,
}
METADATA: dict[str, dict[str, Any]] = {  # neither date nor version: equal records give equal files
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


@dataclass
class Band:
    """Mean, lowest and highest over runs, each a value an epoch."""

    mean: list[float]
    low: list[float]
    high: list[float]

    @classmethod
    def over(cls, values: Sequence[Sequence[float]]) -> "Band":
        """Of the runs' values at each epoch."""
        return cls([fmean(runs) for runs in values], [min(runs) for runs in values], [max(runs) for runs in values])

    def cumulated(self) -> "Band":
        return Band(*(list(accumulate(values)) for values in (self.mean, self.low, self.high)))


@dataclass
class Curve:
    """A configuration: the runs that differ in nothing but their seed.

    Attributes:
        name: `settings` in one line of printable characters, long ones cut; may hold markup.
        settings: what varies between the compared runs and is not implied by another setting, None where missing;
            where nothing varies, the model.
        state: of its runs: `finished`, or such as `1 failed, 2 finished`.
        seeds: of its runs, in order.
        epochs: from 1, those that at least one run completed.
        runs: how many completed each epoch; fewer towards the end where some stopped early.
        val_acc, train_loss: over the runs that completed the epoch.
        seconds: training seconds to the end of each epoch: an epoch's mean, lowest and highest, cumulated.
        best_val_acc: mean over the runs of each one's best.
        convergence_epoch: mean over the finished runs; None where none is.
    """

    name: str
    settings: dict[str, Any]
    state: str
    seeds: list[int]
    epochs: list[int]
    runs: list[int]
    val_acc: Band
    train_loss: Band
    seconds: Band
    best_val_acc: float
    convergence_epoch: float | None


def learning_curves(output_dir: Path, frame: pd.DataFrame) -> list[Curve]:
    """The curves of all configurations that completed an epoch, best validation accuracy first.

    Args:
        output_dir: the folder that has runs/.
        frame: a row for each compared run, see sweeper.summary.table.read_runs.
    """
    frame = countable(frame)
    settings, varying, _ = split_settings(frame)
    varying = varying or ["model" if "model" in frame else "run_id"]
    curves = []
    for _, runs in frame.groupby([frame[name].map(repr) for name in settings] or (lambda _: 0), sort=False):
        rows = [readable(Record(output_dir / "runs" / str(run_id)).metrics()) for run_id in runs["run_id"]]
        if any(rows):
            curves.append(curve(runs, [run for run in rows if run], varying))
    return sorted(curves, key=lambda curve: (-curve.best_val_acc, curve.name))


def countable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with cells that can be counted and states that can be sorted, whatever a foreign file holds."""
    states_as_text = frame["state"].map(str)
    return frame.map(lambda cell: str(cell) if isinstance(cell, list | dict) else cell).assign(state=states_as_text)


def split_settings(frame: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Settings that make a configuration; of these what tells configurations apart, and what all of them share."""
    frame = frame.drop(columns=[name for name in APART if name in frame])
    table, _ = lay_out(frame, [])
    settings = [name for name in frame.columns if name not in MEASURES and name != "run_id"]
    varying = [name for name in settings if name in table]
    shared = [name for name in settings if frame[name].nunique() == 1 == frame[name].nunique(dropna=name in SLOTS)]
    return settings, varying, shared


def readable(rows: Iterable[dict[str, Any]]) -> dict[int, list[float]]:
    """METRICS by epoch, of the rows that hold what we write."""
    found = {}
    for row in rows:
        epoch, *values = (number(row.get(name)) for name in ("epoch", *METRICS))
        known = [value for value in values if value is not None and 0 <= value < LARGEST]
        if epoch is not None and epoch >= 1 and epoch.is_integer() and len(known) == len(METRICS) and known[0] <= 1:
            found[int(epoch)] = known
    return found


def curve(runs: pd.DataFrame, rows: Sequence[dict[int, list[float]]], varying: Sequence[str]) -> Curve:
    """One configuration.

    Args:
        runs: its rows of the frame.
        rows: `readable` of those that completed an epoch.
        varying: the settings that tell it apart.
    """
    epochs = sorted(set().union(*rows))
    there = [[run[epoch] for run in rows if epoch in run] for epoch in epochs]
    val_acc, train_loss, seconds = (
        Band.over([[values[place] for values in metrics] for metrics in there]) for place in range(len(METRICS))
    )
    cells = {name: runs[name].tolist()[0] for name in varying}
    settings = {name: None if is_missing(cell) else cell for name, cell in cells.items()}
    seeds = [seed for seed in map(number, runs.get("seed", ())) if seed is not None]
    reached = [epoch for epoch in map(number, runs["convergence_epoch"]) if epoch is not None]
    return Curve(
        name=name_of(settings),
        settings=settings,
        state=states(runs),
        seeds=sorted(map(int, seeds)),
        epochs=epochs,
        runs=[len(metrics) for metrics in there],
        val_acc=val_acc,
        train_loss=train_loss,
        seconds=seconds.cumulated(),
        best_val_acc=fmean(max(val_acc for val_acc, *_ in run.values()) for run in rows),
        convergence_epoch=fmean(reached) if reached else None,
    )


def name_of(settings: dict[str, Any]) -> str:
    """Such as `model=mlp, optimizer.lr=0.001`; what is missing is no part of it unless all is."""
    known = {name: value for name, value in settings.items() if value is not None} or settings
    return ", ".join(f"{cut(name, SETTING)}={cut(shown(name, value), VALUE)}" for name, value in known.items())


def shown(name: str, value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else show(name, value)


def cut(text: str, length: int) -> str:
    """At most so many characters, all of them printable."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def printable(text: str) -> str:
    """One line, without what controls a terminal or is no XML."""
    return "".join(one if one.isprintable() else " " for one in text)


def write_curves(
    output_dir: Path, frame: pd.DataFrame, *, title: str = "Learning curves", top: int = TOP, output: Path | None = None
) -> list[Path]:
    """Draw the curves into curves/curves.png and curves.svg of the output folder, or into one other file.

    Args:
        output_dir: the folder that has runs/.
        frame: a row for each compared run, see sweeper.summary.table.read_runs.
        title: above the figure.
        top: draw so many configurations, the best by validation accuracy.
        output: the other file, its kind by its suffix.

    Returns:
        The files written.

    Raises:
        UserError: no run has completed an epoch, or `top` or `output` is not valid.
    """
    if not 1 <= top <= MOST:
        raise UserError(f"--top {top}: from 1 to {MOST} lines can be told apart")
    files = [output_dir / "curves" / f"curves{suffix}" for suffix in (".png", ".svg")] if output is None else [output]
    if files[0].suffix.lower() not in METADATA:
        raise UserError(f"--output {files[0]}: its suffix says what to draw, one of {choices(METADATA)}")
    curves = learning_curves(output_dir, frame)
    if not curves:
        raise UserError(f"none of the {len(frame)} runs in {output_dir / 'runs'} has completed an epoch yet")
    with rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # a name in a script that the font lacks
        rcdefaults()  # whatever the user's matplotlibrc says
        rcParams.update(STYLE)
        figure = draw(curves[:top], title, notes(frame, curves, top))
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(rendered(figure, file.suffix.lower()))
    return files


def rendered(figure: Figure, suffix: str) -> bytes:
    """The file's content."""
    content = io.BytesIO()
    figure.savefig(content, format=suffix.removeprefix("."), metadata=METADATA[suffix])
    return content.getvalue()


def notes(frame: pd.DataFrame, curves: Sequence[Curve], top: int) -> list[str]:
    """The paragraphs under the figure: what is drawn, how it is read, what all runs share."""
    frame = countable(frame)
    left_out, no_epoch = len(curves) - top, len(frame) - sum(max(curve.runs) for curve in curves)
    drawn = f"Configurations: {len(curves)}. Runs: {len(frame)} ({cut(states(frame), CAPTION)})"
    drawn += f". Without an epoch yet: {no_epoch}" if no_epoch > 0 else ""
    drawn += f". Drawn: the best {top} by validation accuracy; left out: {left_out}" if left_out > 0 else ""
    read = (
        "Line: mean over the runs of a configuration (they differ in their seed alone) that got there; band: their "
        "lowest to highest. Convergence epoch: the first at convergence_fraction of the run's best validation "
        "accuracy, mean over the finished runs."
    )
    if "data.val_size" in frame and (frame["data.val_size"] == 0).any():
        read += " With data.val_size=0 the validation images are the test images."
    shared = {name: frame[name].dropna().tolist()[0] for name in split_settings(frame)[2] if name != "data.fingerprint"}
    return [f"{drawn}.", read, *([f"All with {name_of(shared)}."] if shared else [])]


def draw(curves: Sequence[Curve], title: str, paragraphs: Sequence[str]) -> Figure:
    """Validation accuracy and training loss (rows) over epochs and seconds (columns), legend and text below."""
    figure = Figure(figsize=(WIDTH, 2 * PANELS))
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    limit = loss_limit(curves)
    for place, curve in enumerate(curves):
        for column in range(2):
            x = curve.seconds.mean if column else curve.epochs
            draw_curve(panels[0, column], x, curve.val_acc, curve, place)
            draw_curve(panels[1, column], x, curve.train_loss, curve, place, limit)
    label_axes(panels, limit)
    legend = add_legend(figure, curves)
    lines = [line for text in paragraphs for line in wrapped(text, CAPTION, CAPTION_LINES)]
    text = figure.text(0, 0, "\n".join(lines), fontsize=6.5, color="0.25", va="top", linespacing=1.35)
    arrange(figure, cut(title, NAME), legend, text)
    return figure


def style(place: int) -> dict[str, Any]:
    """Colour, dashes and marker of a line. The first MOST differ in dashes or marker, neighbours in all three."""
    dashes = (place + place // len(MARKERS)) % len(DASHES)
    marker, size = list(MARKERS.items())[place % len(MARKERS)]
    looks = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[dashes], "marker": marker}
    return {**looks, "markersize": size, "markeredgewidth": 0}


def converged(place: int) -> dict[str, Any]:
    """The mark of a line's convergence epoch: its marker, larger and hollow."""
    looks = style(place)
    return {**looks, "markersize": 2 * looks["markersize"], **HOLLOW}


def draw_curve(
    axes: Axes, x: Sequence[float], band: Band, curve: Curve, place: int, limit: float | None = None
) -> None:
    """One line with its band, its convergence epoch and, where runs are not finished, its end.

    Args:
        axes: the panel.
        x: where each epoch is.
        band: what is drawn.
        curve: the configuration.
        place: its place among the configurations.
        limit: the panel ends there; None where it shows everything.
    """
    mean, low, high = (
        np.minimum(values, np.inf if limit is None else 2 * limit) for values in (band.mean, band.low, band.high)
    )
    step = max(1, len(x) // MARKS)
    looks = style(place)
    axes.plot(x, mean, **looks, markevery=(place % len(MARKERS) * step // len(MARKERS), step))
    if max(curve.runs) > 1:
        axes.fill_between(x, low, high, color=looks["color"], alpha=0.18, linewidth=0)
    at = curve.convergence_epoch
    if at is not None and curve.epochs[0] <= at <= curve.epochs[-1]:
        point = np.interp(at, curve.epochs, x), np.interp(at, curve.epochs, mean)
        axes.plot(*point, **converged(place), zorder=4)
    if curve.state != "finished":
        axes.plot(x[-1], mean[-1], **UNFINISHED, zorder=5)


def loss_limit(curves: Sequence[Curve]) -> float | None:
    """Where the loss panels end lest one exploding line flattens all others; None where none does."""
    highest = [max(curve.train_loss.mean) for curve in curves]
    limit = 4 * median_low(highest)
    return limit if max(highest) > limit > 0 else None


def label_axes(panels: Any, limit: float | None) -> None:
    """Names and units; epochs are whole."""
    panels[0, 0].set_ylabel("validation accuracy (0 to 1)")
    panels[1, 0].set_ylabel("training loss (cross-entropy, nats)" + ("" if limit is None else f", cut at {limit:.3g}"))
    panels[1, 0].set_xlabel("epoch")
    panels[1, 1].set_xlabel("training time without evaluations (s)")
    panels[1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if limit is not None:
        panels[1, 0].set_ylim(0, limit)


def add_legend(figure: Figure, curves: Sequence[Curve]) -> Legend:
    """What each line is, in as many columns as there is room for."""
    handles = [Line2D([], [], **style(place)) for place in range(len(curves))]
    labels = ["\n".join(label_of(curve)) for curve in curves]
    if any(curve.convergence_epoch is not None for curve in curves):
        handles.append(Line2D([], [], **converged(0) | {"color": "0.3"}))
        labels.append("convergence epoch, in the line's marker")
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
    """Lines: the name and, unless all runs are finished, their state."""
    name = wrapped(curve.name, NAME, 2)
    return name if curve.state == "finished" else wrapped(f"{' '.join(name)} ({curve.state})", NAME, 3)


def wrapped(text: str, width: int, lines: int) -> list[str]:
    return textwrap.wrap(printable(text), width, max_lines=lines, placeholder=" …")


def arrange(figure: Figure, title: str, legend: Legend, text: Text) -> None:
    """One below the other: title, panels, legend, text; the figure as high as they are."""
    legend_height, text_height = (part.get_window_extent().height / figure.dpi for part in (legend, text))
    height = TITLE + PANELS + X_LABEL + legend_height + text_height + 2 * MARGIN
    figure.set_size_inches(WIDTH, height)
    bottom = text_height + legend_height + 2 * MARGIN + X_LABEL
    left, right = 5 * MARGIN / WIDTH, 1 - MARGIN / WIDTH
    figure.subplots_adjust(left=left, right=right, bottom=bottom / height, top=1 - TITLE / height)
    figure.suptitle(title, fontsize=10, x=0.5, y=1 - MARGIN / height, va="top")
    legend.set_bbox_to_anchor((MARGIN / WIDTH, (bottom - X_LABEL) / height))
    text.set_position((MARGIN / WIDTH, (text_height + MARGIN) / height))

"""The pictures of the pages: learning curves, and the effects of tricks as a forest plot."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.pages.records import DIGEST
from benchmarks.pages.selection import Selection
from sweeper.files import write_bytes
from sweeper.summary.curves import STYLE, rendered, write_curves
from sweeper.summary.effects_lines import format_p
from sweeper.summary.inference import LEVEL, Comparison
from sweeper.summary.learning_curves import cut
from sweeper.summary.report_forest import kind
from sweeper.summary.report_scale import around_zero
from sweeper.summary.sentences import digits_for, points

WIDTH, ROW, EDGES = 8.27, 0.24, 0.95  # inches: of the picture, a line's height, above and below the lines
NAME_LENGTH = 44
COLORS = {"up": "#0072B2", "down": "#D55E00", "open": "0.35"}  # of Okabe and Ito


def draw_curves(selection: Selection, title: str, path: Path) -> bool:
    """Write the learning curves of runs; return whether their epochs are known."""
    curves = selection.records.curves
    ends = selection.frame["run_id"].str[-DIGEST:]
    if curves.empty or not ends.isin(curves["run"]).any():
        return False
    rows = dict(tuple(curves.groupby("run")))
    with tempfile.TemporaryDirectory() as folder:
        for run_id, end in zip(selection.frame["run_id"], ends, strict=True):
            run = Path(folder) / "runs" / run_id
            run.mkdir(parents=True)
            epochs = rows[end].drop(columns="run").to_dict("records") if end in rows else []
            untimed = {"train_seconds": 0.0}  # every epoch has some; they are not in the picture
            known = [{name: cell for name, cell in epoch.items() if pd.notna(cell)} for epoch in epochs]
            lines = [json.dumps(untimed | epoch) for epoch in known]
            (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        write_curves(Path(folder), selection.frame, title=title, output=path)
    return True


def draw_forest(comparisons: Sequence[Comparison], names: Sequence[str], title: str, path: Path) -> None:
    """Write a line for each change, the largest first: its seeds as dots, its mean, and its interval.

    Args:
        comparisons: of one table.
        names: of the changes.
        title: what the changes are compared with.
        path: the file, its type by its suffix.
    """
    labels, ordered = zip(*sorted(zip(names, comparisons, strict=True), key=lambda pair: pair[1].mean), strict=True)
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, ROW * len(ordered) + EDGES))
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        ends = [end for one in ordered for end in one.family or ()]
        seeds = [mean for one in ordered for mean in one.means]
        low, high = (100 * end for end in around_zero([one.mean for one in ordered], seeds, ends))
        axes.set_xlim(low, high)
        axes.axvline(0, color="black", linewidth=0.8)
        for row, one in enumerate(ordered):
            color = COLORS[kind(one)]
            fill = "white" if kind(one) == "open" else color
            axes.plot([100 * mean for mean in one.means], [row] * one.seeds, "|", color=color, alpha=0.5, markersize=7)
            if one.family is not None:
                axes.plot([100 * end for end in one.family], [row, row], color=color, linewidth=1.6)
            axes.plot(100 * one.mean, row, "o", color=color, markersize=5.5, markerfacecolor=fill)
        axes.set_yticks(range(len(ordered)), [cut(label, NAME_LENGTH) for label in labels])
        axes.set_ylim(-0.7, len(ordered) - 0.3)
        axes.grid(axis="y", visible=False)
        numbers = axes.twinx()
        numbers.set_ylim(axes.get_ylim())
        numbers.set_yticks(range(len(ordered)), [text_of(one) for one in ordered])
        numbers.grid(visible=False)
        for side in (axes, numbers):
            side.tick_params(axis="y", length=0)
            side.spines[["left", "right"]].set_visible(False)
        axes.set_xlabel(
            f"test accuracy, percentage points; filled: significant at {LEVEL:.0%} (Holm); ticks: single seeds; "
            "lines: intervals at the same level"
        )
        axes.set_title(title, loc="left", fontsize=10)
        figure.tight_layout()
        write_bytes(path, rendered(figure, path.suffix))


def text_of(comparison: Comparison) -> str:
    """Return mean, interval and p as text."""
    if comparison.family is None:
        return points(comparison.mean, digits_for(comparison.mean))
    digits = digits_for(*comparison.family)
    low, high = (points(end, digits) for end in comparison.family)
    p = "" if comparison.corrected is None else f", p {format_p(comparison.corrected)}"
    return f"{points(comparison.mean, digits)} ({low} to {high}{p})"

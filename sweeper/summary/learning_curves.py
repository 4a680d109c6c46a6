"""Learning curves as numbers: each configuration's mean over its seeds, its error, its lowest and its highest run."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.runs.scores import SCORES
from sweeper.summary.average import format_states, groups
from sweeper.summary.best import adjust
from sweeper.summary.columns import SLOTS, format_override, format_value, is_missing, setting_columns
from sweeper.summary.output import printable
from sweeper.summary.run_row import LARGEST, digest
from sweeper.summary.table import lay_out

RANKING = tuple(f"val_{score}" for score in SCORES.values())
OTHERS = ("train_loss", "train_seconds")  # beside the metric that ranks runs, in every epoch
OPTIONAL = (("train_acc", "train_pixel_acc"), ("val_loss",))  # of each, the first that a row has; a curve has it in all
LIMITS = {"val_loss": LARGEST}  # of those that are not shares
SETTING_LENGTH, VALUE_LENGTH = 32, 32  # characters in a curve's name


Array = npt.NDArray[np.float64]


@dataclass
class Band:
    """Over runs: mean, lowest, highest, standard error of the mean (0 of one run); one value per epoch each."""

    mean: list[float]
    low: list[float]
    high: list[float]
    error: list[float]

    @classmethod
    def over(cls, values: Array) -> "Band":
        """Return the band of the values (epochs x runs), NaN where a run lacks an epoch that others have."""
        count, mean = np.count_nonzero(~np.isnan(values), axis=1), np.nanmean(values, axis=1)
        squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
        error = np.sqrt(squares / np.maximum(count - 1, 1) / count)
        parts = mean, np.nanmin(values, axis=1), np.nanmax(values, axis=1), error
        return cls(*(part.tolist() for part in parts))


@dataclass
class Curve:
    """A configuration: the runs that differ only in their seed and were trained with the same code.

    Attributes:
        name: `settings` in one line of printable characters, long ones cut; may hold markup.
        settings: what varies between the compared runs and is not implied by another setting, None where missing;
            where nothing varies, the model.
        state: of its runs: `finished`, or such as `1 failed, 2 finished`.
        seeds: of its runs, in order.
        epochs: those that at least one run completed, from 1.
        runs: how many runs completed each epoch; fewer towards the end where some stopped early.
        val_acc, train_loss: over the runs that completed the epoch; of segmentation, val_acc is mIoU.
        seconds: training seconds to the end of each epoch: the epochs' means, cumulated.
        convergence_epoch: mean over the finished runs; None where no run is finished.
        train_acc, val_loss: as the others; None where a run lacks it in an epoch; of segmentation, train_acc is pixel
            accuracy.
    """

    name: str
    settings: dict[str, Any]
    state: str
    seeds: list[int]
    epochs: list[int]
    runs: list[int]
    val_acc: Band
    train_loss: Band
    seconds: list[float]
    convergence_epoch: float | None
    train_acc: Band | None = None
    val_loss: Band | None = None


def learning_curves(output_dir: Path, frame: pd.DataFrame) -> list[Curve]:
    """Return the curves of all configurations that completed an epoch, in the order of sweeper.summary.best.

    Args:
        output_dir: the folder that has runs/.
        frame: a row for each compared run, see sweeper.summary.table.read_runs.
    """
    settings, varying, _ = split_settings(frame)
    varying = varying or ["model" if "model" in frame else "run_id"]
    curves: list[tuple[Curve, str]] = []
    ranks: list[float] = []
    for runs, mean in zip(groups(frame, [*settings, "code"]), adjust(frame).configurations, strict=True):
        rows = [read_epochs(RunDirectory(output_dir / "runs" / str(run_id)).metrics()) for run_id in runs["run_id"]]
        if any(rows):
            code = f" (stale, code {digest(str(runs['code'].iloc[0]))})" if runs["stale"].any() else ""
            curves.append((average_curve(runs, [run for run in rows if run], varying), code))
            ranks.append(0.0 if math.isnan(mean) else -float(mean))
    names = Counter(curve.name for curve, _ in curves)
    distinct = [replace(curve, name=curve.name + code * (names[curve.name] > 1)) for curve, code in curves]
    ranked = sorted(zip(ranks, distinct, strict=True), key=lambda pair: (pair[0], pair[1].name))
    return [curve for _, curve in ranked]


def split_settings(frame: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Return the settings that make a configuration; those in which configurations differ; those that all share."""
    frame = frame.drop(columns=[name for name in ("seed",) if name in frame])
    table, _ = lay_out(frame)
    settings = setting_columns(frame)
    varying = [name for name in settings if name in table]
    shared = [name for name in settings if frame[name].nunique() == 1 == frame[name].nunique(dropna=name in SLOTS)]
    return settings, varying, shared


def read_epochs(rows: Iterable[dict[str, Any]]) -> dict[int, list[float | None]]:
    """Return the metric that ranks runs, OTHERS and OPTIONAL by epoch, from rows that hold what this program writes."""
    epochs = {}
    for row in rows:
        score = next((name for name in RANKING if name in row), "")
        epoch, *values = (number(row.get(name)) for name in ("epoch", score, *OTHERS))
        known = [value for value in values if value is not None and 0 <= value < LARGEST]
        if epoch is not None and epoch >= 1 and epoch.is_integer() and len(known) == len(values) and known[0] <= 1:
            epochs[int(epoch)] = [*known, *(optional(row, names) for names in OPTIONAL)]
    return epochs


def optional(row: dict[str, Any], names: Sequence[str]) -> float | None:
    """Return the value of the first of the names that a row has; None where it is not one."""
    for name in names:
        if name in row:
            found = number(row[name])
            return found if found is not None and 0 <= found < LIMITS.get(name, 1 + 1e-9) else None
    return None


def average_curve(runs: pd.DataFrame, rows: Sequence[dict[int, list[float | None]]], varying: Sequence[str]) -> Curve:
    """Return the curve of one configuration.

    Args:
        runs: its rows of the frame.
        rows: `read_epochs` of those that completed an epoch.
        varying: the settings that distinguish it from others.
    """
    epochs = sorted(set().union(*rows))
    absent = [None] * (1 + len(OTHERS) + len(OPTIONAL))
    values = np.array([[run.get(epoch, absent) for run in rows] for epoch in epochs], dtype=float)  # None is NaN
    completed = ~np.isnan(values[:, :, 0])
    val_acc, train_loss, seconds, train_acc, val_loss = (
        Band.over(metric) if (np.isnan(metric) != completed).all() else None for metric in np.moveaxis(values, 2, 0)
    )
    assert val_acc and train_loss and seconds  # in every row
    cells = {name: runs[name].tolist()[0] for name in varying}
    settings = {name: None if is_missing(cell) else cell for name, cell in cells.items()}
    seeds = [seed for seed in map(number, runs.get("seed", ())) if seed is not None]
    converged = [epoch for epoch in map(number, runs["convergence_epoch"]) if epoch is not None]
    return Curve(
        name=name_of(settings),
        settings=settings,
        state=format_states(runs),
        seeds=sorted(map(int, seeds)),
        epochs=epochs,
        runs=completed.sum(axis=1).tolist(),
        val_acc=val_acc,
        train_loss=train_loss,
        seconds=list(accumulate(seconds.mean)),
        convergence_epoch=fmean(converged) if converged else None,
        train_acc=train_acc,
        val_loss=val_loss,
    )


def name_of(settings: dict[str, Any]) -> str:
    """Return such as `model=mlp, optimizer.lr=0.001`; missing settings are left out unless all are missing."""
    known = {name: value for name, value in settings.items() if value is not None} or settings
    texts = {
        name: format_override(value) if isinstance(value, bool) else format_setting(name, value)
        for name, value in known.items()
    }
    return ", ".join(f"{cut(name, SETTING_LENGTH)}={cut(text, VALUE_LENGTH)}" for name, text in texts.items())


def format_setting(name: str, value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else format_value(name, value)


def cut(text: str, length: int) -> str:
    """Return at most so many characters, all of them printable."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def with_short_names(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves named by the settings in which they differ from each other; a single one keeps its name."""
    same = {name for name in curves[0].settings if len({repr(curve.settings.get(name)) for curve in curves}) == 1}
    if len(curves) == 1 or len(same) == len(curves[0].settings):
        return list(curves)
    named = []
    for curve in curves:
        settings = {name: value for name, value in curve.settings.items() if name not in same}
        code = curve.name.removeprefix(name_of(curve.settings))  # of runs trained with other code
        named.append(replace(curve, name=name_of(settings) + code))
    return named


def loss_limit(curves: Sequence[Curve]) -> float | None:
    """Return where loss panels end, so that an exploding loss does not flatten the others; None if none explodes."""
    highest = [max(curve.train_loss.mean + (curve.val_loss.mean if curve.val_loss else [])) for curve in curves]
    limit = 4 * median_low(highest)
    return limit if max(highest) > limit > 0 else None

"""Learning curves as numbers: each configuration's mean over its seeds, its lowest and its highest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

import pandas as pd

from sweeper.files import number
from sweeper.runs.directory import RunDirectory
from sweeper.summary.average import states
from sweeper.summary.gather import LARGEST, MEASURES
from sweeper.summary.output import printable
from sweeper.summary.table import SLOTS, is_missing, lay_out, show

APART = ("seed", "target_acc")  # runs that differ in these have the same curve but for chance
METRICS = ("val_acc", "train_loss", "train_seconds")
SETTING, VALUE = 32, 32  # characters of a name


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
    settings, varying, _ = split_settings(frame)
    varying = varying or ["model" if "model" in frame else "run_id"]
    curves = []
    for _, runs in frame.groupby([frame[name].map(repr) for name in settings] or (lambda _: 0), sort=False):
        rows = [readable(RunDirectory(output_dir / "runs" / str(run_id)).metrics()) for run_id in runs["run_id"]]
        if any(rows):
            curves.append(curve(runs, [run for run in rows if run], varying))
    return sorted(curves, key=lambda curve: (-curve.best_val_acc, curve.name))


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


def loss_limit(curves: Sequence[Curve]) -> float | None:
    """Where the loss panels end lest one exploding line flattens all others; None where none does."""
    highest = [max(curve.train_loss.mean) for curve in curves]
    limit = 4 * median_low(highest)
    return limit if max(highest) > limit > 0 else None

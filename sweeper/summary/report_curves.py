"""Learning curves as data for the report's script."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.summary.learning_curves import Band, Curve, cut, format_setting, loss_limit, with_short_names

ACCURACY = {"val": "accuracy", "train": "accuracy"}
MAX_POINTS = 12_000  # epochs of all curves together, so that a page of 500 runs stays small
MIN_POINTS = 20  # of a curve, nevertheless
PART_LENGTH = 24  # characters of a name or a value at the end of a line
VAGUE = {"rate", "size", "prob", "alpha", "weights", "arch", "width", "depth", "factor"}  # without their group
PLAIN = {"none", "true", "false", "yes", "no", "default", "null", "-"}  # values that say nothing without their setting


def curve_data(
    curves: Sequence[Curve], share: float = 1.0, measured: Mapping[str, str] = ACCURACY
) -> dict[str, Any] | None:
    """Return what the page's script draws; None where there are no curves.

    Args:
        curves: of a dataset.
        share: of the page's points.
        measured: names of what is drawn as accuracy, of validation (`val`) and training images (`train`).
    """
    if not curves:
        return None
    limit = loss_limit(curves)
    points = max(MIN_POINTS, int(share * MAX_POINTS) // len(curves))
    named = zip(with_short_names(curves), name_parts(curves), strict=True)
    data = [as_data(curve, points) | {"parts": parts} for curve, parts in named]
    return {
        "curves": data,
        "measured": dict(measured),
        "loss_limit": None if limit is None else rounded(limit, 3),
        "thinned": any(len(thin["epochs"]) < len(curve.epochs) for thin, curve in zip(data, curves, strict=True)),
    }


def name_parts(curves: Sequence[Curve]) -> list[list[str]]:
    """Return for each curve the values in which the curves differ, with the setting's name where it is needed.

    A text stands alone, as `cnn_pool`, where no other setting has that value. A missing value is empty.
    """
    settings = [name for name in curves[0].settings if len({repr(curve.settings.get(name)) for curve in curves}) > 1]
    often = Counter(value for name in settings for value in {str(curve.settings.get(name)) for curve in curves})
    short = {name: short_name(name) for name in settings}
    often_short = Counter(short.values())

    def part(curve: Curve, name: str) -> str:
        value = curve.settings.get(name)
        if value is None:
            return ""
        text = cut(format_setting(name, value), PART_LENGTH)
        alone = isinstance(value, str) and often[value] == 1 and text.lower() not in PLAIN
        return text if alone else f"{cut(short[name] if often_short[short[name]] == 1 else name, PART_LENGTH)}={text}"

    found = [[part(curve, name) for name in settings] for curve in curves]
    times = Counter(map(tuple, found))
    return [parts if times[tuple(parts)] == 1 else [curve.name] for parts, curve in zip(found, curves, strict=True)]


def short_name(setting: str) -> str:
    """Return `lr` of optimizer.lr, but `dropout` of dropout.rate."""
    group, _, last = setting.rpartition(".")
    return group if group and last in VAGUE else last


def as_data(curve: Curve, max_epochs: int) -> dict[str, Any]:
    """Return a curve with at most so many epochs, the first and the last among them, to four digits."""
    last = len(curve.epochs) - 1
    kept: Sequence[int] = range(last + 1)
    if last >= max_epochs:
        kept = sorted({round(index * last / (max_epochs - 1)) for index in range(max_epochs)})

    def thin(values: Sequence[float]) -> list[float]:
        return [rounded(values[index], 4) for index in kept]

    def band(values: Band | None) -> dict[str, Any] | None:
        if values is None:
            return None
        edges = {"low": thin(values.low), "high": thin(values.high)} if max(curve.runs) > 1 else {}
        return {"mean": thin(values.mean)} | edges

    return {
        "name": curve.name,
        "state": curve.state,
        "epochs": [curve.epochs[index] for index in kept],
        "runs": [curve.runs[index] for index in kept],
        "seconds": thin(curve.seconds),
        "val_acc": band(curve.val_acc),
        "train_acc": band(curve.train_acc),
        "val_loss": band(curve.val_loss),
        "train_loss": band(curve.train_loss),
        "convergence_epoch": None if curve.convergence_epoch is None else rounded(curve.convergence_epoch, 4),
    }


def rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")

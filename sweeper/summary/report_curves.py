"""Learning curves as data for the report's script."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sweeper.summary.learning_curves import Band, Curve, cut, format_setting, loss_limit, with_short_names

MAX_POINTS = 12_000  # epochs of all curves together, so that a page of 500 runs stays small
MIN_POINTS = 20  # of a curve, nevertheless
LABEL_LENGTH = 34  # characters at the end of a line
PLAIN = {"none", "true", "false", "yes", "no", "default", "null", "-"}  # values that say nothing without their setting


def curve_data(curves: Sequence[Curve], share: float = 1.0) -> dict[str, Any] | None:
    """Return what the page's script draws; None where there are no curves.

    Args:
        curves: of a dataset.
        share: of the page's points.
    """
    if not curves:
        return None
    limit = loss_limit(curves)
    points = max(MIN_POINTS, int(share * MAX_POINTS) // len(curves))
    named = zip(with_short_names(curves), labels(curves), strict=True)
    data = [as_data(curve, points) | {"label": label} for curve, label in named]
    return {
        "curves": data,
        "loss_limit": None if limit is None else rounded(limit, 3),
        "thinned": any(len(thin["epochs"]) < len(curve.epochs) for thin, curve in zip(data, curves, strict=True)),
    }


def labels(curves: Sequence[Curve]) -> list[str]:
    """Return a short name for each curve: the values in which they differ, with the setting's name where it is needed.

    A text stands alone, as `cnn_pool`, where no other setting has that value. Equal names become the curves' own.
    """
    settings = [name for name in curves[0].settings if len({repr(curve.settings.get(name)) for curve in curves}) > 1]
    values = {name: {curve.settings.get(name) for curve in curves} for name in settings}
    often = Counter(value for found in values.values() for value in found)
    last = Counter(name.rpartition(".")[2] for name in settings)
    found = []
    for curve in curves:
        parts = []
        for name in settings:
            value = curve.settings.get(name)
            text = format_setting(name, value)
            short = name.rpartition(".")[2]
            key = short if last[short] == 1 else name
            alone = isinstance(value, str) and often[value] == 1 and text.lower() not in PLAIN
            parts += [] if value is None else [text if alone else f"{key}={text}"]
        found.append(", ".join(parts) or curve.name)
    times = Counter(found)
    return [cut(text if times[text] == 1 else curve.name, LABEL_LENGTH) for text, curve in zip(found, curves, strict=True)]


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

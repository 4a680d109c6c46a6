"""Learning curves as data for the report's script."""

from collections.abc import Sequence
from typing import Any

from sweeper.summary.learning_curves import Band, Curve, loss_limit

MAX_POINTS = 40_000  # of all curves together, so that a page of 500 runs stays small
MIN_POINTS = 25  # of a curve, nevertheless


def curve_data(curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Return what the page's script draws; None where there are no curves."""
    if not curves:
        return None
    limit = loss_limit(curves)
    data = [as_data(curve, max(MIN_POINTS, MAX_POINTS // len(curves))) for curve in curves]
    return {
        "curves": data,
        "loss_limit": None if limit is None else rounded(limit, 3),
        "thinned": any(len(thin["epochs"]) < len(curve.epochs) for thin, curve in zip(data, curves, strict=True)),
    }


def as_data(curve: Curve, max_epochs: int) -> dict[str, Any]:
    """Return a curve with at most so many epochs, the first and the last among them, to five digits."""
    last = len(curve.epochs) - 1
    kept: Sequence[int] = range(last + 1)
    if last >= max_epochs:
        kept = sorted({round(index * last / (max_epochs - 1)) for index in range(max_epochs)})

    def thin(values: Sequence[float]) -> list[float]:
        return [rounded(values[index], 5) for index in kept]

    def band(values: Band) -> dict[str, Any]:
        edges = {"low": thin(values.low), "high": thin(values.high)} if max(curve.runs) > 1 else {}
        return {"mean": thin(values.mean), "low": None, "high": None} | edges

    return {
        "name": curve.name,
        "state": curve.state,
        "epochs": [curve.epochs[index] for index in kept],
        "runs": [curve.runs[index] for index in kept],
        "seconds": thin(curve.seconds.mean),
        "val_acc": band(curve.val_acc),
        "train_loss": band(curve.train_loss),
        "convergence_epoch": None if curve.convergence_epoch is None else rounded(curve.convergence_epoch, 5),
    }


def rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")

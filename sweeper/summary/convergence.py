"""Convergence: computed from a finished learning curve when it is read, not a property of the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.errors import UserError

DEFAULT_FRACTION = 0.99


@dataclass(frozen=True, kw_only=True)
class ConvergenceOptions:
    """How learning curves are read; the same for all runs of a table.

    Attributes:
        fraction: fraction of a run's best validation accuracy that counts as converged.
        target_acc: validation accuracy whose first epoch is reported; None: no target.

    Raises:
        UserError: a value is out of range.
    """

    fraction: float = DEFAULT_FRACTION
    target_acc: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--convergence-fraction", self.fraction), ("--target-acc", self.target_acc)):
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{option} {value}: must be above 0 and at most 1")

    @property
    def arguments(self) -> list[str]:
        """Return the options of a command line that differ from the defaults."""
        fraction = ["--convergence-fraction", str(self.fraction)] if self.fraction != DEFAULT_FRACTION else []
        return fraction + ([] if self.target_acc is None else ["--target-acc", str(self.target_acc)])

    def captions(self, metric: str) -> list[str]:
        """Describe what differs from the defaults, a line each.

        Args:
            metric: of whose learning curves this is, such as val_acc.
        """
        lines = []
        if self.fraction != DEFAULT_FRACTION:
            lines.append(f"Converged: the first epoch at {self.percent} of the run's best {metric}")
        if self.target_acc is not None:
            lines.append(f"epochs_to_target: the first epoch with {metric} of at least {self.target_acc:g}")
        return lines

    @property
    def percent(self) -> str:
        return f"{100 * self.fraction:g}%"


def convergence(
    rows: Sequence[dict[str, Any]], fraction: float, target_acc: float | None, score: str = "val_acc"
) -> dict[str, Any]:
    """Find when a run converged.

    Args:
        rows: its metrics, at least one row, each with epoch, `score` and train_seconds.
        fraction: see ConvergenceOptions.
        target_acc: see ConvergenceOptions.
        score: the metric that ranks runs, validation accuracy or that of another task.

    Returns:
        convergence_epoch: the first whose validation accuracy is at least `fraction` of the run's best.
        convergence_seconds: training seconds to the end of that epoch.
        epochs_to_target: the first epoch at or above `target_acc`; `>E` where none of E epochs is; None without a
            target.
    """
    best = max(row[score] for row in rows)
    converged = next(index for index, row in enumerate(rows) if row[score] >= fraction * best)
    epochs_to_target = None
    if target_acc is not None:
        reached = (row["epoch"] for row in rows if row[score] >= target_acc)
        epochs_to_target = next(reached, f">{len(rows)}")
    return {
        "convergence_epoch": rows[converged]["epoch"],
        "convergence_seconds": sum(row["train_seconds"] for row in rows[: converged + 1]),
        "epochs_to_target": epochs_to_target,
    }

"""Sweeps over training tricks for image classification: compose runs, train each once, compare them fairly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.api import results

__all__ = ["results"]


def __getattr__(name: str) -> Any:
    """Import `results` where it is used: commands start without it."""
    if name != "results":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from sweeper.api import results

    return results

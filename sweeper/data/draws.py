"""How an augmentation step declares the random numbers that it draws."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor


def needs_draws(number: int | Callable[..., int]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Mark a step with how many numbers D it draws per image and epoch, or with a function of its settings."""

    def mark(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        step.num_draws = number  # type: ignore[attr-defined]
        return step

    return mark


def changes_pixels(step: partial[Any]) -> bool:
    """Return whether a step is one of images, with draws; else it changes the order of an epoch."""
    return hasattr(step.func, "num_draws")


def num_draws(step: partial[Any]) -> int:
    """Return how many numbers a step with its settings draws per image and epoch."""
    number: int | Callable[..., int] = step.func.num_draws  # type: ignore[attr-defined]
    return number if isinstance(number, int) else number(**step.keywords)

"""my_courses: a course, which sets a quantity before each training step.

Train with it:

    python train.py extend=my_courses.py courses=my_courses norm=batch data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`courses.my_courses=0.9` changes it, and null turns the course off.
After an edit, runs that used what was edited are trained again.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from sweeper.data.batches import Step
from sweeper.errors import UserError


def my_courses(model: nn.Module, *, my_courses: float = 0.5) -> Callable[[nn.Module, Step], None]:
    """Return a course for a network: here, batch norm's statistics stay as they are after a fraction of training.

    What it sets must follow from `step.index` and `step.total` alone, so that there is no state to save.

    Args:
        my_courses: the fraction. The first setting turns the course on, so its name must be new to the group.

    Raises:
        UserError: the network has no batch norm.
    """
    norms: list[Any] = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    if not norms:
        raise UserError("courses.my_courses needs batch norm: choose norm=batch and a model that has norms")
    momenta = [layer.momentum for layer in norms]

    def course(model: nn.Module, step: Step) -> None:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum if step.index < my_courses * step.total else 0.0

    return course


# Courses by name. They combine with all others: courses=late_dropout courses.my_courses=0.9
COURSES = {"my_courses": my_courses}

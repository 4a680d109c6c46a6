"""What a task can be combined with: checked before images are read."""

from typing import Any

from sweeper.choice import keyword_only
from sweeper.config import Config
from sweeper.data.sources import DATASETS
from sweeper.errors import UserError, format_names
from sweeper.models import MODELS
from sweeper.training.task import TASKS, Task

CLASSES = "classes"  # the targets of datasets that do not say theirs


def selected(config: Config, choices: Any) -> str:
    """Return the metric that selects the best epoch: the setting, or the task's own.

    Args:
        choices: sweeper.training.build.Choices.
    """
    task: Task = choices.task()
    return config.select or f"val_{task.score}"


def targets_of(dataset: str) -> str:
    """Return what the images of a dataset have: `classes` or `masks`."""
    return str(getattr(DATASETS[dataset], "targets", CLASSES))


def task_of_model(model: str) -> str:
    """Return the task that a model is for: that which its function is marked with."""
    return str(getattr(MODELS[model], "task", "classification"))


def targets_needed(task: str) -> str:
    """Return the targets of a task, whatever its settings."""
    function = TASKS[task]
    described: Task = function(**dict.fromkeys(keyword_only(function), 0))
    return described.targets


def check_task(config: Config, choices: Any) -> None:
    """Check that data, model and tricks fit the task.

    Args:
        choices: sweeper.training.build.Choices.

    Raises:
        UserError: one does not; the sentence names those that do.
    """
    task: Task = choices.task()
    name = config.task.name
    if targets_of(config.data.name) != task.targets:
        fitting = [it for it in DATASETS if targets_of(it) == task.targets]
        others = [it for it in TASKS if targets_needed(it) == targets_of(config.data.name)]
        raise UserError(
            f"data={config.data.name} has {targets_of(config.data.name)}, and task={name} needs {task.targets}; choose "
            f"data={format_names(fitting)}, or task={format_names(others)}"
        )
    if task_of_model(config.model.name) != name:
        fitting = [it for it in MODELS if task_of_model(it) == name]
        raise UserError(
            f"model={config.model.name} is for task={task_of_model(config.model.name)}; for task={name}, choose "
            f"model={format_names(fitting)}"
        )
    chosen = selected(config, choices)
    if chosen.removeprefix("val_") not in task.metrics:
        raise UserError(
            f"select={chosen} is no metric of task={name}; choose from "
            f"{format_names([f'val_{metric}' for metric in task.metrics])}"
        )
    if task.targets == "masks":
        check_masks(config, choices, task)


def check_masks(config: Config, choices: Any, task: Task) -> None:
    """Refuse tricks that are only defined for a class per image.

    Raises:
        UserError: one is on.
    """
    named = f"task={config.task.name}"
    if config.mixing.name != "none":
        raise UserError(f"mixing={config.mixing.name} mixes the classes of images, and {named} has masks; choose none")
    if config.views.name != "none":
        raise UserError(
            f"views={config.views.name} averages the logits of images, and those of {named} are at their pixels; "
            "choose views=none"
        )
    if config.selective_backprop is not None:
        raise UserError(
            f"selective_backprop={config.selective_backprop} ranks images by the loss of their class, and {named} has "
            "masks; choose null"
        )
    if config.courses.progressive_resizing is not None:
        raise UserError(
            f"courses.progressive_resizing={config.courses.progressive_resizing} changes the size of images, but not "
            f"of their masks, which {named} needs; choose null"
        )
    task.moves(choices.augmentation)

"""The training loop: a step, an epoch, an evaluation, and `fit`, which combines them. No config, files or Hydra."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.data.batches import Step, TrainLoader
from sweeper.errors import Diverged
from sweeper.training.courses import Course
from sweeper.training.metrics import METRICS, best_epoch
from sweeper.training.momentum import set_momentum
from sweeper.training.schedules import LRMultiplier
from sweeper.training.state import LoopState, Row, TrainState
from sweeper.training.task import Task, classification

FINITE_CHECK_INTERVAL = 50  # steps between two checks of the loss
Batches = Iterable[tuple[Tensor, Tensor]]
Criterion = Callable[..., Tensor]  # logits (B, K), targets (B,) or (B, K), maybe teacher=logits (B, K) -> loss
Mixing = Callable[[Tensor, Tensor, int, Step], tuple[Tensor, Tensor]]
Momentum = Callable[[int], list[float]]  # step -> the momentum of each parameter group


@dataclass(frozen=True)
class Recipe:
    """How to train, fixed for a run.

    Attributes:
        lr: peak learning rate.
        lr_multiplier: the learning-rate schedule, see sweeper.training.schedules.
        num_classes: K.
        total_steps: steps of the whole training, for schedules and courses.
        select: the metric that selects the best epoch, such as val_acc.
        grad_clip: maximum norm of a step's gradient, or None (Pascanu et al. 2013).
        autocast: the dtype for operations where that is safe, or None (Micikevicius et al. 2018).
        selective_backprop: fraction of each batch that is trained on, see `largest_losses`, or None.
        courses: called before every step, see sweeper.training.courses.
        momentum: if the schedule changes it.
        teacher: the network whose logits for the images of a step are passed to the criterion, or None.
        task: what is learned.
    """

    criterion: Criterion
    lr: float
    lr_multiplier: LRMultiplier
    mixing: Mixing
    num_classes: int
    total_steps: int
    select: str = "val_acc"
    grad_clip: float | None = None
    autocast: torch.dtype | None = None
    selective_backprop: float | None = None
    courses: Sequence[Course] = ()
    momentum: Momentum | None = None
    teacher: nn.Module | None = None
    task: Task = field(default_factory=classification)

    def learning_rate(self, step: int, scores: Sequence[float]) -> float:
        """Return the base learning rate of a step, which each parameter group multiplies by its lr_factor."""
        return self.lr * self.lr_multiplier(step, scores)

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.select.removeprefix("val_")].higher_is_better  # type: ignore[no-any-return]

    def best(self, history: Sequence[Row]) -> Row | None:
        """Return the row of the best epoch; None without epochs."""
        return best_epoch(history, self.select, self.higher_is_better)

    def scores(self, history: Sequence[Row]) -> list[float]:
        """Return the selected metric of each epoch, negated where lower is better; schedules may depend on it."""
        return [row[self.select] if self.higher_is_better else -row[self.select] for row in history]


def fit(
    state: TrainState,
    recipe: Recipe,
    train_loader: TrainLoader,
    val_loader: Callable[[], Batches],
    *,
    epochs: int,
    patience: int | None = None,
    after_step: Callable[[], None] = lambda: None,
    after_epoch: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train until `epochs` are done or the selected metric has not improved for `patience` epochs.

    Start at `state.loop` and keep it up to date. `after_step` may raise Stopped.

    Raises:
        Diverged: the training loss or the validation loss is not finite.
    """
    loop = state.loop
    while loop.epoch <= epochs and not should_stop_early(loop, recipe, patience):
        train_epoch(state, recipe, train_loader, after_step)
        start = time.perf_counter()
        state.averaging.refresh(lambda model: show_images(model, recipe, train_loader, loop.epoch, after_step))
        task = recipe.task
        val = evaluate(state.eval_model(), val_loader(), recipe.num_classes, recipe.autocast, after_step, task)
        if not math.isfinite(val.loss):
            raise Diverged(f"validation loss is {val.loss} after epoch {loop.epoch}")
        row = {
            "epoch": loop.epoch,
            "train_loss": float(loop.loss_sum) / loop.num_samples,
            f"train_{task.train_metric}": loop.num_correct.item() / loop.num_samples,
            **{f"val_{name}": METRICS[name].compute(val) for name in task.metrics},
            "lr": recipe.learning_rate(loop.epoch * len(train_loader) - 1, recipe.scores(loop.history)),
            "train_seconds": loop.seconds,
            "eval_seconds": time.perf_counter() - start,
            "images_per_second": train_loader.num_images / loop.seconds,
        }
        loop.next_epoch(row)
        after_epoch(row)


def should_stop_early(loop: LoopState, recipe: Recipe, patience: int | None) -> bool:
    best = recipe.best(loop.history)
    return patience is not None and best is not None and len(loop.history) - best["epoch"] >= patience


def train_epoch(
    state: TrainState, recipe: Recipe, train_loader: TrainLoader, after_step: Callable[[], None] = lambda: None
) -> None:
    """Train on the batches of an epoch, from loop.step_in_epoch on."""
    loop = state.loop
    scores = recipe.scores(loop.history)
    first_step = (loop.epoch - 1) * len(train_loader)
    device = next(state.model.parameters()).device
    loop.loss_sum, loop.num_correct = loop.loss_sum.to(device), loop.num_correct.to(device)

    state.model.train()
    start = time.perf_counter()
    for batch in train_loader.epoch(loop.epoch, loop.step_in_epoch):
        images, targets = batch if recipe.selective_backprop is None else largest_losses(state.model, recipe, *batch)
        step = Step(first_step + loop.step_in_epoch, recipe.total_steps, train_loader.seed)
        for group in state.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step.index, scores) * group["lr_factor"]
        if recipe.momentum is not None:
            set_momentum(state.optimizer, recipe.momentum(step.index))
        for course in recipe.courses:
            course(state.model, step)
        loss, logits = train_step(state, recipe, *recipe.mixing(images, targets, recipe.num_classes, step))
        state.averaging.update(state.model, step)
        with torch.no_grad():
            loop.loss_sum += loss * len(targets)
            loop.num_correct = loop.num_correct + recipe.task.num_correct(logits, targets)  # a count or fractions
        loop.num_samples += len(targets)
        loop.step_in_epoch += 1
        if loop.step_in_epoch % FINITE_CHECK_INTERVAL == 0 or loop.step_in_epoch == len(train_loader):
            raise_if_diverged(loop)
        loop.seconds += time.perf_counter() - start
        after_step()
        start = time.perf_counter()


def train_step(state: TrainState, recipe: Recipe, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Update the weights once.

    Returns:
        The loss and the logits (B, K) of the weights before the update.
    """
    computed: list[tuple[Tensor, Tensor]] = []
    criterion = recipe.criterion
    if recipe.teacher is not None:
        with torch.no_grad():
            criterion = partial(criterion, teacher=forward(recipe.teacher, images, recipe.autocast))

    def closure() -> Tensor:  # an optimizer may call it several times per step, as SAM does
        with batch_statistics_kept(state.model) if computed else nullcontext():
            logits = forward(state.model, images, recipe.autocast)
        loss = criterion(logits, targets)
        state.optimizer.zero_grad()
        loss.backward()
        if recipe.grad_clip is not None:
            groups = state.optimizer.param_groups
            nn.utils.clip_grad_norm_([weight for group in groups for weight in group["params"]], recipe.grad_clip)
        computed.append((loss, logits))
        return loss

    state.optimizer.step(closure)  # type: ignore[arg-type]
    return computed[0]


@torch.no_grad()
def largest_losses(model: nn.Module, recipe: Recipe, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Select the images of a batch with the largest cross-entropy, and their targets (Jiang et al. 2019).

    The losses are computed in evaluation mode: without dropout, and without changing batch statistics.

    Args:
        recipe: has the fraction that is selected, see `num_selected`.
        images, targets: (B, C, H, W) or features (B, D), and class indices (B,).
    """
    model.eval()
    losses = F.cross_entropy(forward(model, images, recipe.autocast), targets, reduction="none")
    model.train()
    selected = losses.topk(num_selected(len(images), recipe.selective_backprop or 1.0)).indices.sort().values
    return images[selected], targets[selected]


def num_selected(batch_size: int, fraction: float) -> int:
    """Return how many images selective backprop trains on: the fraction rounded up, at least two for batch norm."""
    return max(2, math.ceil(fraction * batch_size))


def forward(model: nn.Module, images: Tensor, autocast: torch.dtype | None) -> Tensor:
    """Compute logits (B, K) float32, in mixed precision where `autocast` is given."""
    if autocast is None:
        return cast(Tensor, model(images))
    with torch.autocast(images.device.type, autocast):
        return cast(Tensor, model(images)).float()


@contextmanager
def batch_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of batch norm, which count only the first pass through a batch."""
    layers = [layer for layer in model.modules() if getattr(layer, "track_running_stats", False)]
    for layer in layers:
        layer.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True  # type: ignore[assignment]


def show_images(
    model: nn.Module, recipe: Recipe, train_loader: TrainLoader, epoch: int, after_batch: Callable[[], None]
) -> None:
    """Pass the training images of an epoch through a network, for the statistics of its layers."""
    with torch.no_grad():
        for images, _ in train_loader.epoch(epoch):
            forward(model, images, recipe.autocast)
            after_batch()


def raise_if_diverged(loop: LoopState) -> None:
    """Raise Diverged if the loss so far is not finite; on a GPU, the only synchronization of a step."""
    loss = float(loop.loss_sum)
    if not math.isfinite(loss):
        raise Diverged(f"training loss is {loss} at epoch {loop.epoch}, step {loop.step_in_epoch}")


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    autocast: torch.dtype | None = None,
    after_batch: Callable[[], None] = lambda: None,
    task: Task | None = None,
) -> Any:
    """Evaluate a network in evaluation mode on all images, without augmentation, mixing or label smoothing.

    Args:
        task: what is learned; None: classification.

    Returns:
        What the task makes of the outputs, such as an Evaluation.
    """
    model.eval()

    def outputs() -> Iterator[tuple[Tensor, Tensor]]:
        for images, targets in batches:
            yield forward(model, images, autocast), targets
            after_batch()

    return (task or classification()).evaluate(outputs(), num_classes)

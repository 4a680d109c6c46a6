"""The training loop: an epoch, an evaluation, and the fit that strings them together. No config, no files, no Hydra."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sweeper.data.batches import TrainBatches
from sweeper.errors import Diverged
from sweeper.training.schedules import Factor

CHECK_EVERY = 50  # steps between two looks at the loss
Row = dict[str, Any]
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass
class Progress:
    """Where training stands, besides weights, optimizer state and random generators.

    Attributes:
        epoch: the epoch in progress, from 1; one more than the last when all are done.
        batch: batches of it that are done.
        loss_sum, correct, seen: of these batches, summed over images one batch after the other, so that a run that
            was cut has the same sums; the first two stay on the device.
        seconds: of these batches.
        rows: the metrics of the epochs done.
    """

    epoch: int = 1
    batch: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    correct: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    seen: int = 0
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)

    def next_epoch(self, row: Row) -> None:
        """Close the epoch in progress with its row."""
        self.rows.append(row)
        self.epoch, self.batch, self.seen, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.loss_sum, self.correct = torch.zeros_like(self.loss_sum), torch.zeros_like(self.correct)

    @property
    def best(self) -> Row | None:
        """The row of the best validation accuracy, the earliest among equals."""
        return max(self.rows, key=lambda row: row["val_acc"], default=None)


@dataclass
class Training:
    """What `fit` trains with.

    Attributes:
        factor: the learning-rate schedule, see sweeper.scheduler.
        lr: peak learning rate.
        label_smoothing: share of the target spread over all classes (Szegedy et al. 2016).
        grad_clip: largest norm of a step's gradient, or None (Pascanu et al. 2013).
        autocast: the type that layers compute in where that is safe, or None (Micikevicius et al. 2018).
    """

    model: nn.Module
    optimizer: Optimizer
    factor: Factor
    lr: float
    label_smoothing: float = 0.0
    grad_clip: float | None = None
    autocast: torch.dtype | None = None

    def logits(self, images: Tensor) -> Tensor:
        """What the network says of a batch: (B, classes) float32."""
        if self.autocast is None:
            return cast(Tensor, self.model(images))
        with torch.autocast(images.device.type, self.autocast):
            return cast(Tensor, self.model(images)).float()


def fit(
    training: Training,
    train: TrainBatches,
    val: Callable[[], Batches],
    progress: Progress,
    *,
    epochs: int,
    patience: int | None = None,
    after_step: Callable[[], None] = lambda: None,
    after_epoch: Callable[[Row], None] = lambda row: None,
) -> None:
    """Train until `epochs` are done or the validation accuracy has not improved for `patience` epochs.

    Begins where `progress` stands and keeps it up to date. `after_step` may raise Stopped.

    Raises:
        Diverged: the training loss or the validation loss is not finite.
    """
    while progress.epoch <= epochs and not out_of_patience(progress, patience):
        train_epoch(training, train, progress, after_step)
        begin = time.perf_counter()
        val_loss, val_acc, _ = evaluate(training, val(), after_step)
        if not math.isfinite(val_loss):
            raise Diverged(f"the validation loss is {val_loss} after epoch {progress.epoch}")
        row = {
            "epoch": progress.epoch,
            "train_loss": float(progress.loss_sum) / progress.seen,
            "train_acc": int(progress.correct) / progress.seen,
            "val_loss": val_loss,
            "val_acc": val_acc,
            "lr": training.optimizer.param_groups[0]["lr"],
            "train_seconds": progress.seconds,
            "eval_seconds": time.perf_counter() - begin,
            "images_per_second": progress.seen / progress.seconds,
        }
        progress.next_epoch(row)
        after_epoch(row)


def out_of_patience(progress: Progress, patience: int | None) -> bool:
    best = progress.best
    return patience is not None and best is not None and len(progress.rows) - best["epoch"] >= patience


def train_epoch(
    training: Training, train: TrainBatches, progress: Progress, after_step: Callable[[], None] = lambda: None
) -> None:
    """One pass over the training images, from progress.batch on."""
    model, optimizer = training.model, training.optimizer
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    val_accs = [row["val_acc"] for row in progress.rows]
    first_step = (progress.epoch - 1) * len(train)
    device = parameters[0].device
    progress.loss_sum, progress.correct = progress.loss_sum.to(device), progress.correct.to(device)

    model.train()
    begin = time.perf_counter()
    for images, labels in train.epoch(progress.epoch, progress.batch):
        lr = training.lr * training.factor(first_step + progress.batch, val_accs)
        for group in optimizer.param_groups:
            group["lr"] = lr
        logits = training.logits(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=training.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if training.grad_clip is not None:
            nn.utils.clip_grad_norm_(parameters, training.grad_clip)
        optimizer.step()
        with torch.no_grad():
            progress.loss_sum += loss * len(labels)
            progress.correct += (logits.argmax(1) == labels).sum()
        progress.seen += len(labels)
        progress.batch += 1
        if progress.batch % CHECK_EVERY == 0 or progress.batch == len(train):
            require_finite(progress)
        progress.seconds += time.perf_counter() - begin
        after_step()
        begin = time.perf_counter()


def require_finite(progress: Progress) -> None:
    """Raise Diverged where the loss so far is not finite; on a GPU, the one place that waits for it."""
    loss = float(progress.loss_sum)
    if not math.isfinite(loss):
        raise Diverged(f"the training loss is {loss} in epoch {progress.epoch}, by step {progress.batch}")


@torch.inference_mode()
def evaluate(
    training: Training, batches: Batches, after_batch: Callable[[], None] = lambda: None
) -> tuple[float, float, Tensor]:
    """Mean cross-entropy, accuracy, and the predicted classes (N,) of all images."""
    training.model.eval()
    loss_sum, correct, predictions = 0.0, 0, []
    for images, labels in batches:
        logits = training.logits(images)
        loss_sum += float(F.cross_entropy(logits, labels, reduction="sum"))
        predicted = logits.argmax(1)
        correct += int((predicted == labels).sum())
        predictions.append(predicted.cpu())
        after_batch()
    predicted = torch.cat(predictions)
    return loss_sum / len(predicted), correct / len(predicted), predicted


def confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Images by true class (rows) and predicted class (columns): (num_classes, num_classes)."""
    pairs = labels.cpu() * num_classes + predicted
    return pairs.bincount(minlength=num_classes**2).reshape(num_classes, num_classes)

"""A tiny task and network that tests of the loop share."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sweeper.data.augmentation import crop, flip
from sweeper.data.batches import Normalize, TrainLoader, eval_batches
from sweeper.data.cache import Images
from sweeper.data.mixing import none
from sweeper.errors import Stopped
from sweeper.training.loop import Recipe, fit
from sweeper.training.losses import cross_entropy
from sweeper.training.metrics import METRICS, Evaluation, confusion_matrix
from sweeper.training.state import Row, TrainState

Task = tuple[TrainLoader, Callable[[], Iterator[tuple[Tensor, Tensor]]]]
TIMINGS = ("train_seconds", "eval_seconds", "images_per_second")
LR, SEED, NUM_CLASSES, STEPS_PER_EPOCH = 0.05, 3, 3, 3


def task() -> Task:
    """Return 22 training images of three classes in batches of 8, 8 and 6, and 14 validation images in two batches."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (36, 2, 4, 4), dtype=torch.uint8, generator=generator)
    data = Images(images, images.float().mean((1, 2, 3)).argsort().argsort() % NUM_CLASSES)
    normalize = Normalize(torch.tensor([0.4, 0.5]), torch.tensor([0.2, 0.3]))
    steps = {"flip": partial(flip, flip="random"), "crop": partial(crop, crop_padding=1)}
    train = TrainLoader(data, torch.arange(22), 8, SEED, normalize, steps)

    def val() -> Iterator[tuple[Tensor, Tensor]]:
        for indices in (torch.arange(22, 32), torch.arange(32, 36)):
            yield from eval_batches(data, indices, normalize)

    return train, val


def network() -> nn.Module:
    """Return a network that has batch statistics and draws from torch's generator."""
    torch.manual_seed(1)
    layers = (nn.Flatten(), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return nn.Sequential(*layers)


def decaying(step: int, val_accs: Any) -> float:
    return 1 / (1 + step + float(sum(val_accs)))


def sgd(model: nn.Module) -> Optimizer:
    return torch.optim.SGD([{"params": model.parameters(), "lr_factor": 1.0}], lr=LR, momentum=0.9)


def recipe(label_smoothing: float = 0.0, **changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "criterion": partial(cross_entropy, label_smoothing=label_smoothing),
        "lr": LR,
        "lr_multiplier": decaying,
        "mixing": none,
        "num_classes": NUM_CLASSES,
        "total_steps": 3 * STEPS_PER_EPOCH,
    }
    return Recipe(**values | changes)


def trained(state: TrainState, how: Recipe, **options: Any) -> TrainState:
    """Train on the task, for three epochs by default."""
    fit(state, how, *task(), **{"epochs": 3} | options)
    return state


def stopped(state: TrainState, how: Recipe, *, calls: int) -> TrainState:
    """Train until the given call of `after_step`, which evaluations make as well."""
    left = calls

    def after_step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped

    with pytest.raises(Stopped):
        trained(state, how, after_step=after_step)
    return state


def untimed(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def reference(
    epochs: int,
    *,
    label_smoothing: float = 0.0,
    grad_clip: float | None = None,
    autocast: torch.dtype | None = None,
    mix: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] = lambda images, targets, step: (images, targets),
) -> tuple[nn.Module, list[Row]]:
    """Train the network on the task by a loop that is written out.

    Args:
        mix: takes a batch and the number of steps done, and returns images and targets.
    """
    model, (train, val), rows = network(), task(), list[Row]()

    def logits_of(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast is not None):
            return cast(Tensor, model(images)).float()

    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    for epoch in range(1, epochs + 1):
        loss_sum, correct = 0.0, 0
        for number, (images, targets) in enumerate(train.epoch(epoch)):
            step = STEPS_PER_EPOCH * (epoch - 1) + number
            lr = LR * decaying(step, [row["val_acc"] for row in rows])
            optimizer.param_groups[0]["lr"] = lr
            model.train()
            mixed, mixed_targets = mix(images, targets, step)
            logits = logits_of(mixed)
            loss = F.cross_entropy(logits, mixed_targets, label_smoothing=label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), grad_clip or 1e9)
            optimizer.step()
            loss_sum += float(loss.detach() * len(targets))
            correct += int((logits.argmax(1) == targets).sum())
        model.eval()
        with torch.no_grad():
            outputs = [(logits_of(images), targets) for images, targets in val()]
        logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        val_loss = sum(float(F.cross_entropy(*output, reduction="sum")) for output in outputs) / 14
        evaluation = Evaluation(val_loss, logits, confusion_matrix(targets, logits.argmax(1), NUM_CLASSES))
        row = {"epoch": epoch, "train_loss": loss_sum / 22, "train_acc": correct / 22}
        row |= {"val_loss": val_loss, "val_acc": int((logits.argmax(1) == targets).sum()) / 14}
        row |= {f"val_{name}": METRICS[name].compute(evaluation) for name in ("balanced_acc", "macro_f1")}
        rows.append(row | {"lr": lr})
    return model, rows

"""The loop against ten lines of plain torch, cut at every step, and what it measures."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.data.augmentation import flip_crop
from sweeper.data.batches import Normalise, TrainBatches, eval_batches
from sweeper.data.cache import Images
from sweeper.errors import Diverged, Stopped
from sweeper.training.loop import Progress, Row, Training, confusion, evaluate, fit
from sweeper.training.schedules import Factor

TIMINGS = ("train_seconds", "eval_seconds", "images_per_second")
LR = 0.05


def task() -> tuple[TrainBatches, Callable[[], Iterator[tuple[Tensor, Tensor]]]]:
    """22 training images of three classes in batches of 8, 8 and 6, and 14 validation images in two batches."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (36, 2, 4, 4), dtype=torch.uint8, generator=generator)
    data = Images(images, images.float().mean((1, 2, 3)).argsort().argsort() % 3)
    normalise = Normalise(torch.tensor([0.4, 0.5]), torch.tensor([0.2, 0.3]))
    train = TrainBatches(data, torch.arange(22), 8, 3, normalise, partial(flip_crop, padding=1))

    def val() -> Iterator[tuple[Tensor, Tensor]]:
        for places in (torch.arange(22, 32), torch.arange(32, 36)):
            yield from eval_batches(data, places, normalise)

    return train, val


def network() -> nn.Module:
    """A network with both batch statistics and draws of its own."""
    torch.manual_seed(1)
    layers = (nn.Flatten(), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return nn.Sequential(*layers)


def decaying(step: int, val_accs: Any) -> float:
    return 1 / (1 + step + float(sum(val_accs)))


def training(model: nn.Module, factor: Factor = decaying, **settings: Any) -> Training:
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    return Training(model, optimizer, factor, LR, **settings)


def untimed(rows: list[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def reference(
    epochs: int, label_smoothing: float = 0.0, grad_clip: float | None = None, autocast: torch.dtype | None = None
) -> tuple[nn.Module, list[Row]]:
    """The same training, written out."""
    model, (train, val), rows = network(), task(), list[Row]()

    def logits_of(images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast is not None):
            return cast(Tensor, model(images)).float()

    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    for epoch in range(1, epochs + 1):
        loss_sum, correct = 0.0, 0
        for number, (images, labels) in enumerate(train.epoch(epoch)):
            lr = LR * decaying(3 * (epoch - 1) + number, [row["val_acc"] for row in rows])
            optimizer.param_groups[0]["lr"] = lr
            model.train()
            logits = logits_of(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), grad_clip or 1e9)
            optimizer.step()
            loss_sum += float(loss.detach() * len(labels))
            correct += int((logits.argmax(1) == labels).sum())
        model.eval()
        with torch.no_grad():
            outputs = [(logits_of(images), labels) for images, labels in val()]
        val_loss = sum(float(F.cross_entropy(logits, labels, reduction="sum")) for logits, labels in outputs) / 14
        val_acc = sum(int((logits.argmax(1) == labels).sum()) for logits, labels in outputs) / 14
        row = {"epoch": epoch, "train_loss": loss_sum / 22, "train_acc": correct / 22}
        rows.append(row | {"val_loss": val_loss, "val_acc": val_acc, "lr": lr})
    return model, rows


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("grad_clip", [None, 0.05])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_fit_is_the_reference(label_smoothing: float, grad_clip: float | None, autocast: torch.dtype | None) -> None:
    settings: dict[str, Any] = {"label_smoothing": label_smoothing, "grad_clip": grad_clip, "autocast": autocast}
    model, progress, (train, val) = network(), Progress(), task()
    fit(training(model, **settings), train, val, progress, epochs=3)
    expected, rows = reference(3, **settings)
    assert equal(model, expected)
    assert untimed(progress.rows) == rows
    assert (progress.epoch, progress.batch, progress.seen) == (4, 0, 0)
    assert all(
        row["images_per_second"] == 22 / row["train_seconds"] and row["eval_seconds"] > 0 for row in progress.rows
    )
    assert all(value.dtype in (torch.float32, torch.int64) for value in model.state_dict().values())
    assert equal(model, reference(3)[0]) == (label_smoothing == 0 and grad_clip is None and autocast is None)


@pytest.fixture(scope="module")
def uncut() -> tuple[nn.Module, list[Row]]:
    model, progress, (train, val) = network(), Progress(), task()
    fit(training(model), train, val, progress, epochs=3)
    return model, untimed(progress.rows)


@pytest.mark.parametrize("last_call", range(1, 3 * (3 + 2) + 1))  # three epochs of three steps and two evaluations
def test_stopped_and_continued_is_uncut(last_call: int, uncut: tuple[nn.Module, list[Row]]) -> None:
    model, progress, (train, val) = network(), Progress(), task()
    trainer, calls = training(model), 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == last_call:
            raise Stopped

    with pytest.raises(Stopped):
        fit(trainer, train, val, progress, epochs=3, after_step=stop)
    assert len(progress.rows) == (last_call - 1) // 5 and progress.batch == min(3, (last_call - 1) % 5 + 1)
    fit(trainer, train, val, progress, epochs=3)
    assert equal(model, uncut[0])
    assert untimed(progress.rows) == uncut[1]


@pytest.mark.parametrize(
    "correct, patience, epochs_done, best",
    [
        ([5, 5, 5, 5, 5], 2, 3, 1),
        ([5, 6, 6, 5, 9], 2, 4, 2),
        ([1, 2, 3, 4, 5], 1, 5, 5),
        ([5, 4, 6, 5, 5], 2, 5, 3),
        ([0, 0, 9, 9, 9], 1, 2, 1),
        ([5, 6, 7, 7, 7], None, 5, 3),
        ([0, 0, 0, 0, 0], None, 5, 1),
    ],
)
def test_patience_and_best(correct: list[int], patience: int | None, epochs_done: int, best: int) -> None:
    """So many of ten validation images are of class 0, epoch by epoch."""
    linear = nn.Linear(32, 3)
    linear.load_state_dict({"weight": torch.zeros(3, 32), "bias": torch.tensor([1.0, 0.0, 0.0])})  # all are of class 0
    trainer = training(nn.Sequential(nn.Flatten(), linear), lambda step, val_accs: 0.0)
    progress, seen = Progress(), list[Row]()
    assert progress.best is None

    def val() -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.zeros(10, 2, 4, 4), (torch.arange(10) >= correct[len(progress.rows)]).long()

    for _ in range(2):  # a run that is out of patience stays so
        fit(trainer, task()[0], val, progress, epochs=5, patience=patience, after_epoch=seen.append)
    assert [row["val_acc"] for row in progress.rows] == [count / 10 for count in correct[:epochs_done]]
    assert seen == progress.rows
    assert progress.best is progress.rows[best - 1]


@pytest.mark.parametrize(
    "batch_size, passes, batch, sentence",
    [
        (8, 1, 3, "the training loss is (nan|inf) in epoch 1, by step 3"),
        (2, 10, 50, "the training loss is (nan|inf) in epoch 1, by step 50"),  # before the epoch ends
        (22, 1, 1, "the validation loss is (nan|inf) after epoch 1"),  # the loss before the only step is finite
    ],
)
def test_diverged(batch_size: int, passes: int, batch: int, sentence: str) -> None:
    model, progress, (train, val) = nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), Progress(), task()
    train.indices, train.batch_size = train.indices.repeat(passes), batch_size
    with pytest.raises(Diverged, match=sentence):
        fit(training(model, lambda step, val_accs: 6e39), train, val, progress, epochs=2)
    assert (progress.epoch, progress.batch, progress.rows) == (1, batch, [])


def test_evaluate_counts_and_changes_nothing() -> None:
    model, (_, val), calls = network(), task(), list[None]()
    before, state = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    loss, acc, predicted = evaluate(training(model.train()), val(), lambda: calls.append(None))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    images, labels = (torch.cat(parts) for parts in zip(*val(), strict=True))
    logits = model.eval()(images)
    assert torch.equal(predicted, logits.argmax(1))
    assert acc == int((predicted == labels).sum()) / 14
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "labels, predicted, expected",
    [
        ([0, 0, 1, 2], [0, 1, 1, 0], [[1, 1, 0], [0, 1, 0], [1, 0, 0]]),
        ([1, 1, 1], [2, 2, 0], [[0, 0, 0], [1, 0, 2], [0, 0, 0]]),
        ([], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_confusion(labels: list[int], predicted: list[int], expected: list[list[int]]) -> None:
    assert confusion(torch.tensor(labels).long(), torch.tensor(predicted).long(), 3).tolist() == expected

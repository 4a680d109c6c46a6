"""The loop against a loop written out, stopped at every step, and what it measures."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from tiny import LR, NUM_CLASSES, decaying, equal, network, recipe, reference, sgd, stopped, task, trained, untimed
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.data.batches import Step
from sweeper.errors import Diverged
from sweeper.training.loop import evaluate, fit, num_selected
from sweeper.training.losses import distillation
from sweeper.training.sam import SAM
from sweeper.training.state import Row, TrainState


def start(model: nn.Module) -> TrainState:
    return TrainState(model, sgd(model))


def largest_first(model: nn.Module, images: Tensor, targets: Tensor, number: int) -> list[int]:
    """Rank images by their losses, one by one, in evaluation mode; return the indices of the first in order."""
    frozen = copy.deepcopy(model).eval()
    losses = [-float(frozen(images[n : n + 1]).log_softmax(1)[0, targets[n]].detach()) for n in range(len(images))]
    return sorted(sorted(range(len(images)), key=losses.__getitem__, reverse=True)[:number])


def test_selective_backprop_trains_on_the_largest_losses() -> None:
    """Of batches of 8, 8 and 6 images, 0.4 are 4, 4 and 3; the selection changes neither weights nor statistics."""
    model, total, rows = network(), 0.0, 0
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    for number, (images, targets) in enumerate(task()[0].epoch(1)):
        optimizer.param_groups[0]["lr"] = LR * decaying(number, [])
        chosen = largest_first(model, images, targets, 3 if len(images) == 6 else 4)
        loss = F.cross_entropy(model.train()(images[chosen]), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, rows = total + float(loss.detach()) * len(chosen), rows + len(chosen)
    state = trained(start(network()), recipe(selective_backprop=0.4), epochs=1)
    assert equal(state.model, model)
    (row,) = state.loop.history
    assert row["train_loss"] == pytest.approx(total / 11) and rows == 11
    assert row["images_per_second"] == 22 / row["train_seconds"]  # of the batches, not of the selected images


@pytest.mark.parametrize("calls", [1, 5, 8])
def test_selective_backprop_resumes_exactly_and_mixes_after_the_selection(calls: int) -> None:
    def halves(images: Tensor, targets: Tensor, num_classes: int, step: Step) -> tuple[Tensor, Tensor]:
        seen.append(len(images))
        return images, F.one_hot(targets, num_classes).float()

    seen: list[int] = []
    how = recipe(selective_backprop=0.4, mixing=halves)
    whole = trained(start(network()), how)
    assert seen == [4, 4, 3] * 3
    cut = stopped(start(network()), how, calls=calls)
    assert equal(trained(cut, how).model, whole.model)
    assert num_selected(64, 0.3) == 20 and num_selected(5, 0.1) == 2


def test_selected_images_are_those_of_a_teacher_and_of_both_passes_of_sam() -> None:
    """w <- w - lr g(w + rho g(w) / |g(w)|), with g of one loss: both passes have its images, teacher and dropout."""
    teacher, model = network().eval(), network()
    nn.init.normal_(teacher.get_parameter("5.weight"), generator=torch.Generator().manual_seed(0))
    criterion = partial(distillation, temperature=2.0, alpha=0.6, label_smoothing=0.1)
    weights, buffers = list[Tensor](model.parameters()), list(model.buffers())

    def gradients(images: Tensor, targets: Tensor) -> Any:
        return torch.autograd.grad(criterion(model(images), targets, teacher=teacher(images)), weights)

    for number, (images, targets) in enumerate(task()[0].epoch(1)):
        chosen = largest_first(model, images, targets, 3 if len(images) == 6 else 4)
        draws, before = torch.get_rng_state(), [weight.detach().clone() for weight in weights]
        model.train()
        up = gradients(images[chosen], targets[chosen])
        statistics = [buffer.clone() for buffer in buffers]
        length = float(torch.cat([gradient.flatten() for gradient in up]).norm())
        with torch.no_grad():
            torch._foreach_add_(weights, up, alpha=0.5 / length)
        torch.set_rng_state(draws)
        down = gradients(images[chosen], targets[chosen])
        with torch.no_grad():
            torch._foreach_copy_(weights, torch._foreach_add(before, down, alpha=-LR * decaying(number, [])))
            torch._foreach_copy_(buffers, statistics)
    trained_model = network()
    groups: Any = [{"params": trained_model.parameters(), "lr_factor": 1.0}]
    optimizer = SAM(torch.optim.SGD(groups, lr=LR), rho=0.5, interval=1, adaptive=False)
    how = recipe(criterion=criterion, teacher=teacher, selective_backprop=0.4)
    trained(TrainState(trained_model, optimizer), how, epochs=1)
    for one, other in zip(trained_model.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("grad_clip", [None, 0.05])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_fit_against_the_reference(
    label_smoothing: float, grad_clip: float | None, autocast: torch.dtype | None
) -> None:
    settings: dict[str, Any] = {"label_smoothing": label_smoothing, "grad_clip": grad_clip, "autocast": autocast}
    state = trained(start(network()), recipe(**settings))
    model, loop = state.model, state.loop
    expected, rows = reference(3, **settings)
    assert equal(model, expected)
    assert untimed(loop.history) == rows
    assert (loop.epoch, loop.step_in_epoch, loop.num_samples) == (4, 0, 0)
    assert all(row["images_per_second"] == 22 / row["train_seconds"] for row in loop.history)
    assert all(row["eval_seconds"] > 0 for row in loop.history)
    assert all(value.dtype in (torch.float32, torch.int64) for value in model.state_dict().values())
    assert equal(model, reference(3)[0]) == (label_smoothing == 0 and grad_clip is None and autocast is None)


@pytest.fixture(scope="module")
def uninterrupted() -> TrainState:
    return trained(start(network()), recipe())


@pytest.mark.parametrize("last_call", range(1, 3 * (3 + 2) + 1))  # three epochs of three steps and two evaluations
def test_stopped_and_resumed_is_bit_identical(last_call: int, uninterrupted: TrainState) -> None:
    state = stopped(start(network()), recipe(), calls=last_call)
    assert len(state.loop.history) == (last_call - 1) // 5
    assert state.loop.step_in_epoch == min(3, (last_call - 1) % 5 + 1)
    trained(state, recipe())
    assert equal(state.model, uninterrupted.model)
    assert untimed(state.loop.history) == untimed(uninterrupted.loop.history)


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
    """`correct` of ten validation images are of class 0, epoch by epoch, and all are predicted as class 0."""
    linear = nn.Linear(32, 3)
    linear.load_state_dict({"weight": torch.zeros(3, 32), "bias": torch.tensor([1.0, 0.0, 0.0])})  # all are of class 0
    state, seen = start(nn.Sequential(nn.Flatten(), linear)), list[Row]()
    how, loop = recipe(lr_multiplier=lambda step, val_accs: 0.0), state.loop
    assert how.best(loop.history) is None

    def val() -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.zeros(10, 2, 4, 4), (torch.arange(10) >= correct[len(loop.history)]).long()

    for _ in range(2):  # a run that has stopped early does not train when it is asked for again
        fit(state, how, task()[0], val, epochs=5, patience=patience, after_epoch=seen.append)
    assert how.scores(loop.history) == [count / 10 for count in correct[:epochs_done]]
    assert seen == loop.history
    assert how.best(loop.history) is loop.history[best - 1]


@pytest.mark.parametrize(
    "batch_size, passes, step, sentence",
    [
        (8, 1, 3, "training loss is (nan|inf) at epoch 1, step 3"),
        (2, 10, 50, "training loss is (nan|inf) at epoch 1, step 50"),  # before the epoch ends
        (22, 1, 1, "validation loss is (nan|inf) after epoch 1"),  # the loss before the only step is finite
    ],
)
def test_diverged(batch_size: int, passes: int, step: int, sentence: str) -> None:
    state, (train, val) = start(nn.Sequential(nn.Flatten(), nn.Linear(32, 3))), task()
    train.indices, train.batch_size = train.indices.repeat(passes), batch_size
    with pytest.raises(Diverged, match=sentence):
        fit(state, recipe(lr_multiplier=lambda step, val_accs: 6e39), train, val, epochs=2)
    assert (state.loop.epoch, state.loop.step_in_epoch, state.loop.history) == (1, step, [])


def test_evaluate_counts_and_changes_nothing() -> None:
    model, (_, val), calls = network(), task(), list[None]()
    before, state = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    evaluation = evaluate(model.train(), val(), NUM_CLASSES, after_batch=lambda: calls.append(None))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    images, targets = (torch.cat(parts) for parts in zip(*val(), strict=True))
    logits = model.eval()(images)
    torch.testing.assert_close(evaluation.logits, logits)
    assert evaluation.logits.dtype == torch.float32
    assert int(evaluation.confusion.diagonal().sum()) == int((logits.argmax(1) == targets).sum())
    assert evaluation.confusion.sum(1).tolist() == targets.bincount(minlength=NUM_CLASSES).tolist()
    assert evaluation.loss == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-6)
    assert len(calls) == 2

"""The seams of the loop, each by a trick defined here: mixing, closures, parameter groups, courses, selection."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import (
    LR,
    NUM_CLASSES,
    SEED,
    STEPS_PER_EPOCH,
    decaying,
    equal,
    network,
    recipe,
    reference,
    sgd,
    stopped,
    task,
    trained,
    untimed,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from sweeper.data.batches import Step, generator_for
from sweeper.training.loop import train_epoch
from sweeper.training.state import TrainState


def start(model: nn.Module | None = None, optimizer: Callable[[nn.Module], Optimizer] = sgd) -> TrainState:
    model = network() if model is None else model
    return TrainState(model, optimizer(model))


def mixup(images: Tensor, targets: Tensor, num_classes: int, step: Step) -> tuple[Tensor, Tensor]:
    """Mix each image with another of its batch (Zhang et al. 2018), with a share that is drawn per step."""
    generator = step.generator("mixup")
    share = float(torch.rand((), generator=generator))
    partner = torch.randperm(len(images), generator=generator)
    one_hot = F.one_hot(targets, num_classes).float()
    return images.lerp(images[partner], share), one_hot.lerp(one_hot[partner], share)


def slow_mixup(images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Mix image by image, with the generator of (seed, step, name) written out."""
    generator = generator_for(SEED, "step", "mixup", step)
    share = float(torch.rand((), generator=generator))
    partner = torch.randperm(len(images), generator=generator).tolist()
    mixed, probabilities = torch.empty_like(images), torch.zeros(len(images), NUM_CLASSES)
    for n, other in enumerate(partner):
        mixed[n] = torch.lerp(images[n], images[other], share)
        own, others = torch.zeros(NUM_CLASSES), torch.zeros(NUM_CLASSES)
        own[targets[n]] = others[targets[other]] = 1
        probabilities[n] = torch.lerp(own, others, share)
    return mixed, probabilities


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_mixing_with_probabilities_against_the_reference(label_smoothing: float) -> None:
    """Accuracy in training is that of the mixed images' logits against the targets before mixing."""
    state = trained(start(), recipe(label_smoothing=label_smoothing, mixing=mixup))
    model, rows = reference(3, label_smoothing=label_smoothing, mix=slow_mixup)
    assert equal(state.model, model)
    assert untimed(state.loop.history) == rows
    assert not equal(model, reference(3, label_smoothing=label_smoothing)[0])


@pytest.mark.parametrize("calls", range(1, 10))
def test_mixing_is_the_same_after_a_resume(calls: int) -> None:
    state, how = start(), recipe(mixing=mixup)
    stopped(state, how, calls=calls)
    assert equal(trained(state, how).model, trained(start(), how).model)


class TwoCalls(SGD):
    """Sharpness-aware minimization (Foret et al. 2021): the gradient at w + rho g / |g| moves w."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        weights = [weight for group in self.param_groups for weight in group["params"]]
        with torch.enable_grad():
            loss = closure()
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
        ascent = [0.05 * weight.grad / norm for weight in weights]
        for weight, up in zip(weights, ascent, strict=True):
            weight.add_(up)
        with torch.enable_grad():
            closure()
        for weight, up in zip(weights, ascent, strict=True):
            weight.sub_(up)
        super().step()
        return loss


def test_an_optimizer_may_call_the_closure_twice() -> None:
    """Loss and accuracy of a step are those of the first call, before the weights move."""
    batches, how = list(task()[0].epoch(1)), recipe()

    def sam(model: nn.Module) -> Optimizer:
        return TwoCalls([{"params": model.parameters(), "lr_factor": 1.0}], lr=LR)

    state = start(nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), sam)
    weight, bias = (parameter.detach().clone() for parameter in state.model.parameters())
    loss_sum, correct = 0.0, 0
    for number, (images, targets) in enumerate(batches):

        def gradients(weight: Tensor, bias: Tensor, images: Tensor = images, targets: Tensor = targets) -> Any:
            weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
            logits = images.flatten(1) @ weight.T + bias
            loss = F.cross_entropy(logits, targets)
            return (*torch.autograd.grad(loss, [weight, bias]), loss.detach(), logits.detach())

        up, up_bias, loss, logits = gradients(weight, bias)
        norm = torch.stack([up.norm(), up_bias.norm()]).norm()
        grad, grad_bias, _, _ = gradients(weight + 0.05 * up / norm, bias + 0.05 * up_bias / norm)
        lr = LR * decaying(number, [])
        weight, bias = weight - lr * grad, bias - lr * grad_bias
        loss_sum += float(loss) * len(targets)
        correct += int((logits.argmax(1) == targets).sum())
    train_epoch(state, how, task()[0])
    torch.testing.assert_close(list(state.model.parameters()), [nn.Parameter(weight), nn.Parameter(bias)])
    assert float(state.loop.loss_sum) == pytest.approx(loss_sum, rel=1e-6)
    assert int(state.loop.num_correct) == correct


def test_gradients_are_clipped_in_every_call_of_the_closure() -> None:
    norms = []

    class Recorded(SGD):
        def step(self, closure: Any = None) -> Any:
            for _ in range(2):
                loss = closure()
                weights = [weight for group in self.param_groups for weight in group["params"]]
                norms.append(float(torch.stack([weight.grad.norm() for weight in weights]).norm()))
            return loss

    def optimizer(model: nn.Module) -> Optimizer:
        return Recorded([{"params": model.parameters(), "lr_factor": 1.0}], lr=LR)

    train_epoch(start(optimizer=optimizer), recipe(grad_clip=0.01), task()[0])
    assert norms == pytest.approx([0.01] * 2 * STEPS_PER_EPOCH, rel=1e-3)


def test_parameter_groups_have_rates_and_decays_of_their_own() -> None:
    """w <- w - lr * multiplier * factor * (gradient + decay * w), group by group; gradients are all 1."""
    model = nn.Module()
    for name in ("plain", "still", "fast", "decayed"):
        model.register_parameter(name, nn.Parameter(torch.tensor([2.0])))

    def groups(model: Any) -> Optimizer:
        return SGD(
            [
                {"params": [model.plain], "lr_factor": 1.0},
                {"params": [model.still], "lr_factor": 0.0, "weight_decay": 0.5},
                {"params": [model.fast], "lr_factor": 2.0},
                {"params": [model.decayed], "lr_factor": 0.5, "weight_decay": 0.1},
            ],
            lr=LR,
        )

    def forward(images: Tensor) -> Tensor:
        return torch.cat([parameter.expand(len(images), 1) for parameter in model.parameters()], 1)

    model.forward = forward
    criterion = lambda logits, targets: logits.mean(0).sum()  # noqa: E731
    state, how = start(model, groups), recipe(criterion=criterion, lr_multiplier=lambda step, val_accs: 1 / (1 + step))
    train_epoch(state, how, task()[0])
    plain = still = fast = decayed = 2.0
    for number in range(STEPS_PER_EPOCH):
        lr = 0.05 / (1 + number)
        plain, fast, decayed = plain - lr, fast - 2 * lr, decayed - 0.5 * lr * (1 + 0.1 * decayed)
    expected = torch.tensor([plain, still, fast, decayed])
    torch.testing.assert_close(torch.cat([parameter.detach() for parameter in model.parameters()]), expected)
    assert [group["lr"] for group in state.optimizer.param_groups] == pytest.approx(
        [LR / 3 * f for f in (1, 0, 2, 0.5)]
    )


def test_the_recorded_rate_is_the_base_rate() -> None:
    def frozen_first(model: nn.Module) -> Optimizer:
        first, *others = model.parameters()
        return SGD([{"params": [first], "lr_factor": 0.0}, {"params": others, "lr_factor": 2.0}], lr=LR)

    rows = trained(start(optimizer=frozen_first), recipe(lr_multiplier=lambda step, _: 1 / (1 + step))).loop.history
    assert [row["lr"] for row in rows] == [LR * (1 / (1 + step)) for step in (2, 5, 8)]


@pytest.mark.parametrize("calls", [None, *range(1, 3 * (STEPS_PER_EPOCH + 2) + 1)])
def test_a_course_is_called_before_every_step_once_and_in_order(calls: int | None) -> None:
    seen: list[tuple[int, int, int, bool]] = []
    state = start()

    def course(model: nn.Module, step: Step) -> None:
        assert model is state.model
        seen.append((step.index, step.total, step.seed, model.training))

    how = recipe(courses=[course])
    if calls is not None:
        stopped(state, how, calls=calls)
    trained(state, how)
    assert seen == [(index, 9, SEED, True) for index in range(9)]


def test_a_course_that_changes_the_dropout_rate_resumes_exactly() -> None:
    def fading(model: Any, step: Step) -> None:
        model[4].p = 0.5 * (1 - step.index / step.total)

    how = recipe(courses=[fading])
    whole, cut = trained(start(), how), start()
    stopped(cut, how, calls=6)  # in the middle of an epoch
    saved = cut.state_dict()
    resumed = start()
    resumed.load_state_dict(saved)
    trained(resumed, how)
    assert equal(resumed.model, whole.model)
    assert not equal(whole.model, trained(start(), recipe()).model)


@pytest.mark.parametrize("select, best", [("val_acc", max), ("val_loss", min), ("val_macro_f1", max)])
def test_the_selected_metric_decides_the_best_epoch_and_early_stopping(select: str, best: Any) -> None:
    how = recipe(select=select, lr_multiplier=lambda step, val_accs: 1.0)
    loop = trained(start(), how, epochs=12, patience=2).loop
    values = [row[select] for row in loop.history]
    found = how.best(loop.history)
    assert found is not None and found["epoch"] == values.index(best(values)) + 1
    assert len(values) == 12 or len(values) - found["epoch"] == 2

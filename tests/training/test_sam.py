"""SAM and ASAM: the step by the formula, plain steps between, batch statistics of the first pass, exact restoring."""

from typing import Any

import pytest
import torch
from tiny import LR, equal, network, recipe, stopped, task, trained
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from sweeper.errors import UserError
from sweeper.training.loop import train_epoch
from sweeper.training.optimizers import OPTIMIZERS
from sweeper.training.state import TrainState

SETTINGS: dict[str, Any] = {
    "base": "momentum", "lr": LR, "momentum": 0.9, "nesterov": False, "betas": None, "weight_decay": 0.01, "rho": 0.5,
    "adaptive": False, "interval": 1,
}  # fmt: skip


def build(model: nn.Module, **changes: Any) -> Optimizer:
    optimizer: Optimizer = OPTIMIZERS["sam"](list(model.named_parameters()), **SETTINGS | changes)
    return optimizer


def start(**changes: Any) -> TrainState:
    model = network()
    return TrainState(model, build(model, **changes))


def loss_of(weights: list[Tensor], number: int) -> Tensor:
    """A loss that is neither quadratic nor symmetric."""
    return sum(((weight - number).pow(4).mean() + weight.prod() for weight in weights), torch.zeros(()))


def slow_gradients(weights: list[Tensor], number: int, adaptive: bool, rho: float) -> list[Tensor]:
    """Return the gradients at the point of higher loss, number by number."""
    leaves = [weight.clone().requires_grad_() for weight in weights]
    gradients = torch.autograd.grad(loss_of(leaves, number), leaves)
    scales = [weight.abs() + 0.01 if adaptive else torch.ones_like(weight) for weight in weights]
    total = 0.0
    for gradient, scale in zip(gradients, scales, strict=True):
        total += sum(float(g * t) ** 2 for g, t in zip(gradient.flatten(), scale.flatten(), strict=True))
    moved = [
        (weight + rho * scale**2 * gradient / total**0.5).requires_grad_()
        for weight, gradient, scale in zip(weights, gradients, scales, strict=True)
    ]
    return list(torch.autograd.grad(loss_of(moved, number), moved))


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("adaptive", [False, True])
def test_steps_against_the_formula(adaptive: bool, interval: int) -> None:
    model = nn.ParameterList([torch.tensor([0.3, -1.0, 2.0]), torch.tensor([[0.5, 0.7]])])
    weights, reference = list(model), [nn.Parameter(weight.detach().clone()) for weight in model]
    optimizer = build(model, adaptive=adaptive, interval=interval)
    expected = SGD(reference, lr=LR, momentum=0.9, weight_decay=0.01)
    for number in range(5):
        calls = list[float]()

        def closure(number: int = number, calls: list[float] = calls) -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(weights, number)
            loss.backward()
            calls.append(float(loss.detach()))
            return loss

        before = [weight.detach().clone() for weight in reference]
        loss: Any = optimizer.step(closure)  # type: ignore[arg-type]
        sharp = number % interval == 0
        assert len(calls) == 1 + sharp and float(loss.detach()) == calls[0]
        gradients = slow_gradients(before, number, adaptive, SETTINGS["rho"] if sharp else 0.0)
        for weight, gradient in zip(reference, gradients, strict=True):
            weight.grad = gradient
        expected.step()
        torch.testing.assert_close(weights, reference)


def test_batch_statistics_are_those_of_the_first_pass() -> None:
    """The weights of the first step are the same with and without SAM, so the statistics are, too."""
    plain = TrainState(model := network(), SGD([{"params": model.parameters(), "lr_factor": 1.0}], lr=LR))
    states = [plain, start(rho=5.0)]
    for state in states:
        loader = task()[0]
        loader.batch_size = 22
        train_epoch(state, recipe(), loader)
    ours, theirs = (dict(state.model.named_buffers()) for state in states)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert int(ours["2.num_batches_tracked"]) == 1
    assert not equal(states[0].model, states[1].model)
    assert states[1].model.get_submodule("2").track_running_stats


def test_both_gradients_of_a_step_have_the_same_dropout() -> None:
    """The draws of a training are those without SAM, too."""
    model, drawn = nn.Linear(2, 1), list[float]()
    optimizer = build(model, interval=2)

    def closure() -> Tensor:
        drawn.append(float(torch.rand(())))
        optimizer.zero_grad()
        loss: Tensor = model(torch.ones(1, 2)).sum()
        loss.backward()
        return loss

    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    for _ in expected:
        optimizer.step(closure)  # type: ignore[arg-type]
    assert drawn == [expected[number] for number in (0, 0, 1, 2, 2)]


@pytest.mark.parametrize("calls", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("interval", [1, 2])
def test_the_interval_resumes(interval: int, calls: int) -> None:
    how, whole = recipe(), start(interval=interval)
    trained(whole, how)
    saved = stopped(start(interval=interval), how, calls=calls).state_dict()
    resumed = start(interval=interval)
    resumed.load_state_dict(saved)
    resumed.optimizer.param_groups[0]["lr"] = 0.0  # of the loaded groups; the loop sets it
    assert equal(trained(resumed, how).model, whole.model)


def test_a_radius_of_almost_zero_is_the_base_optimizer() -> None:
    model = network()
    model[4].p = 0.0  # type: ignore[index]
    plain = network()
    plain[4].p = 0.0  # type: ignore[index]
    with_sam, without = TrainState(model, build(model, rho=1e-12)), TrainState(plain, build(plain, interval=10**6))
    without.optimizer.num_steps = 1  # type: ignore[attr-defined]
    for state in (with_sam, without):
        train_epoch(state, recipe(), task()[0])
    torch.testing.assert_close(list(model.parameters()), list(plain.parameters()))


def test_zero_gradients_move_nothing() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = build(nn.ParameterList([weight]), weight_decay=0.0)

    def closure() -> Tensor:
        weight.grad = torch.zeros(3)
        return F.relu(-weight).sum()

    optimizer.step(closure)  # type: ignore[arg-type]
    assert torch.equal(weight, torch.ones(3))
    optimizer.zero_grad()
    assert weight.grad is None


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"base": "sgd"}, r"optimizer\.momentum=0\.9: optimizer\.base=sgd uses lr, weight_decay"),
        (
            {"base": "adam", "momentum": None, "nesterov": None},
            r"optimizer\.betas=null: optimizer\.base=adam uses betas",
        ),
        ({"momentum": None}, r"optimizer\.momentum=null: optimizer\.base=momentum uses"),
    ],
)
def test_settings_that_the_base_does_not_use_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        build(network(), **changes)

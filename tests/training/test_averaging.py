"""Averaged weights are evaluated and resume exactly: a trick defined here, and each choice by its formula."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from tiny import SEED, equal, network, recipe, sgd, stopped, task, trained, untimed
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from sweeper.data.batches import Step
from sweeper.models.architecture import attach
from sweeper.training.averaging import AVERAGINGS, Averaging, none
from sweeper.training.loop import evaluate, show_images
from sweeper.training.state import TrainState

DECAY = 0.5


class Ema(Averaging):
    """An exponential moving average of the weights, and of the batch statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.steps: list[int] = []

    @torch.no_grad()
    def update(self, model: nn.Module, step: Step) -> None:
        assert step.seed == SEED
        self.steps.append(step.index)
        for mine, new in zip(self.average.state_dict().values(), model.state_dict().values(), strict=True):
            mine.copy_(DECAY * mine + (1 - DECAY) * new)

    def eval_model(self, model: nn.Module) -> nn.Module:
        return self.average

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.steps = list(state["steps"])


def start(averaging: Any = Ema) -> TrainState:
    model = network()
    return TrainState(model, sgd(model), averaging(model))


def test_the_average_is_updated_after_every_step() -> None:
    state, expected = start(), network()
    weights: list[dict[str, torch.Tensor]] = []

    def after_step() -> None:  # called by evaluations, too
        if len(weights) < state.loop.step_in_epoch + 3 * len(state.loop.history):
            weights.append(copy.deepcopy(state.model.state_dict()))

    trained(state, recipe(), after_step=after_step)
    assert isinstance(state.averaging, Ema) and state.averaging.steps == list(range(9))
    for snapshot in weights:
        mean = {key: DECAY * value + (1 - DECAY) * snapshot[key] for key, value in expected.state_dict().items()}
        expected.load_state_dict(mean)
    assert len(weights) == 9
    assert equal(state.averaging.average, expected)


def test_the_averaged_network_is_evaluated_and_the_trained_one_is_not_changed() -> None:
    state = trained(start(), recipe())
    plain = trained(start(partial(none, steps_per_epoch=3)), recipe())
    assert equal(state.model, plain.model)
    assert state.eval_model() is not state.model and not equal(state.eval_model(), state.model)
    row, other = (untimed(run.loop.history)[-1] for run in (state, plain))
    assert {key for key in row if row[key] != other[key]} >= {"val_loss"}
    assert all(row[key] == other[key] for key in ("train_loss", "train_acc", "lr"))
    measured = evaluate(state.eval_model(), task()[1](), 3)
    assert row["val_loss"] == measured.loss
    assert state.model.training


@pytest.mark.parametrize("last_call", range(1, 16))
def test_an_average_resumes_exactly(last_call: int) -> None:
    whole = trained(start(), recipe())
    saved = copy.deepcopy(stopped(start(), recipe(), calls=last_call).state_dict())
    resumed = start()
    resumed.load_state_dict(saved)
    trained(resumed, recipe())
    assert equal(resumed.model, whole.model)
    assert equal(resumed.eval_model(), whole.eval_model())
    assert untimed(resumed.loop.history) == untimed(whole.loop.history)


def snapshots(averaging: Averaging, count: int, model: nn.Module) -> list[dict[str, Tensor]]:
    """Change a network at random and update the average after each change; return the network's states."""
    generator, states = torch.Generator().manual_seed(4), []
    for index in range(count):
        with torch.no_grad():
            for value in model.state_dict().values():
                drawn = torch.randn(value.shape, generator=generator)
                value.copy_(drawn if value.is_floating_point() else torch.tensor(index + 1))
        states.append(copy.deepcopy(model.state_dict()))
        averaging.update(model, Step(index, count, SEED))
    return states


def assert_state(model: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name].to(value.dtype), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("warmup", [False, True])
def test_ema_against_the_formula(warmup: bool) -> None:
    """Floats are averaged, batch norm's statistics too; counters are those of the network."""
    model = network()
    averaging = AVERAGINGS["ema"](model, 3, decay=0.6, warmup=warmup)
    expected = copy.deepcopy(model.state_dict())
    states = snapshots(averaging, 9, model)
    for number, state in enumerate(states):
        decay = min(0.6, (1 + number) / (10 + number)) if warmup else 0.6
        expected = {
            name: decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
    assert_state(averaging.eval_model(model), expected)
    assert int(averaging.eval_model(model).state_dict()["2.num_batches_tracked"]) == 9
    assert not any(parameter.requires_grad for parameter in averaging.eval_model(model).parameters())


@pytest.mark.parametrize("start, epochs", [(0.0, [1, 2, 3]), (0.3, [1, 2, 3]), (1 / 3, [2, 3]), (0.99, [3])])
def test_swa_is_the_mean_over_the_ends_of_epochs(start: float, epochs: list[int]) -> None:
    model = network()
    averaging = AVERAGINGS["swa"](model, 3, start=start)
    assert averaging.eval_model(model) is model
    states = snapshots(averaging, 9, model)
    kept = [states[3 * epoch - 1] for epoch in epochs]
    expected = {name: torch.stack([state[name].double() for state in kept]).mean(0) for name in states[0]}
    expected["2.num_batches_tracked"] = kept[-1]["2.num_batches_tracked"]
    assert_state(averaging.eval_model(model), expected)


def test_swa_evaluates_the_trained_network_until_it_starts() -> None:
    model = network()
    averaging = AVERAGINGS["swa"](model, 3, start=0.5)
    averaging.update(model, Step(2, 9, SEED))
    assert averaging.eval_model(model) is model
    averaging.refresh(lambda network: pytest.fail("there is nothing to refresh"))
    averaging.update(model, Step(5, 9, SEED))
    assert averaging.eval_model(model) is not model


def test_the_batch_statistics_of_swa_are_those_of_its_weights_over_the_training_images() -> None:
    """Against a pass by hand: the mean over batches of mean and variance, dropout off; no draw is made."""
    state = start(partial(AVERAGINGS["swa"], steps_per_epoch=3, start=0.5))
    how = recipe()
    trained(state, how, epochs=3)
    average: Any = state.eval_model()
    assert average is not state.model
    means, variances = [], []
    for images, _ in task()[0].epoch(3):
        hidden = average[1](images.flatten(1))
        means.append(hidden.mean(0))
        variances.append(hidden.var(0))
    torch.testing.assert_close(average[2].running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(average[2].running_var, torch.stack(variances).mean(0))
    assert average[2].momentum == 0.1
    generator = torch.get_rng_state()
    state.averaging.refresh(lambda model: show_images(model, how, task()[0], 3, lambda: None))
    assert torch.equal(torch.get_rng_state(), generator)
    assert not average[4].training and state.loop.history[-1]["val_loss"] == evaluate(average, task()[1](), 3).loss


def test_the_statistics_of_swa_are_those_of_all_residual_branches() -> None:
    """A norm may have stochastic depth as a layer of its own; drawing in it would change statistics and the resume."""

    def network() -> nn.Module:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        attach(model[1], "stochastic_depth", StochasticDepth(0.9, "row"))
        return nn.Sequential(model, nn.BatchNorm1d(4))

    average: Any = AVERAGINGS["swa"](network(), 1, start=0.0)
    average.update(network(), Step(0, 1, SEED))
    images, generator = torch.rand(64, 4), torch.get_rng_state()
    average.refresh(lambda model: model(images))
    assert torch.equal(torch.get_rng_state(), generator)
    inner = average.average[0][0](images)
    whole = F.batch_norm(inner, inner.mean(0), inner.var(0, unbiased=False))
    torch.testing.assert_close(average.average[1].running_mean, whole.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(average.average[1].running_var, whole.var(0))


@pytest.mark.parametrize("alpha, power", [(0.5, 0.0), (0.2, 3.0)])
def test_lookahead_against_the_formula(alpha: float, power: float) -> None:
    model = network()
    averaging = AVERAGINGS["lookahead"](model, 3, interval=2, alpha=alpha, power=power)
    slow = copy.deepcopy(model.state_dict())
    generator = torch.Generator().manual_seed(6)
    for index in range(7):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn(value.shape, generator=generator))
        fast = copy.deepcopy(model.state_dict())
        averaging.update(model, Step(index, 7, SEED))
        if (index + 1) % 2 == 0:
            kept = (1 - alpha) * ((index + 1) / 7) ** power
            slow = {name: kept * slow[name] + (1 - kept) * value for name, value in fast.items()}
        assert_state(averaging.eval_model(model), slow)
        assert_state(model, slow if (index + 1) % 2 == 0 else fast)


CASES = {
    "ema": partial(AVERAGINGS["ema"], steps_per_epoch=3, decay=0.6, warmup=True),
    "swa": partial(AVERAGINGS["swa"], steps_per_epoch=3, start=0.3),
    "lookahead": partial(AVERAGINGS["lookahead"], steps_per_epoch=3, interval=2, alpha=0.5, power=1.0),
}


def test_every_averaging_is_among_the_cases() -> None:
    assert {"none", *CASES} == {*AVERAGINGS}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("last_call", [1, 3, 4, 7, 11])
def test_an_averaging_resumes_exactly(name: str, last_call: int) -> None:
    """The calls of a stop are steps, evaluations and, with SWA, the passes that refresh statistics."""
    whole = trained(start(CASES[name]), recipe())
    saved = copy.deepcopy(stopped(start(CASES[name]), recipe(), calls=last_call).state_dict())
    resumed = start(CASES[name])
    resumed.load_state_dict(saved)
    trained(resumed, recipe())
    assert equal(resumed.model, whole.model) and equal(resumed.eval_model(), whole.eval_model())
    assert untimed(resumed.loop.history) == untimed(whole.loop.history)


def test_without_averaging_the_trained_network_is_evaluated() -> None:
    model = network()
    averaging = none(model, 3)
    averaging.update(model, Step(0, 9, SEED))
    assert averaging.eval_model(model) is model
    assert averaging.state_dict() == {}
    averaging.load_state_dict({})

"""Averaged weights, by a trick defined here: they are what is evaluated, and they resume exactly."""

import copy
from typing import Any

import pytest
import torch
from tiny import SEED, equal, network, recipe, sgd, stopped, task, trained, untimed
from torch import nn

from sweeper.data.batches import Step
from sweeper.training.averaging import Averaging, none
from sweeper.training.loop import evaluate
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
    plain = trained(start(none), recipe())
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


def test_without_averaging_the_trained_network_is_evaluated() -> None:
    model = network()
    averaging = none(model)
    averaging.update(model, Step(0, 9, SEED))
    assert averaging.eval_model(model) is model
    assert averaging.state_dict() == {}
    averaging.load_state_dict({})

"""Momentum that follows the schedule: it is set in every group, resumes, and is refused where there is none."""

from functools import partial
from typing import Any

import pytest
import torch
from tiny import LR, equal, network, recipe, stopped, trained
from torch import nn
from torch.optim import Optimizer

from sweeper.errors import UserError
from sweeper.training.momentum import follow, momentum_of
from sweeper.training.optimizers import OPTIMIZERS
from sweeper.training.schedules import cosine, onecycle
from sweeper.training.state import TrainState

cycle = partial(onecycle, pct_start=0.5, div_factor=5.0, final_div_factor=10.0)
SETTINGS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    "adamw": {"betas": [0.9, 0.95], "weight_decay": 0.0},
    "muon": {
        "momentum": 0.95, "nesterov": True, "weight_decay": 0.0, "ns_steps": 3, "aux": "adamw", "aux_lr": 0.01,
        "betas": [0.9, 0.95],
    },
}  # fmt: skip


def optimizer_of(model: nn.Module, name: str) -> Optimizer:
    optimizer: Optimizer = OPTIMIZERS[name](list(model.named_parameters()), lr=LR, **SETTINGS[name])
    return optimizer


def start(name: str) -> tuple[TrainState, Any]:
    model = network()
    optimizer, multiplier = optimizer_of(model, name), cycle(3, 9, min_momentum=0.8)
    return TrainState(model, optimizer), recipe(lr_multiplier=multiplier, momentum=follow(optimizer, multiplier))


@pytest.mark.parametrize("name", SETTINGS)
def test_momentum_follows_and_resumes(name: str) -> None:
    state, how = start(name)
    own = [momentum_of(group) for group in state.optimizer.param_groups]
    assert how.momentum(0) == own
    seen = []
    trained(state, how, after_step=lambda: seen.append([momentum_of(group) for group in state.optimizer.param_groups]))
    steps = [call for call in range(15) if call % 5 < 3]  # the other calls are an evaluation's
    assert [seen[call] for call in steps] == [how.momentum(step) for step in range(9)]
    assert min(min(momenta) for momenta in seen) == pytest.approx(0.8, abs=0.01)
    assert all(value <= highest for momenta in seen for value, highest in zip(momenta, own, strict=True))
    cut, _ = start(name)
    saved = stopped(cut, how, calls=4).state_dict()
    resumed, again = start(name)
    resumed.load_state_dict(saved)
    assert equal(trained(resumed, again).model, state.model)


def test_a_schedule_without_momentum_leaves_it_alone() -> None:
    optimizer = optimizer_of(network(), "momentum")
    assert follow(optimizer, cycle(3, 9)) is None
    assert follow(optimizer, cosine(3, 9, warmup_epochs=0, min_factor=0.0)) is None


@pytest.mark.parametrize(
    "name, settings", [("sgd", {}), ("rmsprop", {"alpha": 0.9, "momentum": 0.0}), ("momentum", {})]
)
def test_momentum_not_above_the_minimum_is_refused(name: str, settings: dict[str, Any]) -> None:
    if name == "momentum":
        settings = {"momentum": 0.8, "nesterov": False}
    optimizer = OPTIMIZERS[name]([("weight", nn.Parameter(torch.ones(2)))], lr=LR, weight_decay=0.0, **settings)
    with pytest.raises(UserError, match=r"^scheduler\.min_momentum=0\.8 must be below the optimizer's momentum"):
        follow(optimizer, cycle(3, 9, min_momentum=0.8))


def test_each_group_needs_momentum_above_the_smallest() -> None:
    """Muon's own is 0.95; that of its AdamW, the first of the betas, is 0.9."""
    assert follow(optimizer_of(network(), "muon"), cycle(3, 9, min_momentum=0.89)) is not None
    with pytest.raises(UserError, match=r"which is 0\.9$"):
        follow(optimizer_of(network(), "muon"), cycle(3, 9, min_momentum=0.92))
    assert momentum_of({"lr": 0.1}) == 0

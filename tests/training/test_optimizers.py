"""Optimizers: bit-identical to torch's own, without the import of its compiler, and restored exactly."""

import copy
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import torch
from choices import presets
from processes import REPOSITORY, environment
from torch import nn
from torch.optim import Optimizer

from sweeper.errors import UserError
from sweeper.training.optimizers import OPTIMIZERS

CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "sgd": ({"lr": 0.1, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "momentum": ({"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "adam": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.Adam, {"betas": (0.8, 0.99)}),
    "adamw": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.AdamW, {"betas": (0.8, 0.99)}),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_bit_identical_to_torchs(name: str) -> None:
    settings, torchs, others = CASES[name]
    start = torch.randn(50, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = OPTIMIZERS[name]([("weight", ours)], **settings)
    reference = torchs([theirs], fused=True, **settings | others)
    for step in range(5):
        for parameter, optim in ((ours, optimizer), (theirs, reference)):
            optim.zero_grad()
            (parameter * torch.arange(50) * (step + 1)).square().mean().backward()
            optim.step()
        assert torch.equal(ours, theirs)
    state = optimizer.state_dict()
    assert [group.pop("lr_factor") for group in state["param_groups"]] == [1.0]
    expected = reference.state_dict()
    assert repr(state["state"]) == repr(expected["state"])
    assert state["param_groups"] == expected["param_groups"]


@pytest.mark.parametrize("preset", presets("optimizer"))
def test_a_restored_optimizer_continues_bit_identically(preset: str) -> None:
    settings = presets("optimizer")[preset]
    build = partial(OPTIMIZERS[settings.pop("name")], **settings)

    def step(weight: nn.Parameter, optimizer: Optimizer, number: int) -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = ((weight - number) ** 3).sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]

    whole, stopped = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    optimizer, before = build([("weight", whole)]), build([("weight", stopped)])
    for number in range(2):
        step(whole, optimizer, number)
        step(stopped, before, number)
    after = build([("weight", stopped)])
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for number in range(2, 4):
        step(whole, optimizer, number)
        step(stopped, after, number)
    assert torch.equal(whole, stopped)
    assert not torch.equal(whole, torch.ones(3, 2))
    assert repr(optimizer.state_dict()) == repr(after.state_dict())


@pytest.mark.parametrize("preset", presets("optimizer"))
def test_every_group_has_a_factor_and_every_parameter_a_group(preset: str) -> None:
    settings = presets("optimizer")[preset]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = OPTIMIZERS[settings.pop("name")](list(model.named_parameters()), **settings)
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert all(group["lr_factor"] >= 0 for group in optimizer.param_groups)
    assert optimizer.defaults["lr"] == settings["lr"]  # the rate that the schedule multiplies


def test_training_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from torch import nn; from sweeper.training.optimizers import OPTIMIZERS\n"
        "parameter = nn.Parameter(torch.ones(3))\n"
        "optimizer = OPTIMIZERS['adam']([('weight', parameter)], lr=0.1, betas=[0.9, 0.999], weight_decay=0.0)\n"
        "parameter.sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "optimizer.load_state_dict(optimizer.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment(), check=True)


def test_wrong_settings_are_user_errors() -> None:
    with pytest.raises(UserError, match=r"optimizer\.betas=\[0\.9\] must be two numbers"):
        OPTIMIZERS["adam"]([("weight", nn.Parameter(torch.ones(1)))], lr=0.1, betas=[0.9], weight_decay=0.0)
    with pytest.raises(UserError, match=r"needs optimizer\.momentum above 0"):
        OPTIMIZERS["momentum"]([], lr=0.1, momentum=0.0, nesterov=True, weight_decay=0.0)

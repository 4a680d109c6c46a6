"""Optimizers: torch's own, without the import of its compiler."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from support import REPOSITORY, environment
from torch import nn

from sweeper.errors import UserError
from sweeper.training.optimizers import OPTIMIZERS

CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "sgd": ({"lr": 0.1, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "momentum": ({"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "adam": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.Adam, {"betas": (0.8, 0.99)}),
    "adamw": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.AdamW, {"betas": (0.8, 0.99)}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_torchs_optimizer_bit_for_bit(name: str) -> None:
    settings, torchs, others = CASES[name]
    start = torch.randn(50, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = OPTIMIZERS[name]([ours], **settings)
    reference = torchs([theirs], fused=True, **settings | others)
    for step in range(5):
        for parameter, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            (parameter * torch.arange(50) * (step + 1)).square().mean().backward()
            one.step()
        assert torch.equal(ours, theirs)
    assert repr(optimizer.state_dict()) == repr(reference.state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_can_be_loaded_and_goes_on(name: str) -> None:
    settings = CASES[name][0]
    whole, cut = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    one, before = OPTIMIZERS[name]([whole], **settings), OPTIMIZERS[name]([cut], **settings)

    def step(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (parameter.square().sum() * 3).backward()
        optimizer.step()

    step(whole, one)
    step(cut, before)
    after = OPTIMIZERS[name]([cut], **settings)
    after.load_state_dict(before.state_dict())
    step(whole, one)
    step(cut, after)
    assert torch.equal(whole, cut)


def test_training_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from torch import nn; from sweeper.training.optimizers import OPTIMIZERS\n"
        "parameter = nn.Parameter(torch.ones(3))\n"
        "optimizer = OPTIMIZERS['adam']([parameter], lr=0.1, betas=[0.9, 0.999], weight_decay=0.0)\n"
        "parameter.sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "optimizer.load_state_dict(optimizer.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment(), check=True)


def test_wrong_settings_are_sentences() -> None:
    with pytest.raises(UserError, match=r"optimizer\.betas=\[0\.9\] must be two numbers"):
        OPTIMIZERS["adam"]([nn.Parameter(torch.ones(1))], lr=0.1, betas=[0.9], weight_decay=0.0)
    with pytest.raises(UserError, match=r"needs optimizer\.momentum above 0"):
        OPTIMIZERS["momentum"]([], lr=0.1, momentum=0.0, nesterov=True, weight_decay=0.0)

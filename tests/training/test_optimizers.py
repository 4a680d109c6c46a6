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
from sweeper.training.optimizers import OPTIMIZERS, momentum
from sweeper.training.parameter_groups import GROUPING

CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "sgd": ({"lr": 0.1, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "momentum": ({"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, torch.optim.SGD, {}),
    "adam": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.Adam, {"betas": (0.8, 0.99)}),
    "adamw": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.AdamW, {"betas": (0.8, 0.99)}),
    "radam": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.RAdam, {"betas": (0.8, 0.99)}),
    "nadam": ({"lr": 0.1, "betas": [0.8, 0.99], "weight_decay": 0.01}, torch.optim.NAdam, {"betas": (0.8, 0.99)}),
    "rmsprop": ({"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.01}, torch.optim.RMSprop, {}),
}
UNFUSED = ("radam", "nadam", "rmsprop")  # torch has no fused form


def settings_of(preset: str) -> dict[str, Any]:
    """Return the name and the settings of a preset that its function takes."""
    return {key: value for key, value in presets("optimizer")[preset].items() if key not in GROUPING}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_bit_identical_to_torchs(name: str) -> None:
    settings, torchs, others = CASES[name]
    start = torch.randn(50, generator=torch.Generator().manual_seed(0))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = OPTIMIZERS[name]([("weight", ours)], **settings)
    reference = torchs([theirs], **settings | others | ({} if name in UNFUSED else {"fused": True}))
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


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lion_against_the_formula(weight_decay: float) -> None:
    start = torch.randn(20, generator=torch.Generator().manual_seed(0))
    weight = nn.Parameter(start.clone())
    optimizer = OPTIMIZERS["lion"]([("weight", weight)], lr=0.1, betas=[0.8, 0.7], weight_decay=weight_decay)
    expected, moments = start.tolist(), [0.0] * 20
    for number in range(4):
        weight.grad = torch.randn(20, generator=torch.Generator().manual_seed(number + 1))
        optimizer.step()
        for index, gradient in enumerate(weight.grad.tolist()):
            direction = 0.8 * moments[index] + (1 - 0.8) * gradient
            step = 0.1 * ((direction > 0) - (direction < 0))
            expected[index] = expected[index] * (1 - 0.1 * weight_decay) - step
            moments[index] = 0.7 * moments[index] + (1 - 0.7) * gradient
    assert weight.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("preset", presets("optimizer"))
def test_a_restored_optimizer_continues_bit_identically(preset: str) -> None:
    settings = settings_of(preset)
    build = partial(OPTIMIZERS[settings.pop("name")], **settings)

    def step(weights: list[nn.Parameter], optimizer: Optimizer, number: int) -> None:
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.stack([((weight - number) ** 3).sum() for weight in weights]).sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]

    def named(weights: list[nn.Parameter]) -> list[tuple[str, nn.Parameter]]:
        return [(f"{index}.weight", weight) for index, weight in enumerate(weights)]

    whole, stopped = ([nn.Parameter(torch.ones(3, 2)) for _ in range(2)] for _ in range(2))
    optimizer, before = build(named(whole)), build(named(stopped))
    for number in range(2):
        step(whole, optimizer, number)
        step(stopped, before, number)
    after = build(named(stopped))
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    for number in range(2, 4):
        step(whole, optimizer, number)
        step(stopped, after, number)
    for one, other in zip(whole, stopped, strict=True):
        assert torch.equal(one, other) and not torch.equal(one, torch.ones(3, 2))
    assert repr(optimizer.state_dict()) == repr(after.state_dict())


@pytest.mark.parametrize("preset", presets("optimizer"))
def test_every_group_has_a_factor_and_every_parameter_a_group(preset: str) -> None:
    settings = settings_of(preset)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    optimizer = OPTIMIZERS[settings.pop("name")](list(model.named_parameters()), **settings)
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert all(group["lr_factor"] >= 0 for group in optimizer.param_groups)
    assert optimizer.defaults["lr"] == settings["lr"]  # the rate that the schedule multiplies


def test_training_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from torch import nn; from sweeper.training.optimizers import OPTIMIZERS\n"
        f"for settings in {[settings_of(preset) for preset in presets('optimizer')]}:\n"
        "    weights = [nn.Parameter(torch.ones(3, 3)) for _ in range(2)]\n"
        "    named = [(f'{index}.weight', weight) for index, weight in enumerate(weights)]\n"
        "    optimizer = OPTIMIZERS[settings.pop('name')](named, **settings)\n"
        "    def closure():\n"
        "        optimizer.zero_grad(); loss = sum(weight.sum() for weight in weights); loss.backward(); return loss\n"
        "    optimizer.step(closure); optimizer.load_state_dict(optimizer.state_dict())\n"
        "    if 'torch._dynamo' in sys.modules: sys.exit(str(settings))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment(), check=True)


def test_wrong_settings_are_user_errors() -> None:
    with pytest.raises(UserError, match=r"optimizer\.betas=\[0\.9\] must be two numbers"):
        OPTIMIZERS["adam"]([("weight", nn.Parameter(torch.ones(1)))], lr=0.1, betas=[0.9], weight_decay=0.0)
    with pytest.raises(UserError, match=r"needs optimizer\.momentum above 0"):
        OPTIMIZERS["momentum"]([], lr=0.1, momentum=0.0, nesterov=True, weight_decay=0.0)
    for name in ("muon", "normalized_muon"):
        settings = {key: value for key, value in settings_of(name).items() if key != "name"}
        with pytest.raises(UserError, match=r"needs optimizer\.momentum above 0"):
            OPTIMIZERS[name]([], **(settings | {"momentum": 0.0, "nesterov": True}))


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_a_parameter_that_was_frozen_starts_at_zero(nesterov: bool) -> None:
    first, second = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([3.0]))
    reference = [first.detach().clone(), second.detach().clone()]
    buffers = [torch.zeros(2), torch.zeros(1)]
    named = [("first", first), ("second", second)]
    optimizer = momentum(named, lr=0.1, momentum=0.9, nesterov=nesterov, weight_decay=0.0)
    for step in range(4):
        trained = [0] if step < 2 else [0, 1]
        second.requires_grad_(step >= 2)
        for index in trained:
            parameter = (first, second)[index]
            parameter.grad = parameter.detach().clone() * (step + 1)
            gradient = reference[index] * (step + 1)
            buffers[index] = 0.9 * buffers[index] + gradient
            reference[index] -= 0.1 * (gradient + 0.9 * buffers[index] if nesterov else buffers[index])
        optimizer.step()
    assert torch.allclose(first, reference[0]) and torch.allclose(second, reference[1])

"""Initial weights: torch's own, LeCun-normal ones, and what every choice must keep."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from choices import presets
from torch import Tensor, nn

from sweeper.choice import choose
from sweeper.config import InitConfig
from sweeper.models.init import INITS, default, lecun_normal


def network(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), activation(), nn.Flatten(), nn.Linear(64 * 16, 50), nn.Linear(50, 3)
    )


def some_images(number: int) -> Tensor:
    return torch.randn(min(number, 200), 3, 8, 8, generator=torch.Generator().manual_seed(1))


def no_images(number: int) -> Tensor:
    raise AssertionError("this choice needs no images")


def test_lecun_normal() -> None:
    model = network()
    lecun_normal(model, no_images)
    for layer in (model[0], model[4], model[5]):
        assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
        weight, fan_in = layer.weight.detach(), layer.weight[0].numel()
        spread = 3 / (2 * weight.numel()) ** 0.5  # three standard errors of the standard deviation
        assert float(weight.std()) * fan_in**0.5 == pytest.approx(1, abs=spread)
        assert abs(float(weight.mean())) * fan_in**0.5 < 3 / weight.numel() ** 0.5
        assert not layer.bias.any()
    assert torch.equal(model.get_parameter("1.weight"), torch.ones(64))


def test_default_keeps_torchs_weights() -> None:
    model = network()
    default(model, no_images)
    pairs = zip(model.state_dict().values(), network().state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_default_is_lecun_normal_for_selu() -> None:
    first = network(nn.SELU)
    default(first, no_images)
    second = network(nn.SELU)
    lecun_normal(second, no_images)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("preset", presets("init"))
def test_every_choice_is_reproducible_and_finite(preset: str) -> None:
    choice: Any = choose("init", InitConfig(**presets("init")[preset]), INITS)
    states = []
    for _ in range(2):
        model = network()
        choice(model, some_images)
        states.append(model.state_dict())
    assert states[0].keys() == network().state_dict().keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]) and bool(value.float().isfinite().all())
    assert model(some_images(4)).shape == (4, 3)

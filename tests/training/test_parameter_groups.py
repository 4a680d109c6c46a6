"""Rates and decays of their own: which parameters get which, with any optimizer, and what has no effect is refused."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from sweeper.errors import UserError
from sweeper.training.parameter_groups import refine_groups

OFF: dict[str, Any] = {"decay_norm_and_bias": True, "bias_lr_factor": 1.0, "layer_decay": 1.0}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, bias=False), nn.Flatten(), nn.Linear(4, 2)
    )


def refined(model: nn.Module, weight_decay: Any = 0.1, **settings: Any) -> tuple[Optimizer, dict[str, Any]]:
    """Return an optimizer, and (rate, weight decay) of each parameter."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if n.startswith("4.")], "lr_factor": 0.5},
        {"params": [p for n, p in named if not n.startswith("4.")], "lr_factor": 1.0},
    ]
    optimizer = SGD(groups, lr=1.0, weight_decay=weight_decay)
    refine_groups(optimizer, named, **OFF | settings)
    names = {parameter: name for name, parameter in named}
    return optimizer, {
        names[p]: (group["lr_factor"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_without_settings_the_groups_stay() -> None:
    assert len(refined(network())[0].param_groups) == 2
    assert len(refined(network(), **dict.fromkeys(OFF))[0].param_groups) == 2


def test_no_decay_of_norms_and_biases() -> None:
    optimizer, values = refined(network(), decay_norm_and_bias=False)
    assert values == {
        "0.weight": (1.0, 0.1),
        "0.bias": (1.0, 0.0),
        "1.weight": (1.0, 0.0),
        "1.bias": (1.0, 0.0),
        "2.weight": (1.0, 0.1),
        "4.weight": (0.5, 0.1),
        "4.bias": (0.5, 0.0),
    }
    assert len(optimizer.param_groups) == 4


def test_biases_have_a_rate_of_their_own_and_the_decay_of_a_step_remains() -> None:
    _, values = refined(network(), bias_lr_factor=64.0)
    expected = {"0.bias": 64.0, "1.bias": 64.0, "4.bias": 32.0, "4.weight": 0.5}
    assert {name: factor for name, (factor, _) in values.items() if factor != 1} == expected
    assert values["1.weight"] == (1.0, 0.1)
    assert all(decay == (0.1 / 64 if name.endswith("bias") else 0.1) for name, (_, decay) in values.items())


def test_biases_of_attention_are_biases() -> None:
    _, values = refined(nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 2)), bias_lr_factor=64.0)
    factors = {name: factor for name, (factor, _) in values.items()}
    assert factors == {name: 64.0 if name.endswith("bias") else 1.0 for name in factors} and len(factors) == 6


def test_rates_fall_from_the_last_layer_to_the_first() -> None:
    _, values = refined(network(), layer_decay=0.8)
    assert {name: factor for name, (factor, _) in values.items()} == pytest.approx(
        {
            "0.weight": 0.64,
            "0.bias": 0.64,
            "1.weight": 0.64,
            "1.bias": 0.64,
            "2.weight": 0.8,
            "4.weight": 0.5,
            "4.bias": 0.5,
        }
    )
    assert {decay for _, decay in values.values()} == {0.1}


def test_tokens_and_scales_are_no_layers_and_have_no_decay() -> None:
    """A token before the first weight belongs to its layer."""
    model, settings = network(), {"decay_norm_and_bias": False, "layer_decay": 0.8}
    model.register_parameter("class_token", nn.Parameter(torch.zeros(1, 1, 3)))
    model.get_submodule("1").register_parameter("layer_scale", nn.Parameter(torch.ones(4, 1, 1)))
    _, values = refined(model, **settings)
    assert values.pop("class_token") == values.pop("1.layer_scale") == values["0.bias"]
    assert values == refined(network(), **settings)[1]


def test_settings_combine_and_every_parameter_stays_in_one_group() -> None:
    optimizer, values = refined(network(), decay_norm_and_bias=False, bias_lr_factor=2.0, layer_decay=0.5)
    assert values["0.bias"] == (0.5, 0.0) and values["1.weight"] == (0.25, 0.0) and values["4.bias"] == (1.0, 0.0)
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len({*grouped}) == 7
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    again, _ = refined(network(), decay_norm_and_bias=False, bias_lr_factor=2.0, layer_decay=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert repr(again.state_dict()) == repr(optimizer.state_dict())


@pytest.mark.parametrize(
    "model, weight_decay, settings, sentence",
    [
        (network(), 0.0, {"decay_norm_and_bias": False}, "needs optimizer.weight_decay above 0"),
        (nn.Linear(3, 2), 0.1, {"layer_decay": 0.5}, "needs a model with several trained layers"),
        (nn.Linear(3, 2, bias=False), 0.1, {"bias_lr_factor": 2.0}, "needs a model with trained biases"),
    ],
)
def test_a_setting_without_effect_is_refused(
    model: nn.Module, weight_decay: float, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^optimizer.{next(iter(settings))}=.*{sentence}"):
        refined(model, weight_decay, **settings)


def test_the_decay_of_a_single_group_can_be_turned_off() -> None:
    model = network()
    weights, others = ([it for it in model.parameters() if (it.ndim > 1) == matrices] for matrices in (True, False))
    groups = [{"params": weights, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.1}]
    optimizer = SGD([group | {"lr_factor": 1.0} for group in groups], lr=0.1)
    refine_groups(optimizer, list(model.named_parameters()), **OFF | {"decay_norm_and_bias": False})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]

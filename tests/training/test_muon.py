"""Muon: singular values by the polynomial, steps as torch.optim.Muon on matrices, the rest by torch's AdamW or SGD."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import convnext_tiny, swin_t, vit_b_16

from sweeper.errors import UserError
from sweeper.training.muon import is_hidden_matrix, orthogonalize
from sweeper.training.optimizers import OPTIMIZERS

SETTINGS: dict[str, Any] = {
    "lr": 0.02, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "weight_decay": 0.1, "aux": "adamw", "aux_lr": 0.01,
    "betas": [0.8, 0.99],
}  # fmt: skip


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 6, 1), nn.Flatten(), nn.Linear(6, 3)
    )


def build(model: nn.Module, **changes: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = OPTIMIZERS["muon"](list(model.named_parameters()), **SETTINGS | changes)
    return optimizer


def set_gradients(weights: list[Any], number: int) -> None:
    for index, weight in enumerate(weights):
        generator = torch.Generator().manual_seed(100 * number + index)
        weight.grad = torch.randn(weight.shape, generator=generator)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
@pytest.mark.parametrize("num_steps", [1, 3, 5])
def test_the_polynomial_maps_singular_values_and_keeps_singular_vectors(shape: tuple[int, int], num_steps: int) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(num_steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalize(matrix, num_steps), u @ s.diag() @ vh)
    if num_steps == 5:
        assert bool(((s > 0.5) & (s < 1.3)).all())


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_a_matrix_moves_as_with_torchs_muon(shape: tuple[int, int], nesterov: bool) -> None:
    """torch computes in bfloat16, whose numbers have three digits."""
    model = nn.Sequential(nn.Linear(shape[1], shape[0], bias=False), nn.Linear(shape[0], 2, bias=False))
    ours, head = model.parameters()
    theirs = nn.Parameter(ours.detach().clone())
    optimizer = build(model, nesterov=nesterov)
    reference = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    for number in range(4):
        set_gradients([ours], number)
        theirs.grad, head.grad = ours.grad, None
        before, start = ours.detach().clone(), theirs.detach().clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours - before, theirs - start, atol=1e-3, rtol=0.05)
    assert not torch.equal(ours, before)


def test_filters_are_matrices_of_filters_and_inputs() -> None:
    model = network()
    optimizer = build(model, momentum=0.0, nesterov=False, weight_decay=0.5)
    weights = list(model.parameters())
    set_gradients(weights, 0)
    before = [weight.detach().clone() for weight in weights]
    optimizer.step()
    for index in (4, 6):  # the second and the third convolution
        gradient: Any = weights[index].grad
        direction = orthogonalize(gradient.flatten(1), 5).reshape(gradient.shape)
        rows, columns = gradient.flatten(1).shape
        expected = before[index] * (1 - 0.02 * 0.5) - 0.02 * max(1, rows / columns) ** 0.5 * direction
        torch.testing.assert_close(weights[index].detach(), expected)


def test_the_memory_format_of_filters_does_not_matter() -> None:
    plain, last = network(), network().to(memory_format=torch.channels_last)
    for model in (plain, last):
        optimizer = build(model)
        for number in range(2):
            set_gradients(list(model.parameters()), number)
            if model is last:
                for weight in (it for it in model.parameters() if it.ndim == 4):
                    gradient: Any = weight.grad
                    weight.grad = gradient.contiguous(memory_format=torch.channels_last)
            optimizer.step()
    for one, other in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("aux", ["adamw", "sgd"])
def test_the_rest_moves_as_with_torchs_optimizer(aux: str) -> None:
    model, reference = network(), network()
    changes: dict[str, Any] = {} if aux == "adamw" else {"aux": "sgd", "betas": None}
    optimizer = build(model, **changes)
    ours, theirs = list(model.parameters()), list(reference.parameters())
    rest = [theirs[index] for index in range(len(theirs)) if index not in (4, 6)]
    if aux == "adamw":
        expected: Any = torch.optim.AdamW(rest, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1, fused=True)
    else:
        expected = torch.optim.SGD(rest, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True)
    for group in optimizer.param_groups:
        group["lr"] = 0.02 * group["lr_factor"]  # as the loop
    for number in range(3):
        set_gradients(ours, number)
        set_gradients(theirs, number)
        optimizer.step()
        expected.step()
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if index not in (4, 6):
            torch.testing.assert_close(one, other)


def test_which_weights_are_hidden_matrices() -> None:
    def names(model: nn.Module) -> set[str]:
        named = list(model.named_parameters())
        hidden = is_hidden_matrix(named)
        return {name for (name, _), is_hidden in zip(named, hidden, strict=True) if is_hidden}

    assert names(network()) == {"2.weight", "3.weight"}
    assert names(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))) == {"0.weight"}
    assert names(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))) == set()
    assert names(nn.Linear(4, 2)) == set()


def test_of_parameters_with_several_dimensions_only_weights_of_layers_are_hidden_matrices() -> None:
    """Tokens, positions and scales are not; nor are they the first convolution, which is left out."""
    expected = {
        vit_b_16: {"class_token", "conv_proj.weight", "pos_embedding", "head.weight"},
        convnext_tiny: {"0.0.weight", "layer_scale", "2.weight"},
        swin_t: {"0.0.weight", "relative_position_bias_table", "head.weight"},
    }
    for build_network, left_out in expected.items():
        with torch.device("meta"):
            named = list(build_network().named_parameters())
        of_muon = zip(named, is_hidden_matrix(named), strict=True)
        others = [name for (name, weight), is_hidden in of_muon if weight.ndim > 1 and not is_hidden]
        assert {next((end for end in left_out if name.endswith(end)), name) for name in others} == left_out
        assert sum(name.endswith("weight") for name in others) == 2


def test_a_model_without_a_hidden_matrix_and_wrong_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"^optimizer=muon needs a trained matrix besides the first convolution"):
        build(nn.Linear(4, 2))
    for changes in ({"betas": None}, {"aux": "sgd"}):
        with pytest.raises(UserError, match=r"^optimizer\.betas=.* does not fit optimizer\.aux="):
            build(network(), **changes)


def test_a_weight_without_a_gradient_stays() -> None:
    model = network()
    optimizer = build(model)
    set_gradients(list(model.parameters()), 0)
    weight = model.get_parameter("2.weight")
    weight.grad, before = None, weight.detach().clone()
    optimizer.step()
    assert torch.equal(weight, before) and len(optimizer.param_groups) == 2


def test_normalized_muon_moves_a_weight_that_begins_at_zero() -> None:
    """Such as those of the finer maps of fcn8s: it has no norm to scale, and is finite after steps all the same."""
    model = network()
    weight: Any = model.get_parameter("3.weight")
    nn.init.zeros_(weight)
    settings = {"lr": 0.2, "momentum": 0.6, "nesterov": True, "ns_steps": 3, "aux_lr": 4.0, "aux_momentum": 0.8}
    named = list(model.named_parameters())
    optimizer = OPTIMIZERS["normalized_muon"](named, **settings, bias_lr=0.5, weight_decay=0.1)
    for number in range(2):
        set_gradients([parameter for _, parameter in named], number)
        optimizer.step()
        assert all(bool(parameter.isfinite().all()) for _, parameter in named) and bool(weight.any())


def test_the_groups_of_normalized_muon() -> None:
    """It has all matrices but the last; that one and the rest have rates of their own, and the same decay of a step."""
    settings = {"lr": 0.2, "momentum": 0.6, "nesterov": True, "ns_steps": 3, "aux_lr": 4.0, "aux_momentum": 0.8}
    model = network()
    model[3].register_parameter("layer_scale", nn.Parameter(torch.ones(6, 1, 1)))
    model[3].register_parameter("gain", nn.Parameter(torch.ones(())))
    named = list(model.named_parameters())
    optimizer = OPTIMIZERS["normalized_muon"](named, **settings, bias_lr=0.5, weight_decay=0.1)
    names = {parameter: name for name, parameter in named}
    found = [
        (
            [names[p] for p in group["params"]],
            group["ns_steps"],
            group["momentum"],
            group["lr_factor"],
            group["weight_decay"],
        )
        for group in optimizer.param_groups
    ]
    rest = ["0.bias", "1.weight", "1.bias", "2.bias", "3.bias", "3.layer_scale", "3.gain", "5.bias"]
    assert found == [
        (["0.weight", "2.weight", "3.weight"], 3, 0.6, 1.0, 0.0),
        (["5.weight"], 0, 0.8, 20.0, 0.1),
        (rest, 0, 0.8, 2.5, 0.1 * 4.0 / 0.5),
    ]
    before = {name: parameter.detach().clone() for name, parameter in named}
    set_gradients([parameter for _, parameter in named], 0)
    named[0][1].grad = None
    optimizer.step()
    assert torch.equal(named[0][1], before["0.weight"])
    weight: Any = model.get_parameter("2.weight")
    rescaled = before["2.weight"] * 2 / before["2.weight"].norm()  # four filters
    direction = orthogonalize(weight.grad.flatten(1) * 1.6, 3).view(weight.shape)
    torch.testing.assert_close(weight.detach(), rescaled - 0.2 * direction)
    with pytest.raises(UserError, match=r"^optimizer=normalized_muon needs a trained matrix besides the last layer"):
        OPTIMIZERS["normalized_muon"](
            list(nn.Linear(4, 2).named_parameters()), **settings, bias_lr=1.0, weight_decay=0.0
        )

"""Initial weights: torch's own, each rule by its definition, and what every choice must keep."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from choices import presets
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.choice import choose
from sweeper.errors import UserError
from sweeper.groups import InitConfig
from sweeper.models.init import INITS, check_init, default, lecun_normal


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


def layers_of(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(
    "name, torchs",
    [
        ("kaiming", lambda weight: nn.init.kaiming_normal_(weight, mode="fan_in", nonlinearity="relu")),
        ("xavier", nn.init.xavier_uniform_),
        ("orthogonal", nn.init.orthogonal_),
    ],
)
def test_weights_are_torchs_and_biases_zero(name: str, torchs: Callable[[Tensor], Tensor]) -> None:
    model, expected = network(), network()
    torch.manual_seed(5)
    INITS[name](model, no_images)
    torch.manual_seed(5)
    for layer, other in zip(layers_of(model), layers_of(expected), strict=True):
        assert torch.equal(layer.weight, torchs(other.weight.data)) and not layer.bias.any()
    assert torch.equal(model.get_parameter("1.weight"), torch.ones(64))


def test_orthogonal_filters() -> None:
    model = network()
    INITS["orthogonal"](model, no_images)
    matrix = model.get_parameter("0.weight").detach().flatten(1)  # 64 filters of 75 inputs
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64))


def test_the_first_filters_of_dirac_pass_their_inputs_on() -> None:
    """One image channel each; the other filters, and filters that are fewer than the inputs, keep to the rule."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 2, 3, padding=1, bias=False), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    INITS["dirac"](model, no_images)
    images = some_images(2)
    outputs = F.conv2d(images, model.get_parameter("0.weight"), padding=2)
    torch.testing.assert_close(outputs[:, :3], images)
    assert torch.equal(model.get_parameter("0.weight")[3:], before["0.weight"][3:])
    assert torch.equal(model[1](outputs), outputs[:, :2])
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in ("0.bias", "2.weight", "2.bias"))


@pytest.mark.parametrize(("channels", "filters", "groups"), [(6, 6, 6), (6, 12, 6), (8, 16, 2), (8, 4, 2)])
def test_dirac_passes_the_inputs_of_each_group_on(channels: int, filters: int, groups: int) -> None:
    conv = nn.Conv2d(channels, filters, 3, padding=1, groups=groups, bias=False)
    expected = conv.weight.detach().clone()
    num = min(filters, channels) // groups
    first = torch.arange(filters) % (filters // groups) < num
    expected[first] = nn.init.dirac_(torch.empty_like(expected), groups)[first]
    INITS["dirac"](nn.Sequential(conv), no_images)
    assert torch.equal(conv.weight, expected)


def test_dirac_without_convolutions_is_refused() -> None:
    model = nn.Linear(3, 2)
    for name in {*INITS} - {"whitening"}:
        with (
            pytest.raises(UserError, match=r"^init=dirac needs a model with conv") if name == "dirac" else nullcontext()
        ):
            check_init(name, partial(INITS[name]), model)
    check_init("dirac", partial(INITS["dirac"]), network())


def test_initial_weights_that_trained_ones_would_overwrite_are_refused() -> None:
    for name in {*INITS} - {"default"}:
        with pytest.raises(
            UserError, match=rf"^init={name} sets initial weights, which model.weights overwrites; choose"
        ):
            check_init(name, partial(INITS[name]), network(), has_weights=True)
    check_init("default", partial(INITS["default"]), network(), has_weights=True)


def patches_of(images: Tensor, size: int) -> Tensor:
    """Collect every patch (patches, C * size * size) of images, one by one."""
    rows, columns = (side - size + 1 for side in images.shape[2:])
    cut = [images[:, :, i : i + size, j : j + size].flatten(1) for i in range(rows) for j in range(columns)]
    return torch.cat(cut)


def whitenable(size: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    filters = 2 * 3 * size * size
    return nn.Sequential(
        nn.Conv2d(3, filters, size),
        nn.GELU(),
        nn.Conv2d(filters, 30, 3),
        nn.Flatten(),
        nn.Linear(30 * (7 - size) ** 2, 3),
    )


@pytest.mark.parametrize("size", [2, 3])
def test_whitened_patches_are_uncorrelated(size: int) -> None:
    """The filters are eigenvectors of all patches, by falling variance v, scaled to v / (v + eps); then negatives."""
    model, plain = whitenable(size), whitenable(size)
    INITS["whitening"](model, some_images, eps=0.01, others="default")
    filters = model.get_parameter("0.weight").detach().flatten(1)
    patches = patches_of(some_images(5000), size)
    outputs = patches @ filters[: len(filters) // 2].T
    moments = (patches.T @ patches / len(patches)).double()
    variances = torch.linalg.eigvalsh(moments).flip(0)
    expected = (variances / (variances + 0.01)).float()
    torch.testing.assert_close(outputs.T @ outputs / len(outputs), expected.diag(), atol=1e-5, rtol=1e-4)
    assert torch.equal(filters[len(filters) // 2 :], -filters[: len(filters) // 2])
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["0.weight"]
    others = [name for name in plain.state_dict() if name != "0.weight"]
    assert all(torch.equal(model.state_dict()[name], plain.state_dict()[name]) for name in others)


def test_whitening_with_dirac_and_a_scaled_head() -> None:
    model, plain, dirac = whitenable(), whitenable(), whitenable()
    INITS["whitening"](model, some_images, eps=0.01, others="dirac", head_std=0.5)
    INITS["dirac"](dirac, no_images)
    assert torch.equal(model.get_parameter("2.weight"), dirac.get_parameter("2.weight"))
    assert not torch.equal(model.get_parameter("0.weight"), dirac.get_parameter("0.weight"))
    head, before = model.get_parameter("4.weight").detach(), plain.get_parameter("4.weight").detach()
    assert float(head.std()) == pytest.approx(0.5)
    torch.testing.assert_close(head / before, torch.full_like(head, 0.5 / float(before.std())))


def test_whitening_takes_fewer_large_images() -> None:
    asked = []

    def large(number: int) -> Tensor:
        asked.append(number)
        return torch.randn(min(number, 3), 3, 320, 160)

    INITS["whitening"](whitenable(), large, eps=0.01, others="default")
    assert asked == [1, 100]


def test_whitening_is_refused_where_the_first_convolution_has_other_filters() -> None:
    for model, sentence in (
        (network(), "needs a first convolution of 150 filters of 5x5, not 64"),
        (nn.Linear(3, 2), "needs a model with convolutions"),
    ):
        with pytest.raises(UserError, match=f"^init=whitening {sentence}"):
            check_init("whitening", partial(INITS["whitening"], eps=0.01, others="default"), model)
    model = whitenable()
    check_init("whitening", partial(INITS["whitening"], eps=0.01, others="default"), model)
    assert not model.get_parameter("0.weight").requires_grad  # as it will be in training


def test_outputs_of_every_layer_have_variance_one_after_lsuv() -> None:
    """Layer by layer, against the paper's loop: a forward pass for each layer, and a division by the deviation."""
    model, reference = network().train(), network()
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    torch.manual_seed(5)
    INITS["lsuv"](model, some_images)
    assert model.training and all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    torch.manual_seed(5)
    INITS["orthogonal"](reference, no_images)
    reference.eval()
    outputs: list[Tensor] = []
    with torch.no_grad():
        for index, layer in enumerate(layers_of(reference)):
            handles = [it.register_forward_hook(lambda *it: outputs.append(it[2])) for it in layers_of(reference)]
            outputs.clear()
            reference(some_images(128))
            layer.weight.div_(outputs[index].std())
            for handle in handles:
                handle.remove()
    for layer, other in zip(layers_of(model), layers_of(reference), strict=True):
        torch.testing.assert_close(layer.weight, other.weight)
        assert not layer.bias.any() and not layer._forward_hooks
    assert float(model.eval()(some_images(128)).detach().std()) == pytest.approx(1, rel=1e-4)


def test_lsuv_does_not_scale_a_layer_without_signal() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    INITS["lsuv"](model, lambda number: torch.zeros(number, 3, 8, 8))
    weight = model.get_parameter("1.weight")
    torch.testing.assert_close(weight @ weight.T, torch.eye(4))


@pytest.mark.parametrize("preset", presets("init"))
def test_every_choice_is_reproducible_and_finite(preset: str) -> None:
    choice: Any = choose("init", InitConfig(**presets("init")[preset]), INITS)
    states = []
    make = whitenable if choice.func is INITS["whitening"] else network
    for _ in range(2):
        model = make()
        choice(model, some_images)
        states.append(model.state_dict())
    assert states[0].keys() == make().state_dict().keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]) and bool(value.float().isfinite().all())
    assert model(some_images(4)).shape == (4, 3)

"""Architecture steps: each against a network that is written out, and what they are refused for."""

import copy
import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
import torch
from choices import overridden, presets
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation, stochastic_depth

from sweeper.choice import keyword_only
from sweeper.errors import UserError
from sweeper.models import MODELS, build_model
from sweeper.models.architecture import MODELS_WITH, STEPS, BlurPool2d, Layers, check_steps, modify
from sweeper.models.layers import NORMS, dropout, own, relu
from sweeper.models.resnet import load_pretrained
from sweeper.training.courses import trained_layers

SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "mlp": {"hidden": [4]},
    "cnn": {"channels": [8, 8], "kernel_size": 3},
    "cnn_pool": {"channels": [8, 8], "kernel_size": 3},
    "resnet18": {"weights": None, "stem": "cifar", "freeze_backbone": False},
    "airbench": {"widths": [4, 4]},
    "torchvision": {"arch": "mobilenet_v3_small", "weights": None, "freeze_backbone": False},
    "timm": {"arch": "test_resnet", "weights": None, "freeze_backbone": False},
}
VALUES = {key: value for preset in presets("architecture").values() for key, value in preset.items() if value}
VALUES |= {"stochastic_depth": 0.4, "logit_scale": 0.5}


def settings_of(name: str) -> dict[str, Any]:
    """Return the settings of a small network; those of its preset where SETTINGS has none."""
    preset = next(preset for preset in presets("model").values() if preset["name"] == name)
    return SETTINGS.get(name, {key: value for key, value in preset.items() if key != "name"})


def build(name: str, *steps: str, norm: str = "batch", side: int = 16, **changes: Any) -> Any:
    """Build a model for three classes, with steps."""
    slots = {"activation": relu, "norm": NORMS[norm], "dropout": partial(dropout, rate=0.0)}
    if name not in SETTINGS and overridden(name).get("norm") == "own":
        slots |= {"activation": own, "norm": own}
    torch.manual_seed(0)
    chosen = {step: partial(STEPS[step], **{step: VALUES[step]}) for step in steps}
    check_steps(name, partial(MODELS[name]), chosen)
    model = build_model(partial(MODELS[name], **settings_of(name) | changes), (3, side, side), 3, **slots)
    modify(model, chosen, Layers(relu, NORMS[norm]))
    return model


def images(number: int = 4, side: int = 16) -> Tensor:
    return torch.rand(number, 3, side, side, generator=torch.Generator().manual_seed(1))


def resnet_forward(model: Any, inputs: Tensor, branch: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """Run a ResNet whose residual branches are given."""
    out = model.maxpool(model.relu(model.bn1(model.conv1(inputs))))
    for block in [block for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for block in layer]:
        shortcut = out if block.downsample is None else block.downsample(out)
        out = F.relu(branch(block, out) + shortcut)
    logits: Tensor = model.fc(out.mean((2, 3)))
    return logits


def plain_branch(block: Any, inputs: Tensor) -> Tensor:
    out: Tensor = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(inputs)))))
    return out


def test_stochastic_depth_drops_branches_with_a_rate_that_rises_linearly() -> None:
    """The eight blocks drop with 1/8 to 8/8 of the rate, image by image, scaled in training and not in evaluation."""
    model, plain = build("resnet18", "stochastic_depth"), build("resnet18")
    rates = iter([0.4 * number / 8 for number in range(1, 9)])

    def dropping(block: Any, inputs: Tensor) -> Tensor:
        return cast(Tensor, stochastic_depth(plain_branch(block, inputs), next(rates), "row"))

    torch.manual_seed(3)
    found = model.train()(images())
    torch.manual_seed(3)
    torch.testing.assert_close(found, resnet_forward(plain.train(), images(), dropping))
    assert torch.equal(model.eval()(images()), plain.eval()(images()))


def test_which_steps_take_weights_of_a_plain_network(tmp_path: Any) -> None:
    plain = build("resnet18")
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    for step in {*STEPS} - {"deep_stem", "zero_gamma"}:
        with torch.device("meta"):
            model = build("resnet18", step)
        if step in ("stochastic_depth", "fixed_scale", "logit_scale"):
            assert load_pretrained(model, str(tmp_path / "weights.pt"), {"name": "batch"})
        else:
            with pytest.raises(UserError, match="does not fit this model"):
                load_pretrained(model, str(tmp_path / "weights.pt"), {"name": "batch"})


def slow_gate(gate: Any, inputs: Tensor) -> Tensor:
    """Write a gate out: two fully connected layers on the means of the channels."""
    hidden = F.relu(F.linear(inputs.mean((2, 3)), gate.fc1.weight[:, :, 0, 0], gate.fc1.bias))
    return inputs * torch.sigmoid(F.linear(hidden, gate.fc2.weight[:, :, 0, 0], gate.fc2.bias))[:, :, None, None]


def test_squeeze_excitation_gates_residual_branches() -> None:
    model, plain = build("resnet18", "squeeze_excitation"), build("resnet18")
    gates = [module for module in model.modules() if isinstance(module, SqueezeExcitation)]
    assert [gate.fc1.out_channels for gate in gates] == [16, 16, 32, 32, 64, 64, 128, 128]  # channels / 4
    order = iter(gates)
    expected = resnet_forward(plain, images(), lambda block, x: slow_gate(next(order), plain_branch(block, x)))
    torch.testing.assert_close(model(images()), expected)


@pytest.mark.parametrize("name", ["cnn", "cnn_pool"])
def test_squeeze_excitation_follows_activations(name: str) -> None:
    model, plain = build(name, "squeeze_excitation"), build(name)
    gates = iter([module for module in model.modules() if isinstance(module, SqueezeExcitation)])
    out = images()
    for layer in plain:
        out = slow_gate(next(gates), layer(out)) if isinstance(layer, nn.ReLU) else layer(out)
    torch.testing.assert_close(model(images()), out)


def test_a_gate_has_at_least_one_hidden_unit() -> None:
    model = build("cnn")
    step = partial(STEPS["squeeze_excitation"], squeeze_excitation=16)  # more than the 8 channels
    modify(model, {"squeeze_excitation": step}, Layers(relu, NORMS["batch"]))
    assert [gate.fc1.out_channels for gate in model if isinstance(gate, SqueezeExcitation)] == [1, 1]


def slow_blur(inputs: Tensor) -> Tensor:
    """Blur and halve images pixel by pixel."""
    height, width = inputs.shape[2:]
    result = torch.zeros(*inputs.shape[:2], (height + 1) // 2, (width + 1) // 2)
    for row in range(0, height, 2):
        for column in range(0, width, 2):
            for down, weight in zip((-1, 0, 1), (1, 2, 1), strict=True):
                for right, other in zip((-1, 0, 1), (1, 2, 1), strict=True):
                    place = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                    result[:, :, row // 2, column // 2] += weight * other / 16 * inputs[:, :, place[0], place[1]]
    return result


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (6, 6)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_blur_pool_against_loops(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    inputs = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=memory_format
    )
    torch.testing.assert_close(BlurPool2d()(inputs), slow_blur(inputs))


@pytest.mark.parametrize("side", [16, 13])
@pytest.mark.parametrize("name", ["cnn", "cnn_pool"])
def test_blur_pool_halves_after_activations_and_pools(name: str, side: int) -> None:
    model, plain = build(name, "blur_pool", side=side), build(name, side=side)
    out = images(side=side)
    for layer in plain:
        if isinstance(layer, nn.Conv2d):
            out = F.conv2d(out, layer.weight, layer.bias, padding=1)
        elif isinstance(layer, nn.MaxPool2d):
            out = slow_blur(F.max_pool2d(out, 2, stride=1))
        elif isinstance(layer, nn.ReLU) and name == "cnn":
            out = slow_blur(layer(out))
        else:
            out = layer(out)
    torch.testing.assert_close(model(images(side=side)), out)
    before = [model[index - 1] for index, layer in enumerate(model) if isinstance(layer, BlurPool2d)]
    assert len(before) == 2 and all(isinstance(layer, nn.ReLU | nn.MaxPool2d) for layer in before)  # dropout follows


def test_blur_pool_in_a_resnet() -> None:
    """A block that halves the image does so between its convolutions, and before the shortcut's convolution."""
    model, plain = build("resnet18", "blur_pool", stem="imagenet", side=32), build("resnet18", stem="imagenet", side=32)
    model.eval()
    plain.eval()
    inputs = images(2, 32)
    out = slow_blur(F.max_pool2d(plain.relu(plain.bn1(plain.conv1(inputs))), 3, stride=1, padding=1))
    for layer in (plain.layer1, plain.layer2, plain.layer3, plain.layer4):
        for block in layer:
            strided = block.downsample is not None
            branch = F.relu(block.bn1(F.conv2d(out, block.conv1.weight, padding=1)))
            branch = block.bn2(block.conv2(slow_blur(branch) if strided else branch))
            if strided:
                out = block.downsample[1](F.conv2d(slow_blur(out), block.downsample[0].weight))
            out = F.relu(branch + out)
    torch.testing.assert_close(model(inputs), plain.fc(out.mean((2, 3))), rtol=1e-4, atol=1e-5)


def test_weight_standardization_against_a_standardized_copy() -> None:
    """The outputs are those of a network whose filters were standardized by hand; the weights stay as they are."""
    model, plain = build("resnet18", "weight_standardization"), build("resnet18")
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            filters = module.weight.data.flatten(1)  # (filters, size)
            centered = filters - filters.sum(1, keepdim=True) / filters.shape[1]
            variances = (centered**2).sum(1, keepdim=True) / filters.shape[1]
            module.weight.data = (centered / (variances + 1e-5).sqrt()).view_as(module.weight)
    torch.testing.assert_close(model(images()), plain(images()), rtol=1e-3, atol=1e-4)
    first = model.conv1
    torch.testing.assert_close(first(images()), F.conv2d(images(), plain.conv1.weight, padding=1))
    assert torch.equal(model.conv1.weight, build("resnet18").conv1.weight)


def test_zero_gamma_makes_each_block_its_shortcut() -> None:
    model, plain = build("resnet18", "zero_gamma"), build("resnet18")
    expected = resnet_forward(plain, images(), lambda block, x: torch.zeros(()))
    torch.testing.assert_close(model(images()), expected)
    norms = [(block.bn1.weight, block.bn2.weight) for layer in (model.layer1, model.layer4) for block in layer]
    assert all(bool((first == 1).all()) and not last.any() for first, last in norms)


def test_pooled_shortcuts() -> None:
    model, plain = build("resnet18", "pooled_shortcuts"), build("resnet18")
    inputs = torch.randn(2, 64, 5, 5)  # an odd side: the pools at the border are smaller
    pooled = torch.stack(
        [torch.stack([window(inputs, row, column) for column in range(3)], -1) for row in range(3)], -2
    )
    shortcut, old = model.layer2[0].downsample, plain.layer2[0].downsample
    expected = F.conv2d(pooled, old[0].weight)
    torch.testing.assert_close(shortcut(inputs), old[1](expected))
    assert sum(map(Tensor.numel, model.parameters())) == sum(map(Tensor.numel, plain.parameters()))
    assert model.layer1[0].downsample is None


def window(inputs: Tensor, row: int, column: int) -> Tensor:
    return inputs[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((2, 3))


def test_deep_stem() -> None:
    model = build("resnet18", "deep_stem", stem="imagenet", side=32)
    kinds = [type(layer) for layer in model.conv1]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert [layer.weight.shape for layer in model.conv1[::3]] == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
    assert model.conv1(images(side=32)).shape == (4, 64, 16, 16)
    assert all(layer.bias is None for layer in model.conv1[::3])
    for layer in model.conv1[::3]:  # of He et al. 2015, by the number of outputs
        spread = float(layer.weight.detach().std()) * (layer.out_channels * 9 / 2) ** 0.5
        assert spread == pytest.approx(1, abs=0.1)


ALL = ("deep_stem", "pooled_shortcuts", "zero_gamma", "weight_standardization", "blur_pool", "squeeze_excitation")


@pytest.mark.parametrize(
    "name, steps, changes",
    [
        ("resnet18", (*ALL, "stochastic_depth"), {"stem": "imagenet"}),
        ("cnn", ALL[3:], {}),
        ("cnn_pool", ALL[3:], {}),
    ],
)
def test_steps_combine_and_copies_are_independent(name: str, steps: tuple[str, ...], changes: dict[str, Any]) -> None:
    """All parameters get a gradient after the first updates, and a copy (averaged weights) computes with its own."""
    model = build(name, *steps, **changes).train()
    gamma = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        gamma.zero_grad()
        F.cross_entropy(model(images(8)), torch.arange(8) % 3).backward()
        gamma.step()
    assert all(parameter.grad.any() for parameter in model.parameters())
    copied = copy.deepcopy(model.eval())
    before = copied(images())
    assert torch.equal(before, model(images()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.equal(copied(images()), before)


def test_a_gate_comes_before_the_drop() -> None:
    layers = list(build("resnet18", "squeeze_excitation", "stochastic_depth").layer1[0].bn2.children())
    assert [type(layer).__name__ for layer in layers] == ["SqueezeExcitation", "StochasticDepth"]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_refused_for_other_models_than_it_names(step: str) -> None:
    fitting, sentences = [], []
    for name in MODELS:
        changes: dict[str, Any] = {"stem": "imagenet"} if name == "resnet18" else {}
        try:
            with torch.device("meta"):
                build(name, step, **changes)
        except UserError as error:
            sentences.append(str(error))
        else:
            fitting.append(name)
    models = ", ".join(sorted(fitting))
    sentence = rf"architecture\.{step} (needs .*: model={models}|does not apply to model=\w+, which takes [a-z_, ]+)"
    assert fitting and all(re.fullmatch(sentence, it) for it in sentences)


@pytest.mark.parametrize(
    "steps, changes, sentence",
    [
        (["deep_stem"], {}, "choose model.stem=imagenet"),
        (["zero_gamma"], {"norm": "none"}, "architecture.zero_gamma needs a norm"),
        (["weight_standardization"], {"norm": "none"}, "needs a norm after each convolution"),
        (["fixed_scale"], {"norm": "none"}, "architecture.fixed_scale needs norm=batch"),
        (["zero_gamma"], {"weights": "imagenet"}, "which model.weights overwrites"),
        (["zero_gamma", "fixed_scale"], {}, "residual branches would never train; set one of them to null"),
        (
            ["stochastic_depth"],
            {"weights": "imagenet", "freeze_backbone": True},
            "architecture.stochastic_depth changes",
        ),
    ],
)
def test_contradictions_are_refused(steps: list[str], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence), torch.device("meta"):
        build("resnet18", *steps, **changes)


def test_models_with_dropout_and_several_layers_are_named() -> None:
    assert {name for name in MODELS if "dropout" in keyword_only(MODELS[name])} == {*MODELS_WITH["dropout"]}
    with torch.device("meta"):
        deep = {name for name in MODELS if len(trained_layers(build(name))) > 1}
    assert deep == {*MODELS_WITH["several layers"]} == {*MODELS} - {"softmax", "patch_softmax"}


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18", "airbench"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_fixed_scale_is_not_trained_and_biases_are(name: str, norm: str) -> None:
    model, plain = build(name, "fixed_scale", norm=norm), build(name, norm=norm)
    norms = {
        key for key, layer in model.named_modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm)
    }
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    assert norms and frozen == {f"{key}.weight" for key in norms}
    assert torch.equal(model(images()), plain(images()))


@pytest.mark.parametrize("name", ["softmax", "cnn", "airbench"])
def test_logits_are_scaled_in_copies_too(name: str) -> None:
    model, plain = build(name, "logit_scale").eval(), build(name).eval()
    assert torch.equal(copy.deepcopy(model)(images()), plain(images()) * 0.5)

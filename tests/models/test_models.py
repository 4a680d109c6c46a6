"""Models: shapes and sizes, slots, and initial weights."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from networks import BIG, PRESETS, Settings, build
from processes import REPOSITORY
from torch import nn

from sweeper.errors import UserError
from sweeper.models.linear import Shape
from sweeper.training.task_checks import task_of_model


@pytest.mark.parametrize("shape, num_classes", [((1, 28, 28), 7), ((4, 9, 9), 2), ((3, 20, 12), 101)])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_any_images_and_classes(name: str, shape: Shape, num_classes: int) -> None:
    positions = shape[1:] if task_of_model(PRESETS[name]["name"]) == "segmentation" else ()
    assert build(name, shape, num_classes).eval()(torch.rand(2, *shape)).shape == (2, num_classes, *positions)


@pytest.mark.parametrize(
    "name, slots, size",
    [
        ("softmax", {}, 3072 * 10 + 10),  # 30,730
        ("mlp", {}, 3072 * 1024 + 1024 + 1024 * 10 + 10),  # 3,157,002
        ("mlp_deep", {}, 3072 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10),
        ("cnn", {}, 16 * 3 * 25 + 16 + 16 * 16 * 25 + 16 + 16 * 8 * 8 * 10 + 10),
        ("cnn", {"norm": "batch"}, 17_882 + 2 * (16 + 16)),
        ("cnn_pool", {"rate": 0.5}, 16 * 3 * 25 + 16 + 16 * 16 * 25 + 16 + 16 * 8 * 8 * 10 + 10),  # 17,882
        # torchvision's, less its 1,000 classes; without norm also less the scales and shifts of 20 layers
        ("resnet18_pretrained", {"norm": "batch"}, 11_689_512 - 513 * 1000 + 513 * 10),  # 11,181,642
        ("resnet18_pretrained", {}, 11_181_642 - 2 * 5 * (64 + 128 + 256 + 512)),
        ("resnet18", {"norm": "batch"}, 11_181_642 - 64 * 3 * 49 + 64 * 3 * 9),
    ],
)
def test_number_of_parameters(name: str, slots: Settings, size: int) -> None:
    assert sum(parameter.numel() for parameter in build(name, **slots).parameters()) == size


@pytest.mark.parametrize(
    "name, slots, layers",
    [
        ("softmax", {"norm": "batch", "rate": 0.5}, "Flatten Linear"),
        ("mlp", {}, "Flatten Linear ReLU Linear"),
        ("mlp", {"norm": "batch", "rate": 0.5}, "Flatten Linear BatchNorm1d ReLU Dropout(p=0.5 Linear"),
        ("mlp_deep", {"norm": "layer"}, "Flatten" + " Linear GroupNorm(1, ReLU" * 3 + " Linear"),
        (
            "mlp_deep",
            {"activation": "selu", "rate": 0.1},
            "Flatten" + " Linear SELU AlphaDropout(p=0.1" * 3 + " Linear",
        ),
        ("cnn", {"activation": "tanh"}, "Conv2d Tanh " * 2 + "Flatten Linear"),
        ("cnn", {"norm": "group", "rate": 0.1}, "Conv2d GroupNorm(4, ReLU Dropout(p=0.1 " * 2 + "Flatten Linear"),
        ("cnn_pool", {"activation": "gelu"}, "Conv2d GELU MaxPool2d " * 2 + "Flatten Linear"),
        (
            "cnn_pool",
            {"norm": "batch", "rate": 0.5},
            "Conv2d BatchNorm2d ReLU MaxPool2d Dropout " * 2 + "Flatten Linear",
        ),
        (
            "cnn_pool",
            {"activation": "leaky_relu"},
            "Conv2d LeakyReLU(negative_slope=0.2 MaxPool2d " * 2 + "Flatten Linear",
        ),
    ],
)
def test_layers_in_their_order(name: str, slots: Settings, layers: str) -> None:
    found = [repr(layer) for layer in build(name, **slots).children() if not isinstance(layer, nn.Identity)]
    expected = layers.replace("(1, ", "(1 ").replace("(4, ", "(4 ").split()
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("activation", ["relu", "selu"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn_pool"])
def test_dropout_acts_in_training_only(name: str, activation: str) -> None:
    dropped, plain = (build(name, activation=activation, rate=rate) for rate in (0.5, 0.0))
    images = torch.rand(4, *BIG)
    assert not torch.equal(dropped.train()(images), dropped(images))
    assert torch.equal(dropped.eval()(images), plain(images))


@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn_pool", "resnet18"])
def test_selu_comes_with_lecun_normal_weights(name: str) -> None:
    for module in build(name, activation="selu").modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert float(module.weight.detach().std()) * module.weight[0].numel() ** 0.5 == pytest.approx(1, abs=0.1)
            assert module.bias is None or not module.bias.any()


def test_activation_does_not_change_a_model_without_one() -> None:
    states = [build("softmax", activation=name).state_dict() for name in ("relu", "selu")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    "name, changes, sentence",
    [
        ("cnn", {"norm": "group", "num_groups": 3}, "norm.num_groups=3 does not divide a hidden layer's 16 channels"),
        ("mlp", {"norm": "group", "hidden": [9]}, "norm.num_groups=4 does not divide a hidden layer's 9 channels"),
        ("cnn_pool", {"shape": (3, 3, 3)}, "images of 3x3 pixels are too small"),
        ("cnn_pool", {"shape": (1, 1, 40)}, "images of 1x40 pixels are too small"),
        ("cnn", {"shape": (3, 4, 4), "norm": "group", "num_groups": 16}, "images of 4x4 pixels are too small"),
        (
            "resnet18",
            {"weights": "imagenet", "norm": "group"},
            "model.weights=imagenet was trained with batch normalization",
        ),
        ("resnet18", {"norm": "batch", "freeze_backbone": True}, "model.freeze_backbone=true needs trained weights"),
        ("resnet18", {"norm": "batch", "weights": "nowhere.pt"}, "model.weights=nowhere.pt: there is no such file"),
    ],
)
def test_a_network_that_cannot_be_built_is_a_user_error(name: str, changes: Settings, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(name, **changes)


@pytest.mark.parametrize(
    "stem, kernel, size, norm, num_norms",
    [
        ("cifar", (3, 3), 4, "batch", (20, 0)),
        ("imagenet", (7, 7), 1, "group", (0, 20)),
        ("imagenet", (7, 7), 1, "none", (0, 0)),
    ],
)
def test_stem_and_slots_of_resnet(
    stem: str, kernel: tuple[int, int], size: int, norm: str, num_norms: tuple[int, int]
) -> None:
    model: Any = build("resnet18", norm=norm, activation="selu", stem=stem)
    kinds = [type(module) for module in model.modules()]
    assert (kinds.count(nn.ReLU), kinds.count(nn.SELU), kinds.count(nn.MaxPool2d)) == (0, 9, stem == "imagenet")
    assert (kinds.count(nn.BatchNorm2d), kinds.count(nn.GroupNorm)) == num_norms
    assert model.conv1.kernel_size == kernel
    assert nn.Sequential(*list(model.children())[:-2])(torch.rand(2, *BIG)).shape == (2, 512, size, size)


def test_torchvision_is_not_imported_for_small_models() -> None:
    script = """import sys; from functools import partial; from sweeper.models import build_model, layers, mlp
slots = {"activation": layers.relu, "norm": layers.none, "dropout": partial(layers.dropout, rate=0.0)}
build_model(partial(mlp, hidden=[4]), (1, 2, 2), 3, **slots)
sys.exit("torchvision" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False).returncode == 0

"""Weights from elsewhere: every layout that is taken, and what is said of those that are not."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.errors import UserError
from sweeper.models.weights import fit_weights, read_weights

State = dict[str, Tensor]


def network(channels: int = 3, num_classes: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, num_classes))


LAST = {name: value for name, value in network().state_dict().items() if name.startswith("3.")}
DESCRIBED = "model.weights=FILE does not fit"


def prefixed(prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in network().state_dict().items()}


@pytest.mark.parametrize(
    "content, prefix",
    [
        (prefixed(""), ""),
        (prefixed("module."), "module."),
        (prefixed("_orig_mod.module."), "_orig_mod.module."),
        ({"state_dict": prefixed("model."), "epoch": 3, "pytorch-lightning_version": "2.4"}, "model."),
        ({"model_state_dict": prefixed(""), "optimizer": {"state": {}}}, ""),
        ({"model": prefixed("network."), "run_id": "softmax-1"}, "network."),
    ],
    ids=["plain", "DataParallel", "compiled", "Lightning", "nested", "best.pt"],
)
def test_layouts_that_are_taken(content: Any, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with caplog.at_level(logging.INFO):
        state, _ = (read_weights(str(tmp_path / "weights.pt")) for _ in range(2))
    assert caplog.messages == (
        [f"model.weights={tmp_path}/weights.pt: names without their prefix {prefix}"] if prefix else []
    )
    fitted = fit_weights(state, network().state_dict(), LAST, DESCRIBED)
    expected = network().state_dict()
    assert [*fitted] == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert all(torch.equal(value, expected[name]) for name, value in fitted.items())


def test_a_runs_weights_of_another_norm_are_refused(tmp_path: Path) -> None:
    """The networks that read them have their own; batch norm differs in its eps, which is no tensor."""
    file = str(tmp_path / "best.pt")
    torch.save({"model": prefixed("network."), "norm": {"name": "own"}}, file)
    assert read_weights(file).keys() == prefixed("").keys()
    torch.save({"model": prefixed("network."), "norm": {"name": "batch", "momentum": None, "eps": 0.1}}, file)
    sentence = rf"^model.weights={file} was trained with norm=batch \(eps=0.1\), not with norm=own$"
    with pytest.raises(UserError, match=sentence):
        read_weights(file)


def test_a_runs_weights_for_converted_colors_are_refused(tmp_path: Path) -> None:
    """GoogLeNet and Inception convert them with torchvision's weights alone, and not gray images."""
    file = str(tmp_path / "best.pt")

    def save(channels: int, **model: Any) -> None:
        network = {"groups": {"model": {"name": "torchvision"} | model}, "images": {"input_shape": [channels, 96, 96]}}
        torch.save({"model": prefixed("network."), "network": network}, file)

    for channels, arch, weights in ((1, "googlenet", "pretrained"), (3, "googlenet", None), (3, "vgg11", "pretrained")):
        save(channels, arch=arch, weights=weights)
        assert read_weights(file).keys() == prefixed("").keys()
    save(3, name="timm", arch="inception_v3", weights="pretrained")
    assert read_weights(file).keys() == prefixed("").keys()
    save(3, arch="googlenet", weights="pretrained")
    with pytest.raises(UserError, match=rf"^model.weights={file} was trained on colors that googlenet converts only"):
        read_weights(file)


def test_safetensors(tmp_path: Path) -> None:
    save_file(prefixed("module."), tmp_path / "weights.safetensors")
    assert read_weights(str(tmp_path / "weights.safetensors")).keys() == prefixed("").keys()
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad.safetensors cannot be read as safetensors"):
        read_weights(str(tmp_path / "bad.safetensors"))


def test_filters_for_three_colors_are_summed_for_gray_images() -> None:
    fitted = fit_weights(network().state_dict(), network(1).state_dict(), LAST, DESCRIBED)
    gray = torch.rand(2, 1, 5, 5)
    expected = F.conv2d(gray.expand(2, 3, 5, 5), network()[0].weight)  # type: ignore[arg-type]
    torch.testing.assert_close(F.conv2d(gray, fitted["0.weight"]), expected)


def test_the_last_layer_may_have_other_classes_or_be_missing() -> None:
    own = network(num_classes=5)
    last = {name: value for name, value in own.state_dict().items() if name.startswith("3.")}
    for state in (network().state_dict(), {k: v for k, v in prefixed("").items() if not k.startswith("3.")}):
        assert len(fit_weights(state, own.state_dict(), last, DESCRIBED)) == 6


@pytest.mark.parametrize(
    "state, sentence",
    [
        (
            {"conv.weight": torch.zeros(1)},
            "names differ, the first being 0.weight in the network and conv.weight in the",
        ),
        (
            prefixed("") | {"4.weight": torch.zeros(1)},
            "the first being none in the network and 4.weight in the weights",
        ),
        (
            prefixed("") | {"1.bias": torch.zeros(8)},
            r"shapes differ, the first being that of 1.bias, \[4\] in the network and \[8\] in the weights",
        ),
    ],
)
def test_other_networks_are_refused_with_the_first_difference(state: State, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{DESCRIBED}: .*{sentence}"):
        fit_weights(state, network().state_dict(), LAST, DESCRIBED)


class Hostile:
    """Unpickling it creates a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize(
    "content",
    [{"model": Hostile()}, [1], {}, {"model": 1}, {1: torch.zeros(1)}, {"a": 1.0}],
    ids=["code", "list", "empty", "nested", "unnamed", "number"],
)
def test_files_without_weights_are_refused(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "weights.pt")
    with pytest.raises(UserError, match=r"^model.weights=weights.pt (holds no state dict|cannot be read as tensors)"):
        read_weights("weights.pt")
    assert not Path("canary").exists()
    with pytest.raises(UserError, match="there is no such file; choose null, pretrained or an existing file"):
        read_weights("none.pt")
    Path("weights.pt").rename("exported.pt2")
    with pytest.raises(UserError, match=r"^model.weights=exported.pt2 is an exported network; choose its run's best"):
        read_weights("exported.pt2")


# EfficientNet-Lite0 (Tan & Le 2019, without squeeze-excitation): expansion, filters, blocks, stride, kernel by stage.
LITE0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


class Lite0:
    """EfficientNet-Lite0 on weights with the names of the package efficientnet_pytorch, which are drawn as needed."""

    def __init__(self) -> None:
        self.state: State = {}
        self.generator = torch.Generator().manual_seed(0)

    def convolution(self, x: Tensor, name: str, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> Tensor:
        """Convolve with TensorFlow's padding, which puts an odd pixel at the end."""
        shape = (filters, x.shape[1] // groups, kernel, kernel)
        weight = torch.randn(shape, generator=self.generator) / (shape[1] * kernel**2) ** 0.5
        self.state[f"{name}.weight"] = weight
        pads = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[2:]]
        x = F.pad(x, [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2])
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, var = torch.rand(4, x.shape[1], generator=self.generator)
        values = {"weight": gamma + 0.5, "bias": beta - 0.5, "running_mean": mean - 0.5, "running_var": var + 0.5}
        self.state |= {f"{name}.{key}": value for key, value in values.items()}
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(1)
        mean, scale = values["running_mean"], values["weight"] / (values["running_var"] + 1e-3).sqrt()
        normalized: Tensor = (x - mean[:, None, None]) * scale[:, None, None] + values["bias"][:, None, None]
        return normalized

    def logits(self, x: Tensor) -> Tensor:
        x = F.relu6(self.norm(self.convolution(x, "_conv_stem", 32, 3, 2), "_bn0"))
        number = 0
        for expansion, filters, blocks, first_stride, kernel in LITE0:
            for block in range(blocks):
                name, before, stride = f"_blocks.{number}", x, first_stride if block == 0 else 1
                if expansion > 1:
                    x = self.convolution(x, f"{name}._expand_conv", expansion * x.shape[1], 1)
                    x = F.relu6(self.norm(x, f"{name}._bn0"))
                x = self.convolution(x, f"{name}._depthwise_conv", x.shape[1], kernel, stride, x.shape[1])
                x = F.relu6(self.norm(x, f"{name}._bn1"))
                x = self.norm(self.convolution(x, f"{name}._project_conv", filters, 1), f"{name}._bn2")
                x = x + before if block > 0 else x
                number += 1
        x = F.relu6(self.norm(self.convolution(x, "_conv_head", 1280, 1), "_bn1")).mean((2, 3))
        self.state["_fc.weight"], self.state["_fc.bias"] = torch.randn(10, 1280) / 36, torch.randn(10)
        return F.linear(x, self.state["_fc.weight"], self.state["_fc.bias"])


def test_efficientnet_pytorchs_layout_is_converted_by_order() -> None:
    """timm's network computes the same logits, at a size that TensorFlow pads unevenly."""
    original, images = Lite0(), torch.randn(2, 3, 37, 50)
    expected = original.logits(images)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=10).eval()
    own = model.state_dict()
    model.load_state_dict(fit_weights(original.state, own, {}, DESCRIBED), strict=False)
    torch.testing.assert_close(model(images), expected, atol=1e-4, rtol=1e-4)
    last = {"classifier.weight": own["classifier.weight"], "classifier.bias": own["classifier.bias"]}
    assert len(fit_weights(original.state, own, last, DESCRIBED)) == len(own) - 2 - 49
    del original.state["_blocks.3._bn1.bias"]
    with pytest.raises(
        UserError, match=r"names differ, the first being conv_stem.weight in the network and _conv_stem"
    ):
        fit_weights(original.state, own, last, DESCRIBED)

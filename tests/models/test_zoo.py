"""Networks of torchvision and timm: the libraries' own, adapted; their slots, names, sizes and frozen features."""

import copy
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from sweeper.data.batches import Normalize
from sweeper.data.cache import Images
from sweeper.errors import UserError
from sweeper.models import MODELS, build_model
from sweeper.models.layers import ACTIVATIONS, NORMS, dropout
from sweeper.models.linear import Shape
from sweeper.training.build import extract_features

SMALL: Shape = (3, 32, 32)
CLASSES = 7
TINY = ("maxvit_tiny_rw_224", (3, 8, 8))  # whose windows have no pixels then


def build(
    name: str, arch: str, shape: Shape = SMALL, *, activation: str = "own", norm: str = "own", **settings: Any
) -> Any:
    torch.manual_seed(0)
    return build_model(
        partial(MODELS[name], **{"arch": arch, "weights": None, "freeze_backbone": False} | settings),
        shape,
        CLASSES,
        activation=ACTIVATIONS[activation],
        norm=partial(NORMS[norm], **({"num_groups": 8} if norm == "group" else {})),
        dropout=partial(dropout, rate=0.0),
    )


def refused(match: str, *args: Any, **settings: Any) -> None:
    with pytest.raises(UserError, match=match):
        build(*args, **settings)


def images(shape: Shape = SMALL, number: int = 2) -> Tensor:
    return torch.rand(number, *shape, generator=torch.Generator().manual_seed(1))


def librarys(name: str, arch: str, **settings: Any) -> nn.Module:
    """Build the library's own network."""
    torch.manual_seed(0)
    make: Any = models.get_model if name == "torchvision" else timm.create_model
    network: nn.Module = make(arch, num_classes=CLASSES, **settings)
    return network


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    pairs = list(zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    "name, arch, shape, settings",
    [
        ("torchvision", "mobilenet_v3_small", SMALL, {}),
        ("torchvision", "regnet_y_400mf", SMALL, {}),  # which the meta device cannot build
        ("timm", "test_resnet", (1, 32, 32), {"in_chans": 1}),
        ("timm", "test_vit", (3, 48, 64), {"img_size": (48, 64)}),
    ],
)
def test_a_network_is_the_librarys(name: str, arch: str, shape: Shape, settings: dict[str, Any]) -> None:
    """To the bit of its first weights: adapting draws nothing."""
    ours, theirs = build(name, arch, shape), librarys(name, arch, **settings)
    assert_equal(ours.network, theirs)
    assert torch.equal(ours.eval()(images(shape)), theirs.eval()(images(shape)))
    with torch.device("meta"):
        assert build(name, arch, shape)(images(shape).to("meta")).shape == (2, CLASSES)


def test_the_first_convolution_of_a_torchvision_network_sees_gray_images() -> None:
    model = build("torchvision", "resnet18", (1, 32, 32))
    assert model.network.conv1.weight.shape == (64, 1, 7, 7) and model.network.conv1.bias is None
    assert float(model.network.conv1.weight.detach().std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.1)
    assert model(images((1, 32, 32))).shape == (2, CLASSES)


def test_a_vision_transformer_of_torchvision_gets_the_images_size() -> None:
    with torch.device("meta"):
        assert build("torchvision", "vit_b_32", (3, 96, 96)).network.encoder.pos_embedding.shape == (1, 1 + 3 * 3, 768)


@pytest.mark.parametrize("arch", ["inception_v3", "googlenet"])
def test_networks_with_more_last_layers_have_one(arch: str) -> None:
    assert build("torchvision", arch, (3, 96, 96)).train()(images((3, 96, 96))).shape == (2, CLASSES)


@pytest.mark.parametrize(
    "name, arch", [("torchvision", "resnet18"), ("timm", "test_resnet"), ("timm", "test_efficientnet")]
)
def test_the_same_layers_put_in_place_of_the_networks_own_compute_the_same(name: str, arch: str) -> None:
    """test_efficientnet has batch norm and activation in one layer."""
    own = build(name, arch)
    activation = {"resnet18": "relu", "test_resnet": "relu", "test_efficientnet": "silu"}[arch]
    changes: tuple[dict[str, Any], ...] = (
        {"norm": "batch"},
        {"activation": activation},
        {"norm": "batch", "activation": activation},
    )
    for slots in changes:
        replaced = build(name, arch, **slots)
        torch.testing.assert_close(replaced.train()(images()), copy.deepcopy(own).train()(images()))


@pytest.mark.parametrize("name, arch", [("torchvision", "mobilenet_v3_small"), ("timm", "test_efficientnet")])
def test_every_activation_and_norm_is_replaced(name: str, arch: str) -> None:
    model = build(name, arch, activation="tanh", norm="group")
    own = [type(layer).__name__ for layer in build(name, arch).modules()]
    kinds = [type(layer).__name__ for layer in model.modules()]
    activations = ("ReLU", "SiLU", "Hardswish")
    assert kinds.count("Tanh") == sum(own.count(kind) for kind in activations) > 5
    assert kinds.count("GroupNorm") == sum(own.count(kind) for kind in ("BatchNorm2d", "BatchNormAct2d")) > 5
    assert not {*activations, "BatchNorm2d", "BatchNormAct2d"} & {*kinds}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_gradients_before_dropout_in_place(activation: str) -> None:
    """That of MobileNet's last layers, the only dropout there is."""
    slope = {"negative_slope": 0.2} if activation == "leaky_relu" else {}
    layers = {"activation": partial(ACTIVATIONS[activation], **slope), "norm": NORMS["own"]}
    model = MODELS["torchvision"](
        SMALL, CLASSES, arch="mobilenet_v3_small", weights=None, freeze_backbone=False, **layers
    )
    model.train()(images()).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_slots_that_a_network_does_not_offer_are_refused() -> None:
    for arch in ("densenet121", "googlenet"):  # which call functions
        refused(f"^model.arch={arch} does not offer other activations", "torchvision", arch, activation="gelu")
    for arch in ("dm_nfnet_f0", "mobilevitv2_050"):  # which keep a function, and call one outside of forward
        with torch.device("meta"):
            refused(f"^model.arch={arch} does not offer other activations", "timm", arch, activation="gelu")
    for name, arch in (("torchvision", "vit_b_32"), ("torchvision", "alexnet"), ("timm", "test_convnext")):
        with torch.device("meta"):
            refused(f"^model.arch={arch} does not offer other norms", name, arch, (3, 64, 64), norm="batch")
    refused("own norm; choose norm=own", "timm", "test_resnet", weights="pretrained", norm="group")


def test_an_unknown_name_gets_the_nearest_and_those_that_begin_so_or_contain_it() -> None:
    refused(
        r"^model.arch=resnt18 is none of the 80 networks of model=torchvision: did you mean resnet18 or ",
        "torchvision",
        "resnt18",
    )
    refused(r": did you mean regnet_x_\w+ or .*\?$", "torchvision", "regnet")
    refused(r": did you mean efficientnet_lite0 or tf_efficientnet_lite0\?$", "timm", "lite0")
    refused(r"networks of model=torchvision$", "torchvision", "!?")
    refused(r"networks of model=timm: did you mean resnet18 or ", "timm", "resnett18")
    refused(r"^model.arch=resnet18.none cannot be built .*Invalid pretrained tag", "timm", "resnet18.none")


def test_images_that_a_network_does_not_take_are_refused_in_advance() -> None:
    with torch.device("meta"):
        refused(r"^model.arch=alexnet cannot be built for images of 3x32x32: .*too small", "torchvision", "alexnet")
        refused(r"^model.arch=inception_v3 cannot be built for images of 3x32x32", "torchvision", "inception_v3")
        refused("^model.arch=maxvit_tiny_rw_224 cannot be built for images of 3x8x8", "timm", *TINY)
    refused(r"^model.arch=vit_b_16 cannot be built for images of 3x40x40", "torchvision", "vit_b_16", (3, 40, 40))


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(5)
    torch.save(models.mobilenet_v3_small(num_classes=3).state_dict(), tmp_path / "weights.pt")
    return str(tmp_path / "weights.pt")


def test_a_frozen_network_trains_its_last_layer_on_features(weights: str) -> None:
    model = build("torchvision", "mobilenet_v3_small", weights=weights, freeze_backbone=True)
    model.load_state_dict(model.pretrained_state(), strict=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == ["network.classifier.3.weight", "network.classifier.3.bias"]
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1)
    model.train()(images()).sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {*trained}
    data = Images(torch.randint(256, (5, *SMALL), dtype=torch.uint8), torch.arange(5))
    normalize = Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    features = extract_features(data, model, normalize, None)
    assert features.images.shape == (5, 1024)
    copied = copy.deepcopy(model)  # averaged weights, which are evaluated on images
    assert torch.equal(copied(features.images), copied(normalize(data.images)))


def test_a_new_last_layer_on_given_weights_starts_as_torchs() -> None:
    """That of timm's EfficientNets starts with weights up to 1 / sqrt(classes), however many features there are."""
    from_scratch, tuned = (build("timm", "test_efficientnet", weights=weights) for weights in (None, "pretrained"))
    features = tuned.network.classifier.in_features
    limits = [float(model.network.classifier.weight.detach().abs().max()) for model in (from_scratch, tuned)]
    assert limits == [pytest.approx(CLASSES**-0.5, rel=0.01), pytest.approx(features**-0.5, rel=0.01)]
    body = [model.network.get_submodule("blocks") for model in (from_scratch, tuned)]
    assert_equal(*body)


def test_what_cannot_be_frozen_is_refused() -> None:
    refused("model.freeze_backbone=true needs trained weights", "torchvision", "resnet18", freeze_backbone=True)
    settings: dict[str, Any] = {"weights": "pretrained", "freeze_backbone": True}
    refused(
        "needs a single linear last layer, which model.arch=squeezenet1_1", "torchvision", "squeezenet1_1", **settings
    )


def test_features_with_positions_are_refused_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokens(nn.Module):
        """Classifies each position, and averages the logits."""

        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(32, num_classes)

        def forward(self, images: Tensor) -> Tensor:
            return cast(Tensor, self.head(images[:, 0])).mean(1)

    monkeypatch.setattr(models, "get_model", lambda name, weights, num_classes: Tokens(num_classes))
    settings: dict[str, Any] = {"weights": "pretrained", "freeze_backbone": True}
    with torch.device("meta"):
        refused("needs a last layer of means, which model.arch=resnet18", "torchvision", "resnet18", **settings)


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(r"^model=timm needs the package timm: pip install -e '\.\[zoo\]'", "timm", "resnet18")


def test_pretrained_weights_of_torchvision_come_from_its_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.manual_seed(5)
    theirs = models.mobilenet_v3_small()
    torch.save(theirs.state_dict(), tmp_path / "hub/checkpoints/mobilenet_v3_small-047dcff4.pth")
    model = build("torchvision", "mobilenet_v3_small", weights="pretrained")
    model.load_state_dict(model.pretrained_state(), strict=False)
    theirs.classifier[3] = model.network.classifier[3]
    assert torch.equal(model.eval()(images()), theirs.eval()(images()))


def test_old_names_in_torchvisions_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with torch.device("meta"):
        model = build("torchvision", "densenet121", weights="pretrained")
        names = {name.removeprefix("network."): value for name, value in model.state_dict().items()}
    old = {re.sub(r"(denselayer\d+\.(norm|conv))(\d)\.", r"\1.\3.", name): value for name, value in names.items()}
    assert old.keys() != names.keys()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: old)
    kept = {name for name in names if not name.startswith("classifier") and "num_batches" not in name}
    assert {name.removeprefix("network.") for name in model.pretrained_state()} == kept
    torch.save({name: torch.empty_like(value, device="cpu") for name, value in old.items()}, tmp_path / "old.pth")
    with torch.device("meta"):
        model = build("torchvision", "densenet121", weights=str(tmp_path / "old.pth"))
    assert {name.removeprefix("network.") for name in model.pretrained_state()} == kept


@pytest.mark.parametrize("arch", ["inception_v3", "googlenet"])
def test_auxiliary_last_layers_of_torchvisions_files_are_left_out(
    arch: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = models.get_model(arch, aux_logits=True, init_weights=False)
    kept = {name for name in whole.state_dict() if "aux" not in name.lower() and not name.startswith("fc.")}
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: whole.state_dict())
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    for weights in ("pretrained", str(tmp_path / "whole.pth")):
        with torch.device("meta"):
            model = build("torchvision", arch, (3, 96, 96), weights=weights)
        fitted = {name.removeprefix("network.") for name in model.pretrained_state()}
        assert fitted == {name for name in kept if "num_batches" not in name}


def test_pretrained_weights_without_a_net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    model = build("torchvision", "resnet18", weights="pretrained")
    sentence = "^pretrained weights of model.arch=resnet18 could not be loaded .*: they are looked for in "
    with pytest.raises(UserError, match=rf"{sentence}{tmp_path}/hub/checkpoints .*model.weights=FILE$"):
        model.pretrained_state()


def test_pretrained_weights_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("timm", "test_resnet", (1, 32, 32), weights="pretrained")
    create = timm.create_model

    def fetched(arch: str, *, pretrained: bool, **settings: Any) -> nn.Module:
        assert pretrained and settings == {"in_chans": 1, "num_classes": None}  # its own 1,000
        torch.manual_seed(5)
        network: nn.Module = create(arch, **settings)
        return network

    monkeypatch.setattr(timm, "create_model", fetched)
    state = model.pretrained_state()
    torch.manual_seed(5)
    expected = create("test_resnet", in_chans=1).state_dict()
    assert all(torch.equal(value, expected[name.removeprefix("network.")]) for name, value in state.items())
    assert {"network.conv1.0.weight", "network.fc.weight"} & {*state} == {"network.conv1.0.weight"}

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no net")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        UserError, match=r"model.arch=test_resnet could not be loaded \(no net\): .*hub before they are"
    ):
        model.pretrained_state()

"""Models: shapes and sizes, slots, initial weights, and the weights that ResNet-18 starts from."""

import logging
import pickle
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from choices import overridden, presets
from processes import REPOSITORY
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.data.batches import EVAL_BATCH, Identity, Normalize, TrainLoader
from sweeper.data.cache import Images
from sweeper.errors import UserError
from sweeper.models import MODELS, build_model
from sweeper.models.init import INITS
from sweeper.models.layers import ACTIVATIONS, NORMS, dropout
from sweeper.models.linear import Shape
from sweeper.models.resnet import load_pretrained
from sweeper.training.build import extract_features, pretrained_state
from sweeper.training.task_checks import task_of_model

Settings = dict[str, Any]
PRESETS = presets("model")
HUB_FILE = Path("hub/checkpoints/resnet18-f37072fd.pth")  # below $TORCH_HOME
FILE = Path("weights.pt")
BIG = (3, 32, 32)
SLOTS = (("activation", "relu"), ("norm", "none"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a new folder, torch's own folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    HUB_FILE.parent.mkdir(parents=True)


def build(name: str, shape: Shape = BIG, num_classes: int = 10, *, rate: float = 0.0, **changes: Any) -> nn.Module:
    """Build a preset of conf/model/ from scratch, with changes to its slots and settings."""
    own = {group: "own" for group, chosen in overridden(name).items() if chosen == "own"}
    activation, norm = (changes.pop(group, own.get(group, other)) for group, other in SLOTS)
    groups = {"num_groups": changes.pop("num_groups", 4)} if norm == "group" else {}
    settings: Settings = {"weights": None} if "weights" in PRESETS[name] else {}
    settings |= {"arch": "mobilenet_v3_small"} if PRESETS[name].get("arch") == "vgg16" else {}  # which takes seconds
    settings = {key: value for key, value in (PRESETS[name] | settings | changes).items() if key != "name"}
    torch.manual_seed(0)
    model = build_model(
        partial(MODELS[PRESETS[name]["name"]], **settings),
        shape,
        num_classes,
        activation=partial(ACTIVATIONS[activation], **({"negative_slope": 0.2} if activation == "leaky_relu" else {})),
        norm=partial(NORMS[norm], **groups),
        dropout=partial(dropout, rate=rate),
    )
    INITS["default"](model, lambda number: torch.zeros(number, *shape))
    model.load_state_dict(pretrained_state(model), strict=False)
    return model


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


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    """A state dict in torchvision's format, its batch statistics not those of a new network."""
    from torchvision.models import resnet18

    torch.manual_seed(1)
    model = resnet18(weights=None)
    model(torch.rand(4, *BIG))
    return dict(model.state_dict())


@pytest.mark.parametrize(
    "form, num_classes, freeze",
    [
        ("torchvision's", 1000, False),
        ("torchvision's", 7, True),
        ("a checkpoint", 10, False),
        ("a frozen backbone's", 7, False),
        ("a frozen backbone's", 10, True),
        ("imagenet", 1000, False),
    ],
)
def test_weights_are_loaded_except_for_the_classifier(
    trained: dict[str, Tensor], form: str, num_classes: int, freeze: bool
) -> None:
    if form == "a frozen backbone's":
        trained = {key: value for key, value in trained.items() if "num_batches_tracked" not in key}
    content = {"format": 1, "run_id": "a", "model": trained} if form == "a checkpoint" else trained
    torch.save(content, HUB_FILE if form == "imagenet" else FILE)
    settings: Settings = {"norm": "batch", "weights": "imagenet" if form == "imagenet" else str(FILE)}
    own = build("resnet18_pretrained", BIG, num_classes, freeze_backbone=freeze, **settings).state_dict()
    assert len(own) == (102 if freeze else 122) and own["fc.weight"].shape == (num_classes, 512)
    differ = {key for key in own.keys() & trained.keys() if not torch.equal(own[key], trained[key])}
    assert differ == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_backbone_keeps_every_tensor(trained: dict[str, Tensor], freeze: bool) -> None:
    torch.save(trained, FILE)
    model = build("resnet18_pretrained", norm="batch", weights=str(FILE), freeze_backbone=freeze)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        F.cross_entropy(model.train()(torch.rand(4, *BIG)), torch.arange(4)).backward()
        optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    moved |= {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == ({"fc.weight", "fc.bias"} if freeze else before.keys())


def test_a_frozen_backbone_takes_features_instead_of_images(trained: dict[str, Tensor]) -> None:
    from torchvision.models import resnet18

    torch.save(trained, FILE)
    model: Any = build("resnet18_pretrained", BIG, 10, norm="batch", weights=str(FILE), freeze_backbone=True).eval()
    reference = resnet18(num_classes=10).eval()
    reference.load_state_dict(model.state_dict(), strict=False)
    images = torch.rand(4, *BIG)
    features = model.features(images)
    assert features.shape == (4, 512)
    assert torch.equal(model(features), model(images))
    torch.testing.assert_close(model(images), reference(images))  # batch norm in another order of operations


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_features_are_computed_once_and_trained_on(trained: dict[str, Tensor], autocast: torch.dtype | None) -> None:
    torch.save(trained, FILE)
    model: Any = build("resnet18_pretrained", BIG, 10, norm="batch", weights=str(FILE), freeze_backbone=True)
    data = Images(torch.randint(0, 256, (EVAL_BATCH + 3, *BIG), dtype=torch.uint8), torch.arange(EVAL_BATCH + 3))
    normalize = Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    features = extract_features(data, model, normalize, autocast)
    parts = [data.images[:EVAL_BATCH], data.images[EVAL_BATCH:]]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast is not None):
        assert torch.equal(features.images, torch.cat([model.features(normalize(part)) for part in parts]))
        logits = torch.cat([model(normalize(part)) for part in parts])
        assert torch.equal(torch.cat([model(part) for part in features.images.split(EVAL_BATCH)]), logits)
    order = torch.randperm(len(data))
    loader = TrainLoader(features, order, 64, 0, Identity())
    for images, targets in loader.epoch(1):
        assert torch.equal(images, features.images[targets])


@pytest.mark.parametrize(
    "changes",
    [{"norm": "group"}, {"norm": "none"}, {"stem": "cifar"}, {"other": "cnn"}],
    ids=str,
)
def test_weights_of_another_network(trained: dict[str, Tensor], changes: Settings) -> None:
    torch.save(build("cnn").state_dict() if "other" in changes else trained, FILE)
    settings = {"norm": "batch", "weights": str(FILE)} | {key: changes[key] for key in changes if key != "other"}
    differ = {
        "group": "names differ, the first being none in the network and bn1.running_mean in the weights",
        "none": "names differ, the first being none in the network and bn1.weight in the weights",
        "cifar": r"shapes differ, .* conv1.weight, \[64, 3, 3, 3\] in the network and \[64, 3, 7, 7\] in the weights",
        "cnn": r"names differ, the first being conv1.weight in the network and \S+ in the weights",
    }
    (change,) = changes.values()
    advice = "norm and model.stem must be those that the weights were trained with"
    with pytest.raises(UserError, match=rf"^model.weights={FILE} does not fit this model: {differ[change]}; {advice}$"):
        build("resnet18_pretrained", **settings)


@pytest.mark.parametrize(
    "prefix, key, suffix",
    [
        ("module.", None, "pt"),
        ("_orig_mod.", None, "pt"),
        ("model.", "state_dict", "ckpt"),  # Lightning's
        ("module.", "model_state_dict", "pt"),
        ("network.", "model", "pt"),
        ("module.", None, "safetensors"),
    ],
)
def test_layouts_of_weights_from_elsewhere(
    trained: dict[str, Tensor], prefix: str, key: str | None, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    state, file = {f"{prefix}{name}": value for name, value in trained.items()}, f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(state, file)
    else:
        torch.save(state if key is None else {key: state, "epoch": 3}, file)
    with caplog.at_level(logging.INFO):
        own = build("resnet18_pretrained", BIG, 5, norm="batch", weights=file).state_dict()
    assert f"model.weights={file}: names without their prefix {prefix}" in caplog.messages
    assert all(
        torch.equal(own[name], trained[name]) for name in own if not name.startswith("fc.") and "num" not in name
    )


def test_pretrained_filters_are_summed_for_gray_images(trained: dict[str, Tensor]) -> None:
    torch.save(trained, FILE)
    gray: Any = build("resnet18_pretrained", (1, 32, 32), norm="batch", weights=str(FILE))
    assert torch.equal(gray.conv1.weight, trained["conv1.weight"].sum(1, keepdim=True))


class Hostile:
    """Unpickling it creates a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("canary"),)


CONTENTS = [
    {"model": Hostile()},
    pickle.dumps(Hostile()),
    b"",
    b"\x93garbage" * 99,
    [torch.zeros(1)],
    {"conv1.weight": 1.0},
    {"model": "resnet18", "state_dict": {"conv1.weight": torch.zeros(1)}},
    {"model": torch.ones(3)},
    {1: torch.zeros(1)},
]


@pytest.mark.parametrize("file, name", [(FILE, str(FILE)), (HUB_FILE, "imagenet")])
@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: str(content)[:30])
def test_files_without_weights(content: Any, file: Path, name: str) -> None:
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match=f"model.weights={name}|put that file into {HUB_FILE.parent.absolute()}"):
        load_pretrained(build("softmax"), name, {"name": "none"})
    assert not Path("canary").exists()


def test_imagenet_weights_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nothing listens
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(UserError, match=f"put that file into {HUB_FILE.parent.absolute()}"):
            load_pretrained(build("softmax"), "imagenet", {"name": "none"})


def test_torchvision_is_not_imported_for_small_models() -> None:
    script = """import sys; from functools import partial; from sweeper.models import build_model, layers, mlp
slots = {"activation": layers.relu, "norm": layers.none, "dropout": partial(layers.dropout, rate=0.0)}
build_model(partial(mlp, hidden=[4]), (1, 2, 2), 3, **slots)
sys.exit("torchvision" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False).returncode == 0

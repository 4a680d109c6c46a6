"""The weights that ResNet-18 starts from: files of several layouts, a frozen backbone, ImageNet's."""

import logging
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import BIG, Settings, build
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from sweeper.data import batches
from sweeper.data.batches import Identity, Normalize, TrainLoader
from sweeper.data.cache import Images
from sweeper.errors import UserError
from sweeper.models.resnet import load_pretrained
from sweeper.training.build import extract_features

HUB_FILE = Path("hub/checkpoints/resnet18-f37072fd.pth")  # below $TORCH_HOME
FILE = Path("weights.pt")
BATCH = 8  # images at a time in evaluation


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a new folder, torch's own folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    HUB_FILE.parent.mkdir(parents=True)


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


def test_a_frozen_network_has_the_epsilon_of_its_norm(trained: dict[str, Tensor]) -> None:
    torch.save(trained, FILE)
    frozen, tuned = (
        build("resnet18_pretrained", BIG, 10, norm="batch", eps=0.1, weights=str(FILE), freeze_backbone=is_frozen)
        for is_frozen in (True, False)
    )
    images = torch.rand(2, *BIG)
    with torch.no_grad():
        torch.testing.assert_close(frozen.eval()(images), tuned.eval()(images))


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_features_are_computed_once_and_trained_on(
    trained: dict[str, Tensor], autocast: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(trained, FILE)
    monkeypatch.setattr(batches, "EVAL_BATCH", BATCH)
    model: Any = build("resnet18_pretrained", BIG, 10, norm="batch", weights=str(FILE), freeze_backbone=True)
    data = Images(torch.randint(0, 256, (BATCH + 3, *BIG), dtype=torch.uint8), torch.arange(BATCH + 3))
    normalize = Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    features = extract_features(data, model, normalize, autocast)
    parts = [data.images[:BATCH], data.images[BATCH:]]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast is not None):
        assert torch.equal(features.images, torch.cat([model.features(normalize(part)) for part in parts]))
        logits = torch.cat([model(normalize(part)) for part in parts])
        assert torch.equal(torch.cat([model(part) for part in features.images.split(BATCH)]), logits)
    order = torch.randperm(len(data))
    loader = TrainLoader(features, order, 8, 0, Identity())
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

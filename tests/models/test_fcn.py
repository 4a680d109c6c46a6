"""Networks of segmentation: their beginning, their trained weights, and what they refuse."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v3_small

from sweeper.data.batches import Step
from sweeper.errors import UserError
from sweeper.models.encoder import STRIDES, Encoder
from sweeper.models.fcn import fcn8s, fcn16s, fcn32s
from sweeper.models.init import INITS
from sweeper.models.layers import batch, gelu, own, relu, selu
from sweeper.models.pixelwise import bilinear, upsampling
from sweeper.models.unet import patch_softmax, unet
from sweeper.training.averaging import AVERAGINGS

NETWORKS = {"torchvision": "mobilenet_v3_small", "timm": "test_resnet"}


def built(function: Any = fcn8s, shape: tuple[int, int, int] = (3, 40, 40), **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "arch": NETWORKS["torchvision"], "library": "torchvision", "weights": None, "freeze_backbone": False,
        "activation": own, "norm": own, "dropout": nn.Identity,
    }  # fmt: skip
    torch.manual_seed(0)
    return function(shape, 5, **settings | changes)


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_upsampling_begins_as_bilinear_interpolation(factor: int) -> None:
    maps = torch.rand(2, 3, 4, 5)
    expected = F.interpolate(maps, scale_factor=factor, mode="bilinear")
    found = upsampling(3, factor)(maps)
    assert found.shape == expected.shape and bilinear(factor).sum() == pytest.approx(factor**2)
    inner = (..., slice(factor, -factor), slice(factor, -factor))  # borders are interpolated with zeros
    torch.testing.assert_close(found[inner], expected[inner])


@pytest.mark.parametrize("library", NETWORKS)
def test_an_encoder_has_the_maps_of_its_strides(library: str) -> None:
    encoder = built(library=library, arch=NETWORKS[library]).encoder.eval()
    maps = encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(it.shape[1:]) for it in maps] == [
        (channels, 64 // stride, 96 // stride) for channels, stride in zip(encoder.channels, STRIDES, strict=True)
    ]


def test_a_torchvision_encoder_is_the_classifier_without_its_head() -> None:
    model = built().eval()
    classifier = mobilenet_v3_small().eval()
    own_names = {name.removeprefix("network."): value for name, value in model.encoder.state_dict().items()}
    classifier.load_state_dict(own_names, strict=False)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(model.encoder(images)[-1], classifier.features(images))


def test_finer_maps_add_nothing_at_first_and_something_after_a_step() -> None:
    """The three networks begin with the same classes of their coarsest map, upsampled twice, or as often as needed."""
    models = [built(function).eval() for function in (fcn8s, fcn16s, fcn32s)]
    head = models[0].head.state_dict()
    for model in models[1:]:
        model.head.load_state_dict(head)
    images = torch.rand(2, 3, 64, 64)
    outputs = [model(images) for model in models]
    coarse = models[2].head(models[2].encoder(images)[-1])
    torch.testing.assert_close(outputs[2], models[2].last(coarse))
    torch.testing.assert_close(outputs[1], models[1].last(models[1].twice[0](coarse)))
    outputs[0].mean().backward()
    assert all(score.weight.grad is not None and score.weight.grad.any() for score in models[0].scores)


@pytest.mark.parametrize("name", sorted({*INITS} - {"whitening"}))  # which is for the first convolution of airbench
def test_finer_maps_add_nothing_at_first_with_every_init(name: str) -> None:
    """Nor with the default of SELU, which draws weights as well."""
    model = built(activation=selu)
    INITS[name](model, lambda number: torch.rand(2, 3, 40, 40))
    assert not any(parameter.any() for parameter in model.scores.parameters())
    assert name == "dirac" or not model.head[0].bias.any()  # an init of all layers but these


@pytest.mark.parametrize("side", [32, 40, 45])
def test_logits_have_the_size_of_the_image(side: int) -> None:
    assert built(shape=(3, side, side)).eval()(torch.rand(2, 3, side, side)).shape == (2, 5, side, side)


@pytest.mark.parametrize("library", NETWORKS)
def test_trained_weights_of_the_classifier_become_the_encoder(library: str, tmp_path: Path) -> None:
    import timm

    torch.manual_seed(1)
    classifier = mobilenet_v3_small(num_classes=7) if library == "torchvision" else timm.create_model("test_resnet")
    torch.save(classifier.state_dict(), tmp_path / "w.pt")
    model = built(library=library, arch=NETWORKS[library], weights=str(tmp_path / "w.pt"))
    state = model.pretrained_state()
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    images = torch.rand(2, 3, 64, 64)
    maps = model.eval().encoder(images)[-1]
    whole: Any = classifier.eval()
    expected = whole.features(images) if library == "torchvision" else whole.forward_features(images)
    torch.testing.assert_close(maps, expected)


def test_every_tensor_of_an_encoder_gets_a_trained_weight(tmp_path: Path) -> None:
    """Also where timm puts the encoder's tensors into `model`; one that the classifier lacks is refused."""
    import timm

    classifier = timm.create_model("test_vit2")
    torch.save(classifier.state_dict(), tmp_path / "w.pt")
    with torch.device("meta"):
        network = timm.create_model("test_vit2", features_only=True)
        encoder = Encoder("test_vit2", network, [], classifier.state_dict(), dict)
    assert all(name.startswith("network.model.") for name in encoder.state_dict())
    state = encoder.trained_state(str(tmp_path / "w.pt"))
    assert state.keys() == encoder.state_dict().keys()
    own = classifier.state_dict()
    assert all(torch.equal(value, own[name.removeprefix("network.model.")]) for name, value in state.items())
    encoder.network.added = nn.Linear(1, 1)
    with pytest.raises(UserError, match=r"^trained weights of model.arch=test_vit2 have no tensor added.weight of"):
        encoder.trained_state(str(tmp_path / "w.pt"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w.pt does not fit mobilenet_v3_small: names differ"):
        built(weights=str(tmp_path / "w.pt")).pretrained_state()


def test_a_frozen_encoder_keeps_its_weights_and_its_statistics(tmp_path: Path) -> None:
    torch.save(mobilenet_v3_small().state_dict(), tmp_path / "w.pt")
    model = built(weights=str(tmp_path / "w.pt"), freeze_backbone=True)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    optimizer = torch.optim.SGD([it for it in model.parameters() if it.requires_grad], lr=0.1)
    model.train()(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert any(it.requires_grad for it in model.head.parameters())
    averaging = AVERAGINGS["swa"](model, 1, start=0.0)
    averaging.update(model, Step(0, 1, 0))
    averaging.refresh(lambda average: average(torch.rand(2, 3, 64, 64)))
    averaged: Any = averaging.eval_model(model)
    assert all(torch.equal(value, before[name]) for name, value in averaged.encoder.state_dict().items())
    assert averaged.training is False and int(averaged.head[1].num_batches_tracked) == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no maps": (
        {"arch": "vit_b_16"},
        "model.arch=vit_b_16 offers no feature maps of strides 8, 16, 32; choose such as",
    ),
    "no maps of timm": (
        {"arch": "vit_tiny_patch16_224", "library": "timm"},
        "model.arch=vit_tiny_patch16_224 offers no feature maps",
    ),
    "unknown": ({"arch": "resnet19"}, "model.arch=resnet19 is none of the .* networks of model=torchvision"),
    "frozen from scratch": ({"freeze_backbone": True}, "model.freeze_backbone=true needs trained weights"),
    "weights of another norm": ({"weights": "w.pt", "norm": batch}, "trained with the network's own norm"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_do_not_fit_are_refused(case: str) -> None:
    changes, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        built(**changes)


@pytest.mark.parametrize(
    "arch, library, side, sentence",
    [
        ("regnet_y_400mf", "torchvision", 40, "offers no feature maps of strides"),  # the meta device cannot build it
        ("swin_tiny_patch4_window7_224", "timm", 40, "cannot be built for images of 3x40x40: .*224"),
        ("inception_v4", "timm", 128, "offers no feature maps of strides"),  # its convolutions leave out the borders
    ],
)
def test_encoders_that_do_not_take_the_images_are_refused_in_advance(
    arch: str, library: str, side: int, sentence: str
) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=f"^model.arch={arch} {sentence}"):
        built(fcn32s, (3, side, side), arch=arch, library=library)


def test_maps_with_channels_last_are_turned() -> None:
    with torch.device("meta"):
        maps = built(shape=(3, 224, 224), arch="swin_tiny_patch4_window7_224", library="timm").encoder(
            torch.empty(1, 3, 224, 224)
        )
    assert [tuple(it.shape[1:]) for it in maps] == [(192, 28, 28), (384, 14, 14), (768, 7, 7)]


def test_the_slots_replace_the_layers_of_encoder_and_head() -> None:
    model = built(arch="resnet18", activation=gelu, norm=partial(batch, momentum=0.3), dropout=partial(nn.Dropout, 0.4))
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.momentum == 0.3 for layer in norms) and isinstance(model.head[3], nn.Dropout)


def test_gray_images_have_a_first_convolution_of_their_own() -> None:
    assert built(shape=(1, 32, 32)).eval()(torch.rand(1, 1, 32, 32)).shape == (1, 5, 32, 32)


def test_a_unet_sees_every_resolution_and_keeps_the_size() -> None:
    """Sides that cannot be halved twice are continued by zeros."""
    slots: dict[str, Any] = {"activation": relu, "norm": batch, "dropout": nn.Identity}
    model = unet((3, 16, 24), 5, widths=[4, 8, 16], **slots).eval()
    assert model(torch.rand(2, 3, 16, 24)).shape == (2, 5, 16, 24)
    images = torch.rand(2, 3, 13, 18)
    continued = torch.zeros(2, 3, 16, 20)
    continued[:, :, :13, :18] = images
    assert torch.equal(model(images), model(continued)[:, :, :13, :18])


def test_a_patch_softmax_is_linear_and_needs_a_middle() -> None:
    model = patch_softmax((3, 8, 8), 5, kernel_size=3)
    one, other = torch.rand(2, 1, 3, 8, 8)
    torch.testing.assert_close(model(one + other) - model(other), model(one) - model(torch.zeros_like(one)))
    with pytest.raises(UserError, match=r"model.kernel_size=4 has no middle pixel; choose an odd number"):
        patch_softmax((3, 8, 8), 5, kernel_size=4)

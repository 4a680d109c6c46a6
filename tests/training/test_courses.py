"""Courses: what each sets at a step, that frozen weights do not move, and what they are refused for."""

import copy
import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from choices import presets
from tiny import SEED, equal, network, recipe, sgd, stopped, task, trained
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from sweeper.choice import keyword_only
from sweeper.data.batches import Step
from sweeper.errors import UserError
from sweeper.models import MODELS
from sweeper.models.architecture import MODELS_WITH
from sweeper.models.zoo_network import ZooNetwork
from sweeper.training.courses import COURSES, check_resizing, start_courses, trained_layers
from sweeper.training.loop import train_epoch
from sweeper.training.state import TrainState

TOTAL = 20


def start(name: str, model: nn.Module, value: float) -> Any:
    (course,) = start_courses({name: partial(COURSES[name], **{name: value})}, model)
    return course


def at(index: int) -> Step:
    return Step(index, TOTAL, SEED)


def dropping() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.AlphaDropout(0.2), StochasticDepth(0.1, "row"))


@pytest.mark.parametrize(
    "name, factors",
    [
        ("early_dropout", [1, 0.8, 0.6, 0.4, 0.2, *[0] * 15]),  # to 0 at step 5 of 20
        ("late_dropout", [*[0] * 5, *[1] * 15]),
    ],
)
def test_dropout_over_the_course_of_training(name: str, factors: list[float]) -> None:
    model = dropping()
    course = start(name, model, 0.25)
    for index in [*range(TOTAL), 3, 19, 0]:  # in any order: a course keeps nothing
        course(model, at(index))
        rates = [module.p for module in model if not isinstance(module, nn.Linear)]
        assert rates == pytest.approx([factors[index] * rate for rate in (0.5, 0.2, 0.1)])


def frozen() -> nn.Module:
    return ZooNetwork(nn.Sequential(dropping(), nn.Linear(4, 3)), "1", True, dict)


def test_dropout_of_a_frozen_network_does_not_count() -> None:
    model = nn.Sequential(frozen(), nn.Dropout(0.3)).eval()
    start("late_dropout", model, 0.25)(model, at(0))
    assert [module.p for module in model.modules() if hasattr(module, "p")] == [0.5, 0.2, 0.1, 0.0]


def stack(layers: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [module for _ in range(layers - 1) for module in (nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh())]
    return nn.Sequential(*blocks, nn.Linear(4, 3))


def num_trained(model: nn.Sequential, course: Any, index: int) -> int:
    """Return how many layers are trained; they are the last ones."""
    course(model, at(index))
    linear = [module.weight.requires_grad for module in model if isinstance(module, nn.Linear)]
    others = [parameter.requires_grad for module in model for parameter in module.parameters()]
    assert linear == sorted(linear) and others == sorted(others)
    assert all(norm.weight.requires_grad == trained for norm, trained in zip(model[1::3], linear, strict=False))
    return sum(linear)


def test_layers_freeze_from_the_first_on() -> None:
    """After step 10 of 20, floor(5 (t / 20 - 1/2) / (1/2)) of five layers are frozen."""
    model = stack()
    course = start("layer_freezing", model, 0.5)
    expected = [5] * 10 + [5 - math.floor((index - 10) / 2) for index in range(10, 20)]
    assert [num_trained(model, course, index) for index in range(TOTAL)] == expected
    assert expected[-1] == 1
    assert num_trained(model, course, 0) == 5


def test_layers_unfreeze_from_the_last_on() -> None:
    """Up to step 10 of 20, 1 + floor(4 t / 10) of five layers are trained."""
    model = stack()
    course = start("gradual_unfreezing", model, 0.5)
    expected = [1 + math.floor(4 * index / 10) for index in range(10)] + [5] * 10
    assert [num_trained(model, course, index) for index in range(TOTAL)] == expected
    assert num_trained(model, course, 0) == 1


def test_a_layer_is_a_weight_with_its_bias_and_norm() -> None:
    model = stack(3)
    assert [[tuple(parameter.shape) for parameter in layer] for layer in trained_layers(model)] == [
        [(4, 4), (4,), (4,), (4,)],
        [(4, 4), (4,), (4,), (4,)],
        [(3, 4), (3,)],
    ]
    model.register_parameter("class_token", nn.Parameter(torch.zeros(1, 1, 4)))
    model[1].register_parameter("layer_scale", nn.Parameter(torch.ones(4, 1, 1)))
    assert [len(layer) for layer in trained_layers(model)] == [6, 4, 2]  # a token is no layer, nor is a scale
    model.requires_grad_(False)
    for module in model[2:]:
        module.requires_grad_(True)
    assert len(trained_layers(model)) == 2


def test_weights_that_no_course_freezes_are_left_as_they_were() -> None:
    """A frozen layer of the network stays frozen in every step."""
    model = stack(3)
    model[0].requires_grad_(False)
    course = start("gradual_unfreezing", model, 0.5)
    course(model, at(19))
    assert not model[0].weight.requires_grad and model[3].weight.requires_grad


def test_frozen_layers_do_not_move() -> None:
    """Nor by momentum and weight decay; the others do."""
    model, states = stack(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    course = start("layer_freezing", model, 0.5)
    for index in range(TOTAL):
        course(model, at(index))
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(6, 4)), torch.arange(6) % 3).backward()
        optimizer.step()
        states.append([layer[0].detach().clone() for layer in trained_layers(copy.deepcopy(model).requires_grad_())])
    for index in range(1, TOTAL):
        moved = [not torch.equal(*pair) for pair in zip(states[index - 1], states[index], strict=True)]
        frozen = max(0, (index - 10) // 2)
        assert moved == [False] * frozen + [True] * (5 - frozen)


class AnySize(nn.Module):
    """A network whose features are means over positions, which remembers the sizes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 3)

    def forward(self, images: Tensor) -> Any:
        self.sizes.append(tuple(images.shape[2:]))
        self.images = images
        return self.fc(self.avgpool(images).flatten(1))


@pytest.mark.parametrize(
    "height, sides",  # at steps 0 to 19 of 20: small for 10, growing for 6, whole for 4
    [
        (32, [16] * 10 + [16, 20, 20, 24, 28, 28] + [32] * 4),
        (8, [4] * 10 + [4, 4, 4, 8, 8, 8] + [8] * 4),
        (3, [3] * 20),
    ],
)
def test_images_grow(height: int, sides: list[int]) -> None:
    model = AnySize()
    course = start("progressive_resizing", model, 0.5)
    images = torch.rand(2, 2, height, 32)
    for index in range(TOTAL):
        course(model, at(index))
        model(images)
    assert [size[0] for size in model.sizes] == sides
    assert model.images is images  # at last
    course(model, at(0))
    copied = copy.deepcopy(model)  # as averaged weights are
    copied(images)
    assert copied.sizes[-1] == (height, 32)
    model.eval()(images)
    assert model.sizes[-1] == (height, 32)  # evaluation sees whole images


def test_small_images_are_means_of_pixels_at_half_the_size() -> None:
    """Bilinear with antialiasing: away from the border, weights 1 3 3 1 of 8 in each direction."""
    model, images = AnySize(), torch.rand(1, 2, 16, 16)
    start("progressive_resizing", model, 0.5)(model, at(0))
    model(images)
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    kernel = (taps[:, None] * taps).expand(2, 1, 4, 4)
    expected = F.conv2d(images[:, :, 1:, 1:], kernel, stride=2, groups=2)  # pixels 1 to 6 of 8
    torch.testing.assert_close(model.images[:, :, 1:7, 1:7], expected)


def test_a_teacher_and_the_selection_of_images_see_whole_images_while_the_network_trains_on_small_ones() -> None:
    model, teacher = AnySize(), AnySize().eval()
    course = start("progressive_resizing", model, 0.5)
    loader = task()[0]
    loader.data.images = torch.randint(256, (36, 2, 8, 8), dtype=torch.uint8)

    def matched(logits: Tensor, targets: Tensor, *, teacher: Tensor) -> Tensor:
        return (logits - teacher).square().mean()

    how = recipe(courses=[course], criterion=matched, teacher=teacher, selective_backprop=0.5)
    train_epoch(TrainState(model, sgd(model)), how, loader)
    assert teacher.sizes == [(8, 8)] * 3 and model.sizes == [(8, 8), (4, 4)] * 3


@pytest.mark.parametrize("name", [name for name in COURSES if name != "progressive_resizing"])
def test_a_course_resumes_exactly(name: str) -> None:
    def untrained() -> Any:
        model: Any = network()
        if name == "first_bias_freezing":
            model[2] = nn.Identity()  # batch norm takes the mean, and so the bias, away
        return model

    def fresh() -> tuple[TrainState, Any]:
        model = untrained()
        return TrainState(model, sgd(model)), recipe(courses=[start(name, model, 0.6)])

    whole = trained(*fresh())
    cut = stopped(*fresh(), calls=6)  # in the middle of an epoch
    saved = cut.state_dict()
    resumed, how = fresh()
    resumed.load_state_dict(saved)
    assert equal(trained(resumed, how).model, whole.model)
    plain = untrained()
    assert not equal(whole.model, trained(TrainState(plain, sgd(plain)), recipe()).model)


@pytest.mark.parametrize("value, frozen_from", [(0.3, 6), (0.31, 7), (0.5, 10)])
def test_the_first_bias_is_frozen_for_good(value: float, frozen_from: int) -> None:
    model = stack()
    course = start("first_bias_freezing", model, value)
    for index in range(TOTAL):
        course(model, at(index))
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        assert frozen == ({"0.bias"} if index >= frozen_from else set())


def test_models_with_a_bias_in_the_first_layer_are_named() -> None:
    from sweeper.models.layers import none, relu

    slots = {"activation": relu, "norm": none, "dropout": nn.Identity}
    settings = {preset.pop("name"): preset for preset in presets("model").values()}
    for name in MODELS:
        used = keyword_only(MODELS[name])
        if "arch" in used:  # whose first layer may be any
            continue
        chosen = settings[name] | ({"weights": None} if "weights" in used else {})
        with torch.device("meta"):
            model = MODELS[name]((3, 16, 16), 3, **chosen, **{key: it for key, it in slots.items() if key in used})
        with nullcontext() if name in MODELS_WITH["a bias in the first layer"] else pytest.raises(UserError):
            start("first_bias_freezing", model, 0.5)


@pytest.mark.parametrize(
    "name, model, sentence",
    [
        (
            "early_dropout",
            stack(),
            r"needs dropout.rate above 0 \(model=cnn, cnn_pool, fcn16s, fcn32s, fcn8s, mlp, unet\)",
        ),
        ("late_dropout", stack(), r"or architecture.stochastic_depth \(model=resnet18\)"),
        ("late_dropout", nn.Sequential(stack(), nn.Dropout(0.0)), r"needs dropout.rate above 0"),
        ("early_dropout", frozen(), r"needs .*, outside of what model\.freeze_backbone freezes$"),
        (
            "layer_freezing",
            nn.Linear(2, 3),
            "trains several layers: model=airbench, cnn, cnn_pool, .*mlp, resnet18, timm, torchvision, unet ",
        ),
        (
            "first_bias_freezing",
            nn.Linear(2, 3, bias=False),
            "first layer: model=airbench, cnn, cnn_pool, mlp, patch_softmax, softmax, unet$",
        ),
        ("gradual_unfreezing", nn.Linear(2, 3), "trains several layers"),
        ("progressive_resizing", stack(), "images of any size: model=resnet18 "),
    ],
)
def test_a_course_without_effect_is_refused(name: str, model: nn.Module, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^courses\.{name} .*{sentence}"):
        start(name, model, 0.5)


@pytest.mark.parametrize(
    ("scale", "side", "is_smaller"),
    [(0.5, 8, True), (0.75, 8, False), (0.9, 16, False), (0.95, 32, False), (0.9, 32, True)],
)
def test_resizing_that_makes_no_image_smaller_is_refused(scale: float, side: int, is_smaller: bool) -> None:
    sentence = f"^courses.progressive_resizing={scale:g} leaves images of {side}x{side} pixels as they are"
    with nullcontext() if is_smaller else pytest.raises(UserError, match=sentence):
        check_resizing(scale, (3, side, side))
    check_resizing(None, (3, side, side))


@pytest.mark.parametrize("pair", [("early_dropout", "late_dropout"), ("layer_freezing", "gradual_unfreezing")])
def test_courses_that_set_the_same_quantity_are_mutually_exclusive(pair: tuple[str, str]) -> None:
    chosen = {name: partial(COURSES[name], **{name: 0.5}) for name in pair}
    with pytest.raises(UserError, match=f"courses.{pair[0]} and courses.{pair[1]} are mutually exclusive"):
        start_courses(chosen, nn.Sequential(dropping(), stack()))
    assert len(start_courses({pair[0]: chosen[pair[0]]}, nn.Sequential(dropping(), stack()))) == 1


def test_models_of_any_size_are_named() -> None:
    from sweeper.models.layers import none, relu

    settings = {"weights": None, "stem": "cifar", "freeze_backbone": False, "activation": relu, "norm": none}
    with torch.device("meta"):
        start("progressive_resizing", MODELS["resnet18"]((3, 8, 8), 3, **settings), 0.5)
    assert {*MODELS_WITH["images of any size"]} == {"resnet18"}

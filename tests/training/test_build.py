"""Assembly of a run: compiled networks, precomputed features, initial weights, settings of the loss."""

import logging
import math
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from support import composed
from torch import Tensor, nn

from sweeper.config import Config
from sweeper.data.batches import Identity, Normalize
from sweeper.data.cache import Dataset, load, prepare
from sweeper.data.mixing import MIXINGS
from sweeper.data.validation import validation_split
from sweeper.errors import UserError
from sweeper.models import MODELS
from sweeper.models.architecture import Layers
from sweeper.models.init import INITS, SomeImages
from sweeper.models.linear import Shape
from sweeper.training.build import TrainingComponents, build, check, choose_all, count_steps
from sweeper.training.loop import fit, train_epoch

CPU = torch.device("cpu")


def built(config: Config, dataset: Dataset | None = None) -> TrainingComponents:
    return build(config, choose_all(config), dataset or load(prepare(config.data)), CPU)


def test_compile_starts_afresh_and_takes_each_shape_by_itself(
    small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: calls.append("reset"))
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: calls.append((type(module), how)))
    for overrides in ([], ["compile=true"]):
        components = built(composed(*small, "model=mlp", *overrides))
        assert calls == (["reset", (type(components.state.model), {"dynamic": False})] if overrides else [])


def test_compile_without_a_compiler_is_a_user_error(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "g++ -O2")
    config = composed(*small, "device=cpu", "model=mlp", "compile=true")
    with pytest.raises(UserError, match=r"compile=true needs a C\+\+ compiler, and g\+\+ -O2 is not installed"):
        check(config, choose_all(config), prepare(config.data))
    config.compile = False
    check(config, choose_all(config), prepare(config.data))


class TinyBackbone(nn.Module):
    """A network whose features (N, 5) are a linear layer of the mean colors; it brings the weights of that layer."""

    def __init__(self, num_classes: int, frozen: bool) -> None:
        super().__init__()
        self.backbone, self.fc = nn.Linear(3, 5), nn.Linear(5, num_classes)
        self.frozen_backbone = frozen
        self.backbone.requires_grad_(not frozen)

    def features(self, images: Tensor) -> Tensor:
        return torch.tanh(self.backbone(images.mean((2, 3))))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(images if images.ndim == 2 else self.features(images))
        return logits

    def pretrained_state(self) -> dict[str, Tensor]:
        return {"backbone.weight": torch.arange(15.0).reshape(5, 3) / 15, "backbone.bias": torch.zeros(5)}


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    def tiny(input_shape: Shape, num_classes: int) -> nn.Module:
        return TinyBackbone(num_classes, frozen=getattr(request, "param", True))

    monkeypatch.setitem(MODELS, "softmax", tiny)  # it has no settings either


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("overrides", [[], ["data.val_size=0"]], ids=str)
def test_a_frozen_backbone_is_precomputed_whatever_its_name(small: list[str], overrides: list[str]) -> None:
    config = composed(*small, "model=softmax", *overrides)
    dataset = load(prepare(config.data))
    components = built(config, dataset)
    model: Any = components.state.model
    normalize = components.normalize
    assert torch.equal(model.backbone.weight, model.pretrained_state()["backbone.weight"])  # the weights it brings
    assert isinstance(components.train_loader.transform, Identity)
    validation = dataset.test if overrides else dataset.train
    for features, source in ((components.train_loader.data, dataset.train), (components.val_images, validation)):
        torch.testing.assert_close(features.images, model.features(normalize(source.images)))
        assert torch.equal(features.labels, source.labels)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(components.state, components.recipe, components.train_loader, components.val_loader, epochs=1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"fc.weight", "fc.bias"}
    images, _ = next(components.test_loader())
    assert images.ndim == 4  # test images pass the whole network


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("val_size", [0, 24])
def test_features_are_computed_for_the_images_that_are_used(
    small: list[str], val_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    config = composed(*small, "model=softmax", f"data.val_size={val_size}", "data.train_size=9")
    dataset = load(prepare(config.data))
    with caplog.at_level(logging.INFO):
        components = built(config, dataset)
    train, _, val = validation_split(dataset, config.data, config.seed)
    used = torch.cat([train, val]) if val_size else train
    model: Any = components.state.model
    features = components.train_loader.data.images
    expected = model.features(components.normalize(dataset.train.images))
    torch.testing.assert_close(features[used], expected[used])
    assert int(features.count_nonzero(1).count_nonzero()) == len(used) == 9 + val_size
    assert f"features for {len(used)} images" in caplog.text
    assert len(components.train_loader) == count_steps(config, prepare(config.data)) == 1


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    "tiny_backbone, overrides, mixed",
    [(False, [], False), (True, ["augmentation=flip"], False), (True, [], True)],
    indirect=["tiny_backbone"],
    ids=["trained backbone", "augmentation", "mixing"],
)
def test_features_that_change_are_not_precomputed(
    small: list[str], overrides: list[str], mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MIXINGS, "halved", lambda images, targets, num_classes, step: (images / 2, targets))
    config = composed(*small, "model=softmax", *overrides, *(["mixing.name=halved"] if mixed else []))
    components = built(config)
    assert isinstance(components.train_loader.transform, Normalize)
    images, _ = next(components.train_loader.epoch(1))
    assert images.shape == (16, 3, 16, 16)


@pytest.mark.usefixtures("tiny_backbone")
def test_features_are_not_precomputed_for_a_teacher_that_takes_images(small: list[str]) -> None:
    config = composed(*small, "model=softmax")
    components = build(config, choose_all(config), load(prepare(config.data)), CPU, teacher=nn.Flatten())
    assert isinstance(components.train_loader.transform, Normalize)


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("tiny_backbone", "overrides", "sentence"),
    [
        (True, ["views=mirror"], "views=mirror needs a network that takes images"),
        (True, ["architecture.blur_pool=true"], "architecture.blur_pool changes the backbone"),
        (True, ["courses=layer_freezing"], "courses.layer_freezing needs a network that trains several layers"),
        (False, ["views=mirror_shift", "views.shift=16"], "views.shift=16 is too large for images of 16x16 pixels"),
        (False, ["courses=early_dropout"], "courses.early_dropout needs dropout.rate above 0"),
    ],
    indirect=["tiny_backbone"],
)
def test_tricks_without_effect_are_refused_before_training(
    small: list[str], overrides: list[str], sentence: str
) -> None:
    config = composed(*small, "model=softmax", *overrides)
    with pytest.raises(UserError, match=f"^{sentence}"):
        check(config, choose_all(config), prepare(config.data))


def test_init_gets_normalized_training_images_of_all_classes(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []

    def looks(model: nn.Module, images: SomeImages) -> None:
        given.extend([images(60), images(60), images(10**6)])
        nn.init.zeros_(model[1].weight)  # type: ignore[index]

    monkeypatch.setitem(INITS, "looks", looks)
    config = composed(*small, "model=softmax", "init.name=looks")
    dataset = load(prepare(config.data))
    components = built(config, dataset)
    assert not components.state.model[1].weight.any()  # type: ignore[index]
    sample, again, every = given
    loader = components.train_loader
    train = components.normalize(dataset.train.images[loader.indices])  # (96, 3, 16, 16), sorted by class
    assert torch.equal(sample, again) and torch.equal(sample, every[:60])
    assert (len(sample), len(every), sample.dtype) == (60, 96, torch.float32)
    numbers = [int((train == image).flatten(1).all(1).nonzero()) for image in every]
    assert sorted(numbers) == list(range(96))
    assert len(set(dataset.train.labels[loader.indices][numbers[:60]].tolist())) == 3


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (
            "model=softmax optimizer=muon",
            "optimizer=muon needs a trained matrix besides the first convolution and the last layer: model=airbench,",
        ),
        ("model=softmax optimizer=sam optimizer.base=adam", "optimizer.momentum=0.9: optimizer.base=adam uses"),
        ("model=softmax init=dirac", "init=dirac needs a model with convolutions: model=airbench, cnn, cnn_pool, "),
        ("model=softmax optimizer.layer_decay=0.5", "optimizer.layer_decay=0.5 needs a model with several trained"),
        ("optimizer.decay_norm_and_bias=false", "optimizer.decay_norm_and_bias=false needs optimizer.weight_decay"),
        (
            "loss.class_weights=[1,2]",
            "loss.class_weights=[1, 2] must be balanced, or one weight for each of the 3 classes",
        ),
        (
            "scheduler=onecycle optimizer=sgd scheduler.min_momentum=0.8",
            "scheduler.min_momentum=0.8 must be below",
        ),
        ("scheduler=trapezoid epochs=2 scheduler.warmup_epochs=2", "scheduler.warmup_epochs=2.0 and scheduler.decay"),
        (
            "epochs=2 averaging=lookahead averaging.interval=13",
            "averaging.interval=13 is longer than the training of 12",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_training(overrides: str, sentence: str, small: list[str]) -> None:
    config = composed(*small, *overrides.split())
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        check(config, choose_all(config), prepare(config.data))


@pytest.mark.parametrize("slot, arguments", [("activation", {}), ("norm", {"num_features": 8, "dims": 2})])
def test_a_step_cannot_use_a_layer_that_the_model_lacks(slot: str, arguments: dict[str, int], small: list[str]) -> None:
    def step(model: nn.Module, layers: Layers) -> None:
        model.add_module("more", getattr(layers, slot)(**arguments))

    for model in ("mlp", "softmax"):
        config = composed(*small, f"model={model}")
        sentence = rf"^model=softmax has no {slot}, and a step of architecture uses layers\.{slot}; choose model=airb"
        with pytest.raises(UserError, match=sentence) if model == "softmax" else nullcontext():
            check(config, replace(choose_all(config), architecture={"more": partial(step)}), prepare(config.data))


def test_what_fits_is_accepted_with_the_shapes_of_the_model(small: list[str]) -> None:
    settings = (
        "optimizer=muon init=lsuv scheduler=trapezoid epochs=2 scheduler.warmup_epochs=1.5 loss.class_weights=balanced "
        "averaging=lookahead averaging.interval=12"
    )
    config = composed(*small, *settings.split())
    model = check(config, choose_all(config), prepare(config.data))
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("weights, expected", [("balanced", [1.0, 1.0, 1.0]), ("[1,0,2.5]", [1.0, 0.0, 2.5])])
def test_a_loss_gets_its_class_weights_as_a_tensor(weights: str, expected: list[float], small: list[str]) -> None:
    criterion: Any = built(composed(*small, "model=softmax", f"loss.class_weights={weights}")).recipe.criterion
    assert criterion.keywords["class_weights"].tolist() == pytest.approx(expected)
    logits, targets = torch.zeros(3, 3), torch.tensor([2, 2, 0])
    assert float(criterion(logits, targets)) == pytest.approx(sum(expected[t] for t in targets) / 3 * math.log(3))


def test_a_loss_gets_the_logits_of_its_teacher_for_the_images_of_the_step(small: list[str]) -> None:
    seen: list[Any] = []

    class Teacher(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((images, torch.is_grad_enabled(), self.training))
            return images.flatten(1)[:, :3]

    config = composed(*small, "model=softmax", "loss=distillation", "augmentation=flip_crop", "optimizer=sam")
    components = build(config, choose_all(config), load(prepare(config.data)), CPU, teacher=Teacher())
    given: list[Any] = []
    criterion = components.recipe.criterion

    def noted(logits: Tensor, targets: Tensor, *, teacher: Tensor) -> Tensor:
        given.append(teacher)
        return criterion(logits, targets, teacher=teacher)

    train_epoch(components.state, replace(components.recipe, criterion=noted), components.train_loader)
    batches = list(components.train_loader.epoch(1))
    assert len(seen) == len(batches) == 6 and len(given) == 12  # once for both passes of SAM
    for number, (images, _) in enumerate(batches):
        assert torch.equal(seen[number][0], images) and seen[number][1:] == (False, False)
        assert all(torch.equal(it, images.flatten(1)[:, :3]) for it in given[2 * number : 2 * number + 2])


@pytest.mark.parametrize("select", ["val_loss", "val_acc"])
def test_plateau_watches_the_selected_metric(select: str, small: list[str]) -> None:
    """Rates fall where the metric does not get better, in its direction."""
    overrides = ("model=softmax", "scheduler=plateau", "scheduler.patience=0", "scheduler.factor=0.5")
    components = built(composed(*small, *overrides, f"select={select}"))
    loss = [3.0, 2.0, 2.5, 1.0]  # better, better, worse, better
    rows = [{"val_loss": value, "val_acc": 1 - value / 2 if index == 0 else 0.0} for index, value in enumerate(loss)]
    recipe = components.recipe
    factors = [recipe.lr_multiplier(0, recipe.scores(rows[:done])) for done in range(5)]
    assert factors == ([1, 1, 1, 0.5, 0.5] if select == "val_loss" else [1, 1, 1, 0.5, 0.25])

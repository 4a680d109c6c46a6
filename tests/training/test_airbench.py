"""The airbench recipes, against loops in the numbers of their authors: summed losses and decoupled rates."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import composed
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.config import Config
from sweeper.data.batches import Normalize
from sweeper.data.cache import Cached, Dataset, Images
from sweeper.training.build import TrainingComponents, build, check, choose_all
from sweeper.training.loop import fit

SMALL = ("data.val_size=12", "batch_size=12", "epochs=4", "model.widths=[6,8,8]")
TOTAL = 4 * 5  # steps


def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (72, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Dataset(Images(images, torch.arange(72) % 3), Images(images[:3], torch.arange(3)), ["ant", "bee", "cat"])


def checked(config: Config) -> nn.Module:
    cached = Cached(None, None, "", ["ant", "bee", "cat"], (3, 16, 16), 72, 3)  # type: ignore[arg-type]
    return check(config, choose_all(config), cached)


@pytest.fixture(autouse=True)
def exact_numbers() -> Iterator[None]:
    """Compute in float64: at these rates, a difference in the last digit grows by the step."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Doubled(Normalize):
    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images).double()


def components(*overrides: str) -> TrainingComponents:
    config = composed(*SMALL, *overrides)
    parts = build(config, choose_all(config), dataset(), torch.device("cpu"))
    parts.train_loader.transform = Doubled(torch.tensor(config.data.mean), torch.tensor(config.data.std))
    return parts


def logits(model: nn.Module, images: Tensor, scale: float) -> Tensor:
    """Compute the network layer by layer in training mode, with batch norm's statistics of this batch alone."""
    weights = dict(model.named_parameters())
    x = F.gelu(F.conv2d(images, weights["0.weight"], weights["0.offset"]))
    for group in ("2", "3", "4"):
        x = F.max_pool2d(F.conv2d(x, weights[f"{group}.0.weight"], padding="same"), 2)
        x = F.gelu(normalized(x) + weights[f"{group}.2.bias"][:, None, None])
        x = F.conv2d(x, weights[f"{group}.4.weight"], padding="same")
        x = F.gelu(normalized(x) + weights[f"{group}.5.bias"][:, None, None])
    return x.amax((2, 3)) @ weights["7.weight"].T * scale


def normalized(x: Tensor) -> Tensor:
    return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-12).sqrt()


def batches(parts: TrainingComponents, epochs: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    for epoch in range(1, 1 + epochs):
        for number, (images, targets) in enumerate(parts.train_loader.epoch(epoch)):
            yield 5 * (epoch - 1) + number, images, targets


def groups_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Sort the trained parameters as airbench does."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    norm_biases = [parameter for name, parameter in named.items() if name.endswith("bias")]
    filters = [parameter for parameter in named.values() if parameter.ndim == 4]
    assert len(norm_biases) == len(filters) == 6 and len(named) == 14
    return {"biases": norm_biases, "filters": filters, "offset": [named["0.offset"]], "head": [named["7.weight"]]}


def trained(parts: TrainingComponents, epochs: int) -> nn.Module:
    fit(parts.state, parts.recipe, parts.train_loader, parts.val_loader, epochs=epochs)
    return parts.state.model


def assert_same_weights(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    for (name, value), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(value, expected, atol=tolerance, rtol=tolerance), name


def test_airbench94_is_the_authors_training() -> None:
    parts = components("experiment=airbench94")
    model = copy.deepcopy(parts.state.model)
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    lr, decay = 11.5 / kilostep, 0.0153 * 1024 / kilostep
    groups = groups_of(model)
    others = [*groups["offset"], *groups["filters"], *groups["head"]]
    optimizer: Any = torch.optim.SGD(
        [
            {"params": groups["biases"], "lr": 64 * lr, "weight_decay": decay / (64 * lr)},
            {"params": others, "lr": lr, "weight_decay": decay / lr},
        ],
        momentum=0.85,
        nesterov=True,
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    slow = copy.deepcopy(model)
    rise = int(TOTAL * 0.23)
    for step, images, targets in batches(parts, 4):
        groups["offset"][0].requires_grad_(step < 6)  # 3 of 10 epochs
        factor = 0.2 + 0.8 * step / rise if step < rise else 1 - 0.93 * (step - rise) / (TOTAL - rise)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        loss = F.cross_entropy(logits(model, images, 1 / 9), targets, label_smoothing=0.2, reduction="sum")
        optimizer.zero_grad()
        (loss * 1024 / len(images)).backward()  # as many images as the rates are for
        optimizer.step()
        if (step + 1) % 5 == 0:
            kept = 0.95**5 * ((step + 1) / TOTAL) ** 3
            with torch.no_grad():
                for average, weight in zip(slow.parameters(), model.parameters(), strict=True):
                    average.lerp_(weight, 1 - kept)
                    weight.copy_(average)
    assert_same_weights(trained(parts, 4), model, 2e-4)
    assert_same_weights(parts.state.eval_model(), slow, 2e-4)


def orthogonal(gradient: Tensor) -> Tensor:
    """Take three Newton-Schulz steps."""
    x: Tensor = gradient.flatten(1) / gradient.norm()
    x = x.T if len(x) > x.shape[1] else x
    for _ in range(3):
        product = x @ x.T
        x = 3.4445 * x + (-4.7750 * product + 2.0315 * product @ product) @ x
    return (x.T if len(gradient) > gradient[0].numel() else x).reshape(gradient.shape)


def test_airbench94_muon_is_the_authors_training() -> None:
    """But for the rate of the whitening layer's bias, which falls as the others."""
    parts = components("experiment=airbench94_muon")
    model = copy.deepcopy(parts.state.model)
    groups = groups_of(model)
    decay = 2e-6 * 2000
    optimizer: Any = torch.optim.SGD(
        [
            {"params": [*groups["offset"], *groups["biases"]], "lr": 0.053, "weight_decay": decay / 0.053},
            {"params": groups["head"], "lr": 0.67, "weight_decay": decay / 0.67},
        ],
        momentum=0.85,
        nesterov=True,
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    buffers = [torch.zeros_like(weight) for weight in groups["filters"]]
    for step, images, targets in batches(parts, 2):
        groups["offset"][0].requires_grad_(step < 7.5)  # 3 of 8 epochs
        factor = 1 - step / TOTAL
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        loss = F.cross_entropy(logits(model, images, 1 / 256), targets, label_smoothing=0.2, reduction="sum")
        model.zero_grad()
        (loss * 2000 / len(images)).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, buffer in zip(groups["filters"], buffers, strict=True):
                gradient: Any = weight.grad
                buffer.mul_(0.6).add_(gradient)
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(0.24 * factor * orthogonal(gradient + 0.6 * buffer))
    assert_same_weights(trained(parts, 2), model, 1e-3)  # the program orthogonalizes in float32


@pytest.mark.parametrize(("experiment", "scale"), [("airbench94", 1 / 9), ("airbench94_muon", 1 / 256)])
def test_the_recipes_network_is_the_authors(experiment: str, scale: float) -> None:
    """1,972,792 parameters; norms of momentum 0.4 and eps 1e-12 whose scale is 1 and not trained."""
    model = checked(composed(f"experiment={experiment}", "data.val_size=12"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_972_792 - 7 * 256
    model = components(f"experiment={experiment}").state.model
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(layer.momentum, layer.eps, layer.weight.requires_grad) for layer in norms} == {(0.4, 1e-12, False)}
    images = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(model.train()(images), logits(model, images, scale), atol=1e-5, rtol=1e-4)


LEFT_OUT = (
    "init=dirac", "init.others=default", "augmentation.flip=random", "augmentation.crop_border=null", "norm=batch",
    "architecture.fixed_scale=null", "architecture.logit_scale=null", "optimizer.bias_lr_factor=1",
    "scheduler=constant", "averaging=none", "courses.first_bias_freezing=null", "loss.label_smoothing=0",
    "views=none",
)  # fmt: skip


@pytest.mark.parametrize("override", LEFT_OUT)
def test_each_ingredient_can_be_left_out_by_one_override(override: str) -> None:
    config = composed("experiment=airbench_small", override, "data.val_size=12")
    assert config != composed("experiment=airbench_small", "data.val_size=12")
    checked(config)

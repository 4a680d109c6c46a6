"""Schedules: tables of (step, factor), and torch's own schedulers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer, lr_scheduler

from sweeper.errors import UserError
from sweeper.training.schedules import (
    SCHEDULERS,
    LRMultiplier,
    WithMomentum,
    check_schedule,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    linear,
    multistep,
    onecycle,
    plateau,
    polynomial,
    step,
    trapezoid,
    triangle,
)

STEPS, EPOCHS = 5, 8  # steps per epoch
TOTAL = STEPS * EPOCHS
PEAK = 0.3
VAL_ACCS = [0.1, 0.3, 0.3, 0.2, 0.3, 0.31, 0.31, 0.31]  # equal to the best is not better


@pytest.mark.parametrize(
    "build, table",
    [
        (partial(constant, warmup_epochs=0), {0: 1, 1: 1, 7: 1}),
        (partial(constant, warmup_epochs=1), {0: 1 / 4, 1: 2 / 4, 2: 3 / 4, 3: 1, 4: 1, 7: 1}),
        (partial(constant, warmup_epochs=0.5), {0: 1 / 2, 1: 1, 2: 1}),
        (partial(constant, warmup_epochs=0.1), {0: 1, 1: 1}),  # less than one step
        (partial(step, warmup_epochs=0, step_size=1, gamma=0.5), {0: 1, 3: 1, 4: 0.5, 7: 0.5, 8: 0.25}),
        (
            partial(step, warmup_epochs=1.5, step_size=1, gamma=0.5),
            {0: 1 / 6, 3: 4 / 6, 4: 0.5 * 5 / 6, 5: 0.5, 8: 0.25},
        ),
        (
            partial(multistep, warmup_epochs=0, milestones=[1, 3], gamma=0.5),
            {3: 1, 4: 0.5, 11: 0.5, 12: 0.25, 99: 0.25},
        ),
        (partial(multistep, warmup_epochs=0, milestones=[3, 1], gamma=0.5), {3: 1, 4: 0.5, 11: 0.5, 12: 0.25}),
        (partial(multistep, warmup_epochs=0.5, milestones=[2, 2], gamma=0.5), {0: 0.5, 1: 1, 7: 1, 8: 0.25}),
        (partial(exponential, warmup_epochs=0, gamma=0.5), {0: 1, 3: 1, 4: 0.5, 8: 0.25, 12: 0.125}),
        (partial(exponential, warmup_epochs=2, gamma=0.5), {0: 1 / 8, 3: 4 / 8, 4: 0.5 * 5 / 8, 7: 0.5, 8: 0.25}),
        (partial(cosine, warmup_epochs=0, min_factor=0.0), {0: 1, 4: 0.75, 6: 0.5, 8: 0.25, 12: 0}),
        (partial(cosine, warmup_epochs=0, min_factor=0.2), {0: 1, 6: 0.6, 12: 0.2, 13: 0.2}),
        (partial(cosine, warmup_epochs=1, min_factor=0.0), {0: 1 / 4, 2: 3 / 4, 3: 1, 4: 1, 8: 0.5, 12: 0}),
        (
            partial(onecycle, pct_start=0.5, div_factor=4, final_div_factor=10),
            {0: 0.25, 2.5: 0.625, 5: 1, 8: 0.5125, 11: 0.025},
        ),
        (partial(onecycle, pct_start=0.0, div_factor=4, final_div_factor=10), {11: 0.025}),
        (partial(onecycle, pct_start=1.0, div_factor=4, final_div_factor=10), {0: 0.25, 11: 1}),
        (partial(linear, warmup_epochs=0, min_factor=0.0), {0: 1, 3: 0.75, 6: 0.5, 9: 0.25, 12: 0, 13: 0}),
        (partial(linear, warmup_epochs=1, min_factor=0.2), {0: 1 / 4, 3: 1, 4: 1, 8: 0.6, 12: 0.2}),
        (partial(polynomial, warmup_epochs=1, power=2.0, min_factor=0.2), {0: 1 / 4, 4: 1, 8: 0.4, 10: 0.25, 12: 0.2}),
        (
            partial(trapezoid, warmup_epochs=1, decay_fraction=0.5, min_factor=0.1),
            {0: 1 / 4, 3: 1, 4: 1, 6: 1, 8: 0.7, 9: 0.55, 11: 0.25, 12: 0.1, 13: 0.1},
        ),
        (partial(trapezoid, warmup_epochs=0, decay_fraction=0.0, min_factor=0.1), {0: 1, 11: 1}),
        (partial(trapezoid, warmup_epochs=0, decay_fraction=1.0, min_factor=0.0), {0: 1, 6: 0.5, 12: 0}),
        (
            partial(triangle, pct_start=0.25, start_factor=0.2, min_factor=0.1),
            {0: 0.2, 1: 0.2 + 0.8 / 3, 3: 1, 6: 0.7, 12: 0.1, 13: 0.1},
        ),
        (partial(triangle, pct_start=0.0, start_factor=0.2, min_factor=0.0), {0: 1, 6: 0.5}),
        (partial(triangle, pct_start=1.0, start_factor=0.0, min_factor=0.0), {0: 0, 6: 0.5, 12: 1}),
        (
            partial(cosine_restarts, warmup_epochs=0, first_cycle=1, cycle_factor=2, min_factor=0.2),
            {0: 1, 2: 0.6, 4: 1, 8: 0.6, 12: 1, 20: 0.6},
        ),
        (
            partial(cosine_restarts, warmup_epochs=1, first_cycle=0.5, cycle_factor=1, min_factor=0.0),
            {0: 1 / 4, 3: 1, 4: 1, 5: 0.5, 6: 1, 7: 0.5},
        ),
        (partial(plateau, warmup_epochs=0, factor=0.1, patience=0, min_factor=0), {0: 1, 9: 1}),
        (partial(plateau, warmup_epochs=1, factor=0.1, patience=0, min_factor=0), {0: 1 / 4, 3: 1, 4: 1}),
    ],
)
def test_multiplier_at_a_step(build: Callable[[int, int], LRMultiplier], table: dict[int, float]) -> None:
    multiplier = build(4, 12)  # steps per epoch, and in total
    assert {step: multiplier(step, []) for step in table} == pytest.approx(table, abs=1e-15)


@pytest.mark.parametrize(
    "patience, min_factor, val_accs, expected",
    [
        (0, 0.0, [], 1),
        (0, 0.0, [0.5], 1),
        (0, 0.0, [0.5, 0.5], 0.5),
        (0, 0.0, [0.5, 0.6, 0.7], 1),
        (0, 0.0, [0.5, 0.4, 0.3, 0.2], 0.125),
        (1, 0.0, [0.5, 0.4], 1),
        (1, 0.0, [0.5, 0.4, 0.4], 0.5),
        (1, 0.0, [0.5, 0.4, 0.4, 0.4], 0.5),  # counting restarts after a reduction
        (1, 0.0, [0.5, 0.4, 0.6, 0.4], 1),
        (1, 0.0, [0.5, 0.4, 0.4, 0.4, 0.4], 0.25),
        (0, 0.2, [0.5, 0.4, 0.3, 0.2, 0.1], 0.2),
        (0, 0.0, [0.0, 0.0], 0.5),
    ],
)
def test_plateau(patience: int, min_factor: float, val_accs: list[float], expected: float) -> None:
    multiplier = plateau(4, 99, warmup_epochs=0, factor=0.5, patience=patience, min_factor=min_factor)
    assert multiplier(4 * len(val_accs), val_accs) == expected


def torch_rates(build: Callable[[Optimizer], Any], *, each: str) -> list[float]:
    """Return the rate of each step by torch, its scheduler advanced after each step or after each epoch."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = build(optimizer)
    rates = []
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if each == "step":
                scheduler.step()
        if each == "epoch":
            scheduler.step()
        if each == "accuracy":
            scheduler.step(VAL_ACCS[epoch])
    return rates


def our_rates(multiplier: LRMultiplier, val_accs: Sequence[float]) -> list[float]:
    return [PEAK * multiplier(step, val_accs[: step // STEPS]) for step in range(TOTAL)]


@pytest.mark.parametrize(
    "name, settings, theirs, each",
    [
        ("step", {"step_size": 3, "gamma": 0.1}, lambda o: lr_scheduler.StepLR(o, 3, 0.1), "epoch"),
        (
            "multistep",
            {"milestones": [2, 5], "gamma": 0.3},
            lambda o: lr_scheduler.MultiStepLR(o, [2, 5], 0.3),
            "epoch",
        ),
        ("exponential", {"gamma": 0.8}, lambda o: lr_scheduler.ExponentialLR(o, 0.8), "epoch"),
        ("cosine", {"min_factor": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, 0.1 * PEAK), "step"),
        ("linear", {"min_factor": 0.1}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, TOTAL), "step"),
        (
            "polynomial",
            {"power": 1.7, "min_factor": 0.0},
            lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 1.7),
            "step",
        ),
        *(
            (
                "cosine_restarts",
                {"first_cycle": 1.4, "cycle_factor": factor, "min_factor": 0.1},
                partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=7, T_mult=factor, eta_min=0.1 * PEAK),
                "step",
            )
            for factor in (1, 2)
        ),
        ("constant", {}, lambda o: lr_scheduler.LambdaLR(o, lambda step: 1.0), "step"),
        ("constant", {"warmup_epochs": 2}, lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 9), "step"),
        *(
            (
                "onecycle",
                {"pct_start": rise, "div_factor": 25.0, "final_div_factor": 1e4},
                partial(lr_scheduler.OneCycleLR, max_lr=PEAK, total_steps=TOTAL, pct_start=rise, cycle_momentum=False),
                "step",
            )
            for rise in (0.3, 0.05, 0.5, 0.9, 0.975)
        ),
        *(
            (
                "plateau",
                {"factor": 0.2, "patience": patience, "min_factor": 0.01},
                partial(
                    lr_scheduler.ReduceLROnPlateau,
                    mode="max",
                    factor=0.2,
                    patience=patience,
                    threshold=0,
                    min_lr=0.01 * PEAK,
                    eps=0,
                ),
                "accuracy",
            )
            for patience in (0, 1, 2)
        ),
    ],
)
def test_as_in_torch(name: str, settings: dict[str, Any], theirs: Callable[[Optimizer], Any], each: str) -> None:
    if name != "onecycle":
        settings = {"warmup_epochs": 0, **settings}
    multiplier = SCHEDULERS[name](STEPS, TOTAL, **settings)
    assert our_rates(multiplier, VAL_ACCS) == pytest.approx(torch_rates(theirs, each=each), rel=1e-12)


def test_the_shortest_cycles() -> None:
    """A rise of one step begins at the peak, where torch divides by zero; a cosine of one step stays at it."""
    rise = onecycle(STEPS, TOTAL, pct_start=1 / TOTAL, div_factor=25.0, final_div_factor=1e4)
    assert rise(0, []) == 1 and 0.99 < rise(1, []) < 1
    restarts = cosine_restarts(STEPS, TOTAL, warmup_epochs=0, first_cycle=1 / STEPS, cycle_factor=1, min_factor=0.1)
    assert [restarts(step, []) for step in range(TOTAL)] == [1.0] * TOTAL


@pytest.mark.parametrize("rise", [0.05, 0.3, 0.9])
def test_the_momentum_of_onecycle_is_torchs(rise: float) -> None:
    settings: dict[str, Any] = {"pct_start": rise, "div_factor": 25.0, "final_div_factor": 1e4}
    schedule = onecycle(STEPS, TOTAL, **settings, min_momentum=0.85)
    assert isinstance(schedule, WithMomentum)
    plain = onecycle(STEPS, TOTAL, **settings)
    assert [schedule(step, []) for step in range(TOTAL)] == [plain(step, []) for step in range(TOTAL)]
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=PEAK, momentum=0.95)
    theirs = lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=TOTAL, pct_start=rise)
    for number in range(TOTAL):
        momentum = optimizer.param_groups[0]["momentum"]
        assert schedule.momentum_at(number, 0.95) == pytest.approx(momentum, rel=1e-12)
        optimizer.step()
        if number < TOTAL - 1:
            theirs.step()


@pytest.mark.parametrize("warmup, decay", [(4, 0.6), (8.2, 0.0), (0.2, 0.99)])
def test_a_trapezoid_longer_than_the_training_is_refused(warmup: float, decay: float) -> None:
    with pytest.raises(UserError, match=r"together exceed the training of 8 epochs"):
        trapezoid(STEPS, TOTAL, warmup_epochs=warmup, decay_fraction=decay, min_factor=0.0)


@pytest.mark.parametrize(
    ("name", "settings", "epochs"),  # the longest training in which the schedule does nothing
    [
        ("step", {"warmup_epochs": 0, "step_size": 4, "gamma": 0.5}, 4),
        ("multistep", {"warmup_epochs": 0, "milestones": [6, 8], "gamma": 0.5}, 6),
        ("plateau", {"warmup_epochs": 0, "factor": 0.1, "patience": 1, "min_factor": 0.0}, 3),
        ("cosine", {"warmup_epochs": 2, "min_factor": 0.0}, 2),
        ("exponential", {"warmup_epochs": 0, "gamma": 0.9}, 1),
    ],
)
def test_a_schedule_that_never_changes_the_rate_is_warned_of(
    name: str, settings: dict[str, Any], epochs: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.errors.WARNED", set())
    for number in (epochs, epochs + 1):
        multiplier = SCHEDULERS[name](STEPS, STEPS * number, **settings)
        check_schedule(name, settings["warmup_epochs"], multiplier, STEPS, number)
    after = " after the warm-up" if settings["warmup_epochs"] else ""
    assert caplog.messages == [f"scheduler={name} never changes the learning rate{after} in epochs={epochs}"]
    caplog.clear()
    check_schedule("constant", 0.0, constant(STEPS, STEPS, warmup_epochs=0.0), STEPS, 1)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "settings", "epochs"),
    [
        ("cosine_restarts", {"first_cycle": 0.4, "cycle_factor": 1, "min_factor": 0.0}, 1),  # 1, 0.5, 1, 0.5, 1
        ("cosine_restarts", {"first_cycle": 1.0, "cycle_factor": 1, "min_factor": 0.0, "warmup_epochs": 1}, 3),
        ("onecycle", {"pct_start": 0.3, "div_factor": 4.0, "final_div_factor": 1.0}, 1),
        ("multistep", {"milestones": [1], "gamma": 0.1, "warmup_epochs": 2}, 4),  # a tenth of the peak at most
    ],
)
def test_a_schedule_that_changes_the_rate_within_an_epoch_or_the_warm_up_is_not_warned_of(
    name: str, settings: dict[str, Any], epochs: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings if name == "onecycle" else {"warmup_epochs": 0, **settings}
    multiplier = SCHEDULERS[name](STEPS, STEPS * epochs, **settings)
    check_schedule(name, settings.get("warmup_epochs"), multiplier, STEPS, epochs)
    assert not caplog.messages


@pytest.mark.parametrize("epochs", [0.05, 0.25])
def test_a_warm_up_that_does_not_rise_is_refused(epochs: float) -> None:
    multiplier = constant(STEPS, TOTAL, warmup_epochs=epochs)
    assert [multiplier(step, []) for step in range(TOTAL)] == [1.0] * TOTAL
    with pytest.raises(
        UserError, match=rf"scheduler\.warmup_epochs={epochs} is less than two steps \(an epoch has 5\)"
    ):
        check_schedule("constant", epochs, multiplier, STEPS, EPOCHS)

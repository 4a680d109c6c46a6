"""Learning-rate schedules as pure functions: multiplier(step, scores) -> factor of the peak rate at that step.

`step` counts optimizer steps from 0. `scores` are the selected metric of the epochs so far, negated where lower is
better. Nothing is kept between steps, so a resumed run has the same schedule. A builder's keyword-only arguments are
the settings that the choice uses; epochs become steps here.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeper.choice import Registry
from sweeper.errors import UserError, warn_once

log = logging.getLogger(__name__)

LRMultiplier = Callable[[int, Sequence[float]], float]


def with_warmup(multiplier: LRMultiplier, warmup_steps: int) -> LRMultiplier:
    """Return the schedule with a linear warm-up over the first steps (Goyal et al. 2017): 1/w, 2/w, ... 1."""

    def warmed(step: int, scores: Sequence[float]) -> float:
        return multiplier(step, scores) * min(1.0, (step + 1) / max(1, warmup_steps))

    return warmed


def check_schedule(
    name: str, warmup_epochs: float | None, multiplier: LRMultiplier, steps_per_epoch: int, epochs: int
) -> None:
    """Check that a warm-up rises, and warn of a schedule that never changes the rate in so few epochs.

    Args:
        name: of the choice.
        warmup_epochs: None where the choice has no such setting.

    Raises:
        UserError: the warm-up has fewer than two steps; the first of them would have the peak rate.
    """
    warmup_steps, total_steps = round((warmup_epochs or 0) * steps_per_epoch), steps_per_epoch * epochs
    if warmup_epochs and warmup_steps < 2:
        raise UserError(
            f"scheduler.warmup_epochs={warmup_epochs} is less than two steps (an epoch has {steps_per_epoch}); "
            "choose a longer warm-up, or 0"
        )
    first = max(0, warmup_steps - 1)  # an epoch from here on, and where later epochs begin, show every schedule
    steps = (*range(first, first + steps_per_epoch), *range(0, total_steps, steps_per_epoch), total_steps - 1)
    later = [step for step in steps if first <= step < total_steps]
    if name != "constant" and all(multiplier(step, [0.0] * (step // steps_per_epoch)) == 1 for step in later):
        after = " after the warm-up" if warmup_steps else ""
        warn_once(log, f"scheduler={name} never changes the learning rate{after} in epochs={epochs}")


def constant(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float) -> LRMultiplier:
    """Stay at the peak after the warm-up."""
    return with_warmup(lambda step, _: 1.0, round(warmup_epochs * steps_per_epoch))


def step(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, step_size: int, gamma: float) -> LRMultiplier:
    """Multiply by gamma after every `step_size` epochs."""
    every = step_size * steps_per_epoch
    return with_warmup(lambda step, _: gamma ** (step // every), round(warmup_epochs * steps_per_epoch))


def multistep(
    steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, milestones: list[int], gamma: float
) -> LRMultiplier:
    """Multiply by gamma after each epoch in `milestones`."""
    decays = [epoch * steps_per_epoch for epoch in milestones]
    return with_warmup(
        lambda step, _: gamma ** sum(step >= decay for decay in decays), round(warmup_epochs * steps_per_epoch)
    )


def exponential(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, gamma: float) -> LRMultiplier:
    """Multiply by gamma after every epoch."""
    return with_warmup(lambda step, _: gamma ** (step // steps_per_epoch), round(warmup_epochs * steps_per_epoch))


def cosine(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, min_factor: float) -> LRMultiplier:
    """Follow half a cosine from 1 down to `min_factor`, step by step after the warm-up (Loshchilov & Hutter 2017)."""
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor(step: int, _: Sequence[float]) -> float:
        done = min(1.0, max(0, step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * done)) / 2

    return with_warmup(factor, warmup_steps)


def cosine_restarts(
    steps_per_epoch: int,
    total_steps: int,
    *,
    warmup_epochs: float,
    first_cycle: float,
    cycle_factor: int,
    min_factor: float,
) -> LRMultiplier:
    """Restart a half cosine periodically, each cycle `cycle_factor` times as long (SGDR, Loshchilov & Hutter 2017).

    The first takes `first_cycle` epochs, after the warm-up.
    """
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor(step: int, _: Sequence[float]) -> float:
        done, length = max(0, step - warmup_steps), max(1, round(first_cycle * steps_per_epoch))
        while done >= length:
            done, length = done - length, length * cycle_factor
        return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * done / length)) / 2

    return with_warmup(factor, warmup_steps)


def linear(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, min_factor: float) -> LRMultiplier:
    """Decay linearly from 1 to `min_factor` after the warm-up (Goyal et al. 2017)."""
    return polynomial(steps_per_epoch, total_steps, warmup_epochs=warmup_epochs, power=1.0, min_factor=min_factor)


def polynomial(
    steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, power: float, min_factor: float
) -> LRMultiplier:
    """Decay from 1 to `min_factor` as (1 - t)^power, t the fraction of steps since the warm-up (Liu et al. 2015)."""
    warmup_steps = round(warmup_epochs * steps_per_epoch)

    def factor(step: int, _: Sequence[float]) -> float:
        done = min(1.0, max(0, step - warmup_steps) / max(1, total_steps - warmup_steps))
        return float(min_factor + (1 - min_factor) * (1 - done) ** power)

    return with_warmup(factor, warmup_steps)


def trapezoid(
    steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, decay_fraction: float, min_factor: float
) -> LRMultiplier:
    """Warm up, stay at the peak, and decay linearly to `min_factor` over the last `decay_fraction` of steps.

    Also called warmup-stable-decay (Zhai et al. 2022, Haegele et al. 2024).

    Raises:
        UserError: warm-up and decay together are longer than the training.
    """
    warmup_steps, decay_steps = round(warmup_epochs * steps_per_epoch), round(decay_fraction * total_steps)
    if warmup_steps + decay_steps > total_steps:
        raise UserError(
            f"scheduler.warmup_epochs={warmup_epochs} and scheduler.decay_fraction={decay_fraction} together "
            f"exceed the training of {total_steps / steps_per_epoch:g} epochs; shorten one of them"
        )

    def factor(step: int, _: Sequence[float]) -> float:
        left = min(1.0, max(0, total_steps - step) / max(1, decay_steps))
        return min_factor + (1 - min_factor) * left

    return with_warmup(factor, warmup_steps)


def triangle(
    steps_per_epoch: int, total_steps: int, *, pct_start: float, start_factor: float, min_factor: float
) -> LRMultiplier:
    """Rise from `start_factor` to 1 and fall to `min_factor`, both linearly (Smith 2017; Jordan 2024)."""
    peak = int(pct_start * total_steps)

    def factor(step: int, _: Sequence[float]) -> float:
        if step < peak:
            return start_factor + (1 - start_factor) * step / peak
        return 1 - (1 - min_factor) * min(1.0, (step - peak) / max(1, total_steps - peak))

    return factor


@dataclass(frozen=True)
class WithMomentum:
    """A schedule that also changes the momentum.

    Attributes:
        momentum_at: (step, the optimizer's own momentum) -> the momentum at that step.
        min_momentum: the smallest.
    """

    multiplier: LRMultiplier
    momentum_at: Callable[[int, float], float]
    min_momentum: float

    def __call__(self, step: int, scores: Sequence[float]) -> float:
        return self.multiplier(step, scores)


def onecycle(
    steps_per_epoch: int,
    total_steps: int,
    *,
    pct_start: float,
    div_factor: float,
    final_div_factor: float,
    min_momentum: float | None = None,
) -> LRMultiplier:
    """Rise and fall along half cosines, like torch's OneCycleLR (Smith & Topin 2018).

    Momentum falls from the optimizer's own to `min_momentum` as the rate rises, and rises as the rate falls; it is
    constant where `min_momentum` is None.
    """
    first = 1 / div_factor
    last = first / final_div_factor
    rise = pct_start * total_steps - 1

    def at(step: int, start: float, peak: float, end: float) -> float:
        if step <= rise:
            low, high, done = start, peak, step / rise if rise > 0 else 1.0
        else:
            low, high, done = peak, end, min(1.0, (step - rise) / max(1.0, total_steps - 1 - rise))
        return high + (low - high) * (1 + math.cos(math.pi * done)) / 2

    def factor(step: int, _: Sequence[float]) -> float:
        return at(step, first, 1.0, last)

    if min_momentum is None:
        return factor
    lowest = min_momentum
    return WithMomentum(factor, lambda step, own: at(step, own, lowest, own), lowest)


def plateau(
    steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, factor: float, patience: int, min_factor: float
) -> LRMultiplier:
    """Multiply by `factor` whenever the selected metric has not improved for more than `patience` epochs.

    Like torch's ReduceLROnPlateau with threshold=0, in the direction of the metric; never below `min_factor`.
    """

    def reduced(_: int, scores: Sequence[float]) -> float:
        value, best, waited = 1.0, -math.inf, 0
        for score in scores:
            waited = 0 if score > best else waited + 1
            best = max(best, score)
            if waited > patience:
                value, waited = max(value * factor, min_factor), 0
        return value

    return with_warmup(reduced, round(warmup_epochs * steps_per_epoch))


SCHEDULERS: Registry = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "linear": linear,
    "polynomial": polynomial,
    "trapezoid": trapezoid,
    "triangle": triangle,
    "onecycle": onecycle,
    "plateau": plateau,
}

"""Learning-rate schedules as pure functions: multiplier(step, val_accs) -> factor of the peak rate at that step.

`step` counts optimizer steps from 0, `val_accs` are the validation accuracies of the epochs so far. Nothing is kept
between steps, so a resumed run has the same schedule. A builder's keyword-only arguments are the settings that the
choice uses; epochs become steps here.
"""

import math
from collections.abc import Callable, Sequence

from sweeper.choice import Registry

LRMultiplier = Callable[[int, Sequence[float]], float]


def with_warmup(multiplier: LRMultiplier, warmup_steps: int) -> LRMultiplier:
    """Return the schedule with a linear warm-up over the first steps (Goyal et al. 2017): 1/w, 2/w, ... 1."""

    def warmed(step: int, val_accs: Sequence[float]) -> float:
        return multiplier(step, val_accs) * min(1.0, (step + 1) / max(1, warmup_steps))

    return warmed


def constant(steps_per_epoch: int, total_steps: int, *, warmup_epochs: float) -> LRMultiplier:
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


def onecycle(
    steps_per_epoch: int, total_steps: int, *, pct_start: float, div_factor: float, final_div_factor: float
) -> LRMultiplier:
    """Rise and fall in cosines, as torch's OneCycleLR (Smith & Topin 2018); momentum stays constant."""
    first = 1 / div_factor
    last = first / final_div_factor
    rise = pct_start * total_steps - 1

    def factor(step: int, _: Sequence[float]) -> float:
        if step <= rise:
            low, high, done = first, 1.0, step / rise if rise > 0 else 1.0
        else:
            low, high, done = 1.0, last, min(1.0, (step - rise) / max(1.0, total_steps - 1 - rise))
        return high + (low - high) * (1 + math.cos(math.pi * done)) / 2

    return factor


def plateau(
    steps_per_epoch: int, total_steps: int, *, warmup_epochs: float, factor: float, patience: int, min_factor: float
) -> LRMultiplier:
    """Multiply by `factor` whenever the validation accuracy has not improved for more than `patience` epochs.

    As torch's ReduceLROnPlateau with mode="max", threshold=0; never below `min_factor`.
    """

    def reduced(_: int, val_accs: Sequence[float]) -> float:
        value, best, waited = 1.0, -math.inf, 0
        for val_acc in val_accs:
            waited = 0 if val_acc > best else waited + 1
            best = max(best, val_acc)
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
    "onecycle": onecycle,
    "plateau": plateau,
}

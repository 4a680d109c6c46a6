"""Averaging of weights over steps. The averaged network is validated, saved as best.pt and tested."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sweeper.choice import Registry
from sweeper.data.batches import Step


class Averaging:
    """No averaging: the trained network is evaluated. Base class of averagings with their own weights."""

    def update(self, model: nn.Module, step: Step) -> None:
        """Update the average with the weights after a step; may change the weights."""

    def refresh(self, show_images: Callable[[nn.Module], None]) -> None:
        """Prepare the network that is evaluated next.

        Args:
            show_images: passes the training images through a network, in the mode that it is in.
        """

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the network that is evaluated."""
        return model

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Copied(Averaging):
    """A copy of the network that has averaged weights. Its integers, such as counters, are the network's own.

    Attributes:
        average: the copy.
        num_updates: the averages so far.
    """

    def __init__(self, model: nn.Module) -> None:
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.num_updates = 0
        tensors = [[*network.parameters(), *network.buffers()] for network in (self.average, model)]
        pairs = list(zip(*tensors, strict=True))
        self.floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.integers = [pair for pair in pairs if not pair[0].is_floating_point()]

    def move(self, share: float) -> None:
        """Move the average a fraction of the way to the network: all floats, batch norm's statistics included."""
        averages, values = zip(*self.floats, strict=True)
        torch._foreach_lerp_(averages, values, share)
        for average, value in self.integers:
            average.copy_(value)
        self.num_updates += 1

    def eval_model(self, model: nn.Module) -> nn.Module:
        return self.average

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.num_updates = state["num_updates"]


class EMA(Copied):
    """An exponential moving average of weights and buffers."""

    def __init__(self, model: nn.Module, decay: float, warmup: bool) -> None:
        super().__init__(model)
        self.decay, self.warmup = decay, warmup

    @torch.no_grad()
    def update(self, model: nn.Module, step: Step) -> None:
        done = self.num_updates
        self.move(1 - (min(self.decay, (1 + done) / (10 + done)) if self.warmup else self.decay))


class SWA(Copied):
    """The mean of the weights at the ends of epochs, after a fraction of training."""

    def __init__(self, model: nn.Module, steps_per_epoch: int, start: float) -> None:
        super().__init__(model)
        self.steps_per_epoch, self.start = steps_per_epoch, start

    @torch.no_grad()
    def update(self, model: nn.Module, step: Step) -> None:
        done = step.index + 1
        if done % self.steps_per_epoch == 0 and done > self.start * step.total:
            self.move(1 / (self.num_updates + 1))

    def refresh(self, show_images: Callable[[nn.Module], None]) -> None:
        """Recompute batch norm's statistics over the training images, without dropout and stochastic depth."""
        layers: list[Any] = [layer for layer in self.average.modules() if hasattr(layer, "reset_running_stats")]
        layers = [layer for layer in layers if layer.track_running_stats and hasattr(layer, "momentum")]
        if not self.num_updates or not layers:
            return
        momenta = [layer.momentum for layer in layers]
        self.average.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
            layer.training = True  # not .train(), which reaches the layers that a norm has, such as stochastic depth
        try:
            show_images(self.average)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum

    def eval_model(self, model: nn.Module) -> nn.Module:
        return self.average if self.num_updates else model


class Lookahead(Copied):
    """Slow weights, to which the trained weights are reset periodically."""

    def __init__(self, model: nn.Module, interval: int, alpha: float, power: float) -> None:
        super().__init__(model)
        self.interval, self.alpha, self.power = interval, alpha, power

    @torch.no_grad()
    def update(self, model: nn.Module, step: Step) -> None:
        done = step.index + 1
        if done % self.interval == 0:
            self.move(1 - (1 - self.alpha) * (done / step.total) ** self.power)
            averages, values = zip(*self.floats, strict=True)
            torch._foreach_copy_(values, averages)


def none(model: nn.Module, steps_per_epoch: int) -> Averaging:
    """No averaging."""
    return Averaging()


def ema(model: nn.Module, steps_per_epoch: int, *, decay: float, warmup: bool) -> Averaging:
    """Exponential moving average of the weights, and of batch norm's statistics (Polyak & Juditsky 1992).

    Args:
        warmup: after n updates the decay is at most (1 + n) / (10 + n), so that the initial weights are soon forgotten.
    """
    return EMA(model, decay, warmup)


def swa(model: nn.Module, steps_per_epoch: int, *, start: float) -> Averaging:
    """Stochastic weight averaging: the mean of the weights after each epoch from `start` on (Izmailov et al. 2018).

    Needs a learning rate that is not small in these epochs. Until then, the trained network is evaluated.
    """
    return SWA(model, steps_per_epoch, start)


def lookahead(model: nn.Module, steps_per_epoch: int, *, interval: int, alpha: float, power: float) -> Averaging:
    """Every `interval` steps, move slow weights towards the trained ones and continue from them (Zhang et al. 2019).

    Slow weights keep (1 - alpha) (t / T)^power of themselves after t of T steps: with power 0 as in the paper; with
    power 3 and alpha 1 - 0.95^5, every 5 steps, as Jordan 2024. Batch norm's statistics are averaged in the same way.
    """
    return Lookahead(model, interval, alpha, power)


AVERAGINGS: Registry = {"none": none, "ema": ema, "swa": swa, "lookahead": lookahead}

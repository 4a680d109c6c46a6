"""Averaging of weights over steps. The averaged network is what is validated, saved as best.pt and tested."""

from typing import Any

from torch import nn

from sweeper.choice import Registry
from sweeper.data.batches import Step


class Averaging:
    """No averaging: the trained network is evaluated. Base class of those that keep weights of their own."""

    def update(self, model: nn.Module, step: Step) -> None:
        """Take in the weights after a step."""

    def eval_model(self, model: nn.Module) -> nn.Module:
        """Return the network that is evaluated."""
        return model

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


def none(model: nn.Module) -> Averaging:
    return Averaging()


AVERAGINGS: Registry = {"none": none}

"""my_averaging: an averaging of weights over steps; the averaged network is evaluated.

Train with it:

    python train.py extend=my_averaging.py averaging=my_averaging data=digits

A keyword-only argument is a setting, its annotation the type and its default the preset's value:
`averaging.last_epochs=2` changes it, and `-m averaging.last_epochs=1,2` sweeps over it.
After an edit, runs that used what was edited are trained again.
"""

import torch
from torch import nn

from sweeper.data.batches import Step
from sweeper.training.averaging import Averaging, Copied


class MyAveraging(Copied):
    """The mean of the weights over the last steps. `Copied` has the copy of the network, and saves it."""

    def __init__(self, model: nn.Module, last_steps: int) -> None:
        super().__init__(model)
        self.last_steps = last_steps

    @torch.no_grad()
    def update(self, model: nn.Module, step: Step) -> None:
        """Called after step `step.index` of `step.total`; until the last steps, the copy is the network itself."""
        is_last = step.index >= step.total - self.last_steps
        self.move(1 / (self.num_updates + 1) if is_last else 1.0)
        self.num_updates *= is_last


def my_averaging(model: nn.Module, steps_per_epoch: int, *, last_epochs: float = 1.0) -> Averaging:
    """Return an averaging for a network."""
    return MyAveraging(model, round(last_epochs * steps_per_epoch))


AVERAGINGS = {"my_averaging": my_averaging}  # choices by name; one file may have several, of several groups

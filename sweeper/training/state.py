"""Everything that training changes, in one object that checkpoints save and resumed runs restore."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sweeper.training.averaging import Averaging

Row = dict[str, Any]


@dataclass
class LoopState:
    """The position in training, and sums over the epoch in progress.

    Attributes:
        epoch: the epoch in progress, from 1; one past the last when all are done.
        step_in_epoch: steps of it that are done.
        loss_sum, num_correct, num_samples: over these steps' images, added step by step, so that a resumed run has the
            same sums; the first two stay on the device.
        seconds: of these steps.
        history: the metrics of each epoch that is done.
    """

    epoch: int = 1
    step_in_epoch: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    num_correct: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    num_samples: int = 0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)

    def next_epoch(self, row: Row) -> None:
        """Close the epoch in progress with its row."""
        self.history.append(row)
        self.epoch, self.step_in_epoch, self.num_samples, self.seconds = self.epoch + 1, 0, 0, 0.0
        self.loss_sum, self.num_correct = torch.zeros_like(self.loss_sum), torch.zeros_like(self.num_correct)


@dataclass
class TrainState:
    """The network and everything that changes with it."""

    model: nn.Module
    optimizer: Optimizer
    averaging: Averaging = field(default_factory=Averaging)
    loop: LoopState = field(default_factory=LoopState)

    def eval_model(self) -> nn.Module:
        """Return the network that is validated, saved as best and tested."""
        return self.averaging.eval_model(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Return the current state. Its tensors are those of the live state: save it before the next step."""
        on_gpu = next(self.model.parameters()).is_cuda
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaging": self.averaging.state_dict(),
            "loop": asdict(self.loop),
            "generators": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if on_gpu else None},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, which may share tensors with the restored state from then on.

        Raises:
            RuntimeError, KeyError: it belongs to another network.
        """
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaging.load_state_dict(state["averaging"])
        torch.set_rng_state(state["generators"]["cpu"])
        if state["generators"]["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["generators"]["cuda"])
        self.loop = LoopState(**state["loop"])

"""The state of training: saved and restored exactly, with torch's generator, and what does not fit is refused."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import LR, equal, network, recipe, sgd, stopped, trained, untimed
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from sweeper.training.state import LoopState, TrainState

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": sgd,
    "adam": lambda model: Adam([{"params": model.parameters(), "lr_factor": 1.0}], lr=LR, fused=True),
    "groups": lambda model: AdamW(
        [
            {"params": [weight for weight in model.parameters() if weight.ndim > 1], "lr_factor": 0.5},
            {"params": [weight for weight in model.parameters() if weight.ndim < 2], "lr_factor": 2, "weight_decay": 0},
        ],
        lr=LR,
    ),
}


def start(name: str = "sgd") -> TrainState:
    model = network()
    return TrainState(model, OPTIMIZERS[name](model))


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """Save and load as a checkpoint does: tensors and plain values only."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


def assert_identical(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert torch.equal(first, second) and first.dtype == second.dtype
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_identical(first[key], second[key])
    elif isinstance(first, list):
        for pair in zip(first, second, strict=True):
            assert_identical(*pair)
    else:
        assert first == second


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 7, 15])
def test_a_state_survives_a_file_exactly_and_training_resumes_bit_identically(name: str, calls: int) -> None:
    whole = trained(start(name), recipe())
    saved = through_a_file(stopped(start(name), recipe(), calls=calls).state_dict())
    resumed = start(name)
    torch.rand(7)  # another position of torch's generator
    resumed.load_state_dict(saved)
    assert_identical(through_a_file(resumed.state_dict()), saved)
    trained(resumed, recipe())
    assert equal(resumed.model, whole.model)
    assert_identical(resumed.optimizer.state_dict(), whole.optimizer.state_dict())
    assert untimed(resumed.loop.history) == untimed(whole.loop.history)


@pytest.mark.parametrize(
    "damage, error",
    [
        (lambda state: state["model"].pop("1.weight"), RuntimeError),
        (lambda state: state["model"].update({"1.weight": torch.zeros(2, 2)}), RuntimeError),
        (lambda state: state.pop("optimizer"), KeyError),
        (lambda state: state.pop("averaging"), KeyError),
    ],
)
def test_the_state_of_another_network_is_refused(damage: Callable[[Any], object], error: type[Exception]) -> None:
    saved = through_a_file(start().state_dict())
    damage(saved)
    with pytest.raises(error):
        start().load_state_dict(saved)


def test_the_next_epoch_starts_from_zero() -> None:
    loop = LoopState(2, 5, torch.tensor(3.5), torch.tensor(4), 40, 1.5, [{"epoch": 1, "val_acc": 0.25}])
    loop.next_epoch({"epoch": 2, "val_acc": 0.5})
    assert (loop.epoch, loop.step_in_epoch, loop.num_samples, loop.seconds) == (3, 0, 0, 0.0)
    assert (float(loop.loss_sum), int(loop.num_correct)) == (0, 0)
    assert [row["val_acc"] for row in loop.history] == [0.25, 0.5]

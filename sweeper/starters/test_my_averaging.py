"""Tests of my_averaging: python -m pytest test_my_averaging.py."""

import torch
from torch import nn

from my_averaging import my_averaging
from sweeper.data.batches import Step


def test_the_average_is_the_mean_over_the_last_steps() -> None:
    model = nn.Linear(1, 1)
    averaging = my_averaging(model, steps_per_epoch=3, last_epochs=1.0)
    for index in range(6):
        nn.init.constant_(model.weight, index)
        averaging.update(model, Step(index, 6, 0))
    torch.testing.assert_close(averaging.eval_model(model).weight.detach(), torch.tensor([[(3 + 4 + 5) / 3]]))

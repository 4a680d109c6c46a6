"""Evaluation of the mean over views of each image."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn


class AveragedViews(nn.Module):
    """A network whose logits are the mean over views of each image, weighted if the views have weights."""

    def __init__(self, model: nn.Module, views: Callable[[Tensor], Iterator[Tensor]]) -> None:
        super().__init__()
        self.model, self.views = model, views

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.stack([self.model(view).float() for view in self.views(images)])  # (V, B, K)
        function: Any = getattr(self.views, "func", self.views)
        weights = logits.new_tensor(getattr(function, "weights", [1.0] * len(logits)))
        with torch.autocast(images.device.type, enabled=False):  # which would round the mean to bfloat16
            return cast(Tensor, torch.tensordot(weights / weights.sum(), logits, 1))

"""Evaluation of the mean over views of each image."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


class AveragedViews(nn.Module):
    """A network whose logits are the mean over views of each image."""

    def __init__(self, model: nn.Module, views: Callable[[Tensor], Iterator[Tensor]]) -> None:
        super().__init__()
        self.model, self.views = model, views

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.model(view).float() for view in self.views(images)]).mean(0)

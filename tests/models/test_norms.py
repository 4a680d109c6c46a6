"""Batch norm's settings, and ghost batch norm against batch norm on each part of a batch."""

import pytest
import torch
from torch import Tensor, nn

from sweeper.models.layers import NORMS, batch, ghost_batch


def inputs(number: int, dims: int) -> Tensor:
    return torch.randn(number, 3, *([4, 5] if dims == 2 else []), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("name", ["batch", "ghost_batch"])
def test_settings_of_batch_norm(name: str, dims: int) -> None:
    ghosts = {"ghost_size": 2} if name == "ghost_batch" else {}
    kind = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
    for settings in ({}, {"momentum": 0.4}, {"eps": 1e-3}, {"momentum": 0.4, "eps": 1e-3}):
        found, expected = NORMS[name](3, dims, **ghosts, **settings), kind(3, **settings)  # type: ignore[arg-type]
        assert isinstance(found, kind)
        assert (found.momentum, found.eps) == (expected.momentum, expected.eps)
    assert torch.equal(batch(3, dims, momentum=None, eps=None)(inputs(6, dims)), kind(3)(inputs(6, dims)))


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("number, sizes", [(8, [4, 4]), (9, [5, 4]), (11, [6, 5]), (7, [7]), (3, [3]), (12, [4, 4, 4])])
def test_ghost_batch_norm_normalizes_parts_and_updates_in_order(number: int, sizes: list[int], dims: int) -> None:
    """The running mean after G parts is (1 - m)^G of the old one and m (1 - m)^(G - 1 - i) of each part's mean."""
    norm, momentum = ghost_batch(3, dims, ghost_size=4, momentum=0.3), 0.3
    images = inputs(number, dims)
    parts = images.split(sizes)
    axes = (0, 2, 3)[: 2 * dims - 1]
    running_mean, running_var, expected = torch.zeros(3), torch.ones(3), []
    for part in parts:
        mean, var = part.mean(axes, keepdim=True), part.var(axes, correction=0, keepdim=True)
        expected.append((part - mean) / (var + 1e-5).sqrt())
        running_mean = (1 - momentum) * running_mean + momentum * mean.flatten()
        running_var = (1 - momentum) * running_var + momentum * part.var(axes)
    torch.testing.assert_close(norm(images), torch.cat(expected))
    torch.testing.assert_close(norm.running_mean, running_mean)
    torch.testing.assert_close(norm.running_var, running_var)
    plain = batch(3, dims).eval()
    plain.load_state_dict(norm.state_dict())
    assert torch.equal(norm.eval()(images), plain(images))

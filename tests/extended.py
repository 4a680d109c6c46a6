"""A file with choices from outside of the package, and the loading of such files, undone after a test."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore

from sweeper import ranges, typed
from sweeper.cli import register_schema
from sweeper.runs import extension_files, extensions, fingerprint

TRICKS = '''"""My tricks."""

import torch
from torch import nn
from sweeper.data.draws import needs_draws
from sweeper.models.layers import given

SCALE = 1.0


class Act(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, inputs):
        return torch.where(inputs > 0, inputs, self.slope * inputs) * SCALE


def my_act(*, slope: float = 0.1) -> nn.Module:
    """Leaky."""
    return Act(slope)


def other(*, slope: float = 0.1) -> nn.Module:
    return nn.ReLU()


def my_net(input_shape, num_classes, *, activation, depth: int = 2, sizes: list[int] | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes), *(activation() for _ in range(depth)))


@needs_draws(1)
def tint(images, draws, mean, *, tint: float = 0.5, tint_color: str = "red"):
    return images


if SCALE > 2:
    torch.set_num_threads(1)

if __name__ == "__main__":
    print("tried")

ACTIVATIONS = {"my_act": my_act, "other": other}
MODELS = {"my_net": my_net}
AUGMENTATIONS = {"tint": tint}
'''


@contextmanager
def undone() -> Iterator[None]:
    """Forget afterwards what is loaded meanwhile. Parsed files stay known by their paths, so use new ones."""
    registries = [extensions.registry_of(path) for path in fingerprint.EXTENDABLE.values()]
    tables: list[dict[Any, Any]] = [*registries, ranges.GROWN, extensions.LOADED, extension_files.TEXTS]
    before = [(table, dict(table)) for table in tables]
    register_schema()
    store = ConfigStore.instance()
    repo = {group: dict(stored) if isinstance(stored, dict) else stored for group, stored in store.repo.items()}
    try:
        yield
    finally:
        for name in extensions.LOADED:
            sys.modules.pop(name, None)
        for table, content in before:
            table.clear()
            table.update(content)
        store.repo = repo
        typed.text_settings.cache_clear()

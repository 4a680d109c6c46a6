"""Garbage is collected again once a program has started."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Train

from sweeper.garbage import collect_again, no_collection

ACTIVATION = """import gc
from torch import nn


def mine() -> nn.Module:
    assert gc.isenabled()
    return nn.ReLU()


ACTIVATIONS = {"mine": mine}
assert not gc.isenabled()
"""


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("restored")
def test_a_pause_ends_once_and_later_objects_are_collected() -> None:
    gc.disable()
    collect_again()
    frozen = gc.get_freeze_count()
    assert gc.isenabled() and frozen > 0
    collect_again()
    assert gc.get_freeze_count() <= frozen


@pytest.mark.usefixtures("restored")
def test_a_pause_within_another_does_not_end_it() -> None:
    with pytest.raises(ZeroDivisionError), no_collection():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    with no_collection():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_training_collects_garbage(flags: tuple[str, ...], train: Train, tmp_path: Path) -> None:
    (tmp_path / "act.py").write_text(ACTIVATION)
    done = train("model=mlp", "model.hidden=[8]", "activation=mine", "epochs=1", "extend=act.py", flags=flags)
    assert done.returncode == 0, done.stderr

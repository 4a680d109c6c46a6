"""How a run's network is made to compute: compiled, and the same every time on a GPU."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import composed
from torch import nn

from sweeper.data.cache import load, prepare
from sweeper.errors import UserError
from sweeper.training.build import be_deterministic, build, check, choose_all


def test_compile_begins_afresh_and_takes_each_shape_by_itself(
    small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: calls.append("reset"))
    monkeypatch.setattr(nn.Module, "compile", lambda module, **how: calls.append((type(module), how)))
    for overrides in ([], ["compile=true"]):
        config = composed(*small, "device=cpu", "model=mlp", *overrides)
        built = build(config, choose_all(config), load(prepare(config.data)))
        assert calls == (["reset", (type(built.training.model), {"dynamic": False})] if overrides else [])


def test_compile_without_a_compiler_is_a_sentence(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "g++ -O2")
    config = composed(*small, "device=cpu", "model=mlp", "compile=true")
    with pytest.raises(UserError, match=r"compile=true needs a C\+\+ compiler, and there is no g\+\+ -O2 here"):
        check(config, choose_all(config), prepare(config.data))
    config.compile = False
    check(config, choose_all(config), prepare(config.data))


@pytest.fixture
def settings_of_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = filled
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.usefixtures("settings_of_torch")
def test_what_cannot_be_deterministic_is_done_all_the_same() -> None:
    be_deterministic()
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))

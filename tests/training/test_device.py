"""The process and the device: determinism on a GPU, threads, the choice of a device."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.errors import UserError
from sweeper.training.device import choose_device, describe_device, enable_determinism, set_up_process


@pytest.fixture
def settings_of_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    deterministic: Any = torch.utils.deterministic
    filled, threads = deterministic.fill_uninitialized_memory, torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    deterministic.fill_uninitialized_memory = filled
    torch.set_num_threads(threads)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.usefixtures("settings_of_torch")
def test_an_operation_without_a_deterministic_form_runs_with_a_warning() -> None:
    enable_determinism()
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))


@pytest.mark.usefixtures("settings_of_torch")
def test_a_cpu_process_gets_its_threads_and_stays_as_torch_made_it() -> None:
    assert set_up_process("cpu", 1) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()
    assert describe_device(torch.device("cpu"))["threads"] == 1
    torch.set_num_threads(2)
    set_up_process("cpu", None)
    assert torch.get_num_threads() == 2


def test_a_processor_is_named_by_its_model_else_by_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr("sweeper.training.device.CPUINFO", cpuinfo)
    architecture = platform.processor() or platform.machine()
    assert describe_device(torch.device("cpu"))["device"] == architecture
    cpuinfo.write_text("processor\t: 0\n\n")  # as on some processors that are not x86
    assert describe_device(torch.device("cpu"))["device"] == architecture
    cpuinfo.write_text("vendor_id\t: AMD\nmodel name\t: AMD EPYC 9B45\nmodel name\t: AMD EPYC 9B45\n")
    assert describe_device(torch.device("cpu"))["device"] == "AMD EPYC 9B45"


@pytest.mark.usefixtures("settings_of_torch")
def test_a_run_records_among_how_many_its_gpu_was_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert describe_device(torch.device("cuda"))["runs_per_gpu"] == 1
    monkeypatch.setenv("SWEEPER_RUNS_PER_GPU", "4")
    assert describe_device(torch.device("cuda"))["runs_per_gpu"] == 4
    assert "runs_per_gpu" not in describe_device(torch.device("cpu"))


@pytest.mark.usefixtures("settings_of_torch")
def test_a_gpu_process_is_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert set_up_process("auto", None) == torch.device("cuda")
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "name, available, device",
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_choice_of_device(name: str, available: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(name) == torch.device(device)


def test_cuda_without_a_gpu_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"device=cuda: no CUDA device available; choose device=cpu or device=auto"):
        choose_device("cuda")

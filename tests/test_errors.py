"""Errors of a command or a job: a sentence, the lines of the program, and nothing that stays in memory."""

import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra.core.utils import _save_config
from hydra.types import RunMode
from omegaconf import OmegaConf
from processes import environment
from support import Train, copy_program
from wrong_input import error_of

from sweeper.cli import friendly_errors, job_errors
from sweeper.errors import Diverged, explain_memory, format_error


def test_an_error_is_a_line_on_stderr_and_a_traceback_on_request(train: Train) -> None:
    short, full = train("epochs=0"), train("epochs=0", HYDRA_FULL_ERROR="1")
    assert short.returncode == full.returncode == 1
    assert "Traceback" not in short.stderr + short.stdout
    assert short.stderr == "error: epochs=0 is out of range: must be at least 1\n"
    assert "Traceback" in full.stderr


@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_an_error_while_the_program_is_imported_names_its_line(flags: list[str], tmp_path: Path) -> None:
    copy_program(tmp_path)
    broken = tmp_path / "sweeper" / "training" / "losses.py"
    broken.write_text(f"{broken.read_text()}\n1 / 0\n")
    arguments = [sys.executable, "train.py", *flags, "model=softmax", "data=digits"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "error: ZeroDivisionError: division by zero; set HYDRA_FULL_ERROR=1 for the traceback"
    assert f'  File "{broken}", line {len(broken.read_text().splitlines())}, in <module>' in lines
    assert "    1 / 0" in lines
    assert "Error executing job" not in done.stderr + done.stdout


def test_the_error_of_a_job_keeps_no_model_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launchers keep the errors of all jobs until the sweep ends."""
    overrides, runtime = SimpleNamespace(task=["seed=0"]), SimpleNamespace(choices={"hydra/sweeper": "grid"})
    job = SimpleNamespace(mode=RunMode.MULTIRUN, overrides=overrides, runtime=runtime)
    monkeypatch.setattr("sweeper.cli.HydraConfig", SimpleNamespace(get=lambda: job))
    models: list[weakref.ref[Any]] = []

    class Model:
        def fit(self) -> None:
            raise ZeroDivisionError

    def train() -> None:
        model = Model()
        models.append(weakref.ref(model))

        def step() -> None:  # an optimizer's closure
            model.fit()

        try:
            step()
        except ZeroDivisionError as error:
            raise Diverged("the loss is nan") from error

    with pytest.raises(Diverged) as kept, job_errors(OmegaConf.create({"fail_fast": False})):
        train()
    assert isinstance(kept.value.__cause__, ZeroDivisionError)
    assert [model() for model in models] == [None]


def torch_allocates() -> None:
    torch.empty(10**15)


def python_allocates() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("allocate", "sentence"),
    [
        (torch_allocates, "not enough memory for 4000000000000000 bytes: choose a smaller model or batch_size"),
        (python_allocates, "not enough memory: choose a smaller model or batch_size"),
    ],
)
def test_a_model_larger_than_memory_is_a_sentence(
    allocate: Callable[[], None], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_FRIENDLY_ERRORS", "1")
    with pytest.raises(SystemExit, match=f"^error: {sentence}$"), friendly_errors():
        allocate()
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert format_error(raised.value) == sentence  # in a sweep
    assert explain_memory(RuntimeError("shapes do not match")) == ""


def test_a_folder_that_hydra_cannot_make_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    refused = pytest.raises(SystemExit, match=f"^error: output_dir={tmp_path}/outputs cannot be written: File exists$")
    with refused, friendly_errors():
        _save_config(OmegaConf.create(), "config.yaml", tmp_path / "outputs")


def test_a_working_directory_that_was_removed_is_reported(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the working directory was removed; change to another one" in error_of([*small], monkeypatch)

"""Runs whose folder can no longer be written: what is recorded and said, and that they resume."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support import TINY, composed

from sweeper.config import Config
from sweeper.errors import FRIENDLY_ERRORS, Diverged, WriteError
from sweeper.files import write_json, writing
from sweeper.runs import attempt, checkpoint, train_log
from sweeper.runs.directory import RunDirectory
from sweeper.runs.job import Job
from sweeper.runs.run import run

JOB = Job("python train.py")


@pytest.fixture
def config(small: list[str], tmp_path: Path) -> Config:
    return composed(*small, *TINY, "epochs=3", "select=val_loss", f"output_dir={tmp_path}")


def the_record(folder: Path) -> RunDirectory:
    (run,) = (folder / "runs").iterdir()
    return RunDirectory(run)


def failing(real: Any, name: str, first: int, number: int = errno.ENOSPC) -> Any:
    """Return a function that fails from its `first` call for a file of that name on, with an error of the system."""
    calls: list[Path] = []

    def write(path: Path, *arguments: Any, **named: Any) -> Any:
        calls.append(path) if path.name == name else None
        if path.name == name and len(calls) >= first:
            with writing(path):
                raise OSError(number, os.strerror(number))
        return real(path, *arguments, **named)

    return write


@pytest.mark.parametrize(
    ("name", "number", "remedy"),
    [
        ("last.pt", errno.ENOSPC, "free some space"),
        ("best.pt", errno.EFBIG, "raise the limit (ulimit -f)"),
        ("best.pt", errno.EROFS, "make it writable"),
    ],
)
def test_a_full_disk_fails_the_run_with_a_sentence_and_it_resumes(
    name: str, number: int, remedy: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "save", failing(checkpoint.save, name, 2, number))
        with pytest.raises(WriteError) as raised:
            run(config, JOB)
    record = the_record(tmp_path)
    reason = f"stopped at epoch 3: {record.checkpoints / name} cannot be written: {os.strerror(number)}"
    assert str(raised.value) == (f"{record.run_id} {reason}; {remedy} and rerun the same command to resume")
    status = record.status() or {}
    assert (status["state"], status["error"]) == ("failed", reason)
    run(config, JOB)
    assert record.is_finished()
    assert f"resuming at epoch {3 if name == 'best.pt' else 2}" in (record.folder / "train.log").read_text()


def test_a_signal_while_a_run_fails_stops_the_process_too(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = failing(checkpoint.save, "last.pt", 1)
    monkeypatch.setenv(FRIENDLY_ERRORS, "1")

    def save_after_a_signal(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        save(*arguments)

    monkeypatch.setattr(checkpoint, "save", save_after_a_signal)
    with pytest.raises(SystemExit) as raised:  # a sweep that continues after failures would start the next run
        run(config, JOB)
    record = the_record(tmp_path)
    assert raised.value.code == 128 + signal.SIGTERM
    assert (record.status() or {})["state"] == "failed"
    assert caplog.messages[-1].startswith(f"failed: {record.run_id}: stopped at epoch ")


@pytest.mark.parametrize(
    ("error", "reason", "frames"),
    [
        (RuntimeError("shapes do not match"), "RuntimeError: shapes do not match", True),
        (MemoryError(), "not enough memory: choose a smaller model or batch_size", False),
        (Diverged("the loss is nan"), "diverged: the loss is nan", False),
    ],
)
@pytest.mark.parametrize("friendly", [True, False])
def test_a_failure_at_a_signal_is_logged_as_any_other(
    error: Exception,
    reason: str,
    frames: bool,
    friendly: bool,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fit_until_a_signal(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise error

    monkeypatch.setattr(attempt, "fit", fit_until_a_signal)
    monkeypatch.delenv(FRIENDLY_ERRORS, raising=False)
    if friendly:
        monkeypatch.setenv(FRIENDLY_ERRORS, "1")
    with pytest.raises(SystemExit):
        run(config, JOB)
    first, *rest = caplog.messages[-1].splitlines()
    name = the_record(tmp_path).run_id
    assert first == f"failed: {name}: {reason if friendly else 'Traceback (most recent call last):'}"
    assert any("fit_until_a_signal" in line for line in rest) == (frames or not friendly)


def test_a_folder_that_becomes_read_only_leaves_the_run_to_the_next_start(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "save", failing(checkpoint.save, "last.pt", 2))
        broken.setattr("sweeper.runs.directory.write_json", failing(write_json, "status.json", 4))
        with pytest.raises(WriteError, match=r"last\.pt cannot be written: No space left on device"):
            run(config, JOB)
    record = the_record(tmp_path)
    assert (record.status() or {})["state"] == "running"  # the reason cannot be recorded; readers see that it is gone
    run(config, JOB)
    assert record.is_finished()


def test_a_heartbeat_that_cannot_be_written_stops_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "HEARTBEAT", 0.0)
    during_training: list[int] = []
    real = write_json

    def write(path: Path, content: dict[str, Any], **named: Any) -> None:
        if path.name == "status.json" and content["state"] == "running" and content["step"] > 0:
            during_training.append(content["step"])
            raise WriteError("full")
        real(path, content, **named)

    monkeypatch.setattr("sweeper.runs.directory.write_json", write)
    run(config, JOB)
    assert the_record(tmp_path).is_finished() and len(during_training) > 3


def test_a_log_that_cannot_be_written_stops_nothing(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_to(path: Path) -> Any:
        path.symlink_to("/dev/full")
        return train_log.log_to(path)

    monkeypatch.setattr(attempt, "log_to", log_to)
    run(config, JOB)
    assert the_record(tmp_path).is_finished()
    assert "Logging error" not in capsys.readouterr().err

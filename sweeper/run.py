"""A run: find out which it is, own it, and find it finished or make an attempt at it."""

import json
import logging
import platform
import shutil
import socket
import subprocess
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from sweeper import identity
from sweeper.attempt import Attempt
from sweeper.build import build, check, choose_device
from sweeper.choice import SLOTS, keyword_only
from sweeper.config import Config, validate
from sweeper.data import Cached, load, prepare, settle_val_size
from sweeper.errors import Diverged, UserError
from sweeper.record import Record, convergence
from sweeper.training_code import changed_modules, code_fingerprint

log = logging.getLogger(__name__)

code_fingerprint()  # of the code that is imported now, whatever is edited while runs train


def run(config: Config, *, hydra_files: dict[str, str], command: str) -> float:
    """Train the run that the config describes, go on with it, or find it finished.

    Returns:
        Its best validation accuracy.

    Raises:
        UserError: something in the user's hands is wrong; nothing was started.
        Diverged: the loss is not finite any more, now or when it was trained before.
        SystemExit: a signal stopped it; the same command goes on from there.
    """
    validate(config)
    choices = identity.choose_all(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    cached = prepare(config.data)
    settle_val_size(config.data, cached)
    effective = identity.effective_config(config, choices, cached.fingerprint)
    record = Record(Path(config.output_dir) / "runs" / identity.run_id(effective))
    code = code_fingerprint()
    for slot in SLOTS:
        if slot not in keyword_only(choices.model) and f" {slot}" in command:
            log.warning("model=%s has no %s: it trains without", config.model.name, slot)
    with owned(record):
        try:
            return find_or_train(config, choices, cached, record, code, effective, hydra_files, command)
        except Exception as error:
            error.add_note(record.run_id)
            if record.folder.exists() and record.status() is None:  # it failed before its attempt began
                record.write_status(state="failed", attempt=0, epoch=1, step=0, error=traceback.format_exc())
            raise


def find_or_train(
    config: Config,
    choices: identity.Choices,
    cached: Cached,
    record: Record,
    code: dict[str, str],
    effective: dict[str, Any],
    hydra_files: dict[str, str],
    command: str,
) -> float:
    """The best validation accuracy of a run that this process owns."""
    if record.folder.exists() and is_stale(record, code, config.sweep.reuse):
        set_aside(record)
    status = record.status() or {}
    if record.is_finished():
        return found_finished(record, config)
    if status.get("state") == "diverged":
        raise Diverged(f"{record.run_id} diverged before: {status.get('error')}")
    model = check(config, choices, cached)
    described = record.create(describe(config, effective, code, cached, model, command), hydra_files)
    attempt = Attempt(config, record, described, number=int(status.get("attempt", 0)) + 1)
    result = attempt.live(lambda: build(config, choices, load(cached)))
    log.info("%s: finished, %s", record.run_id, summary_of(result))
    return float(result["best_val_acc"])


def lock_of(record: Record) -> FileLock:
    """The lock that the process holds that works on the run."""
    folder = record.folder.parent.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / record.run_id)


@contextmanager
def owned(record: Record) -> Iterator[None]:
    """Be the only process that works on the run; wait while another does. The system frees a dead owner's lock."""
    try:
        lock = lock_of(record)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("%s: another process is training it; waiting", record.run_id)
            lock.acquire()
    except OSError as error:
        raise UserError(f"output_dir={record.folder.parent.parent} cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()


def state_after(record: Record, reason: str, then: str = "failed") -> str:
    """A run's state once whoever was to train it has returned.

    Where it says running and no process owns it, its process died without a word: it is recorded as failed, or as what
    `then` says, with the reason.
    """
    if record.status() is None:
        return "not started"
    try:
        with lock_of(record).acquire(blocking=False):
            status = record.status() or {}
            if status.get("state") in ("running", "lost"):
                kept = {key: status.get(key) for key in ("attempt", "epoch", "step")}
                record.write_status(**kept, state=then, error=reason)
                return then
            return str(status.get("state"))
    except Timeout:
        return "running"


def is_stale(record: Record, code: dict[str, str], reuse: str) -> bool:
    """Whether what is there must not be used: other code trained it, or finished runs are not wanted."""
    status = record.status()
    if reuse == "none" and status is not None and status.get("state") in ("finished", "diverged"):
        return True
    changed = changed_modules(record, code)
    if not changed or reuse == "any":
        return False
    log.warning("%s: stale, since %s changed; it is trained again", record.run_id, ", ".join(changed))
    return True


def set_aside(record: Record) -> None:
    """Move a run's directory to <output_dir>/stale/, where nothing counts it."""
    stale = record.folder.parent.parent / "stale"
    stale.mkdir(exist_ok=True)
    number = 1 + max((int(path.suffix[1:]) for path in stale.glob(f"{record.run_id}.*")), default=0)
    shutil.move(record.folder, stale / f"{record.run_id}.{number}")


def found_finished(record: Record, config: Config) -> float:
    """Say that the run is finished, and read its curve as this config asks."""
    reread(record, config)
    result = record.result() or {}
    log.info("%s: finished already, %s", record.run_id, summary_of(result))
    return float(result["best_val_acc"])


def reread(record: Record, config: Config) -> None:
    """Read a finished run's curve as this config asks, which may differ from how it was read before."""
    result, rows = record.result() or {}, record.metrics()
    if len(rows) != result.get("epochs"):
        log.warning("%s: metrics.jsonl is damaged; the result stays as it was recorded", record.run_id)
        return
    reading = convergence(rows, config.convergence_fraction, config.target_acc)
    if any(result.get(key) != value for key, value in reading.items()):
        record.write_result(result | reading)


def summary_of(result: dict[str, Any]) -> str:
    return (
        f"best val_acc {result['best_val_acc']:.4f} in epoch {result['best_epoch']}, test_acc {result['test_acc']:.4f}"
    )


def describe(
    config: Config, effective: dict[str, Any], code: dict[str, str], cached: Cached, model: nn.Module, command: str
) -> dict[str, Any]:
    """What run.json says."""
    parameters = list(model.parameters())
    device = choose_device(config.device)
    val_size = int(config.data.val_size or 0)
    return {
        "run_id": identity.run_id(effective),
        "created": time.time(),
        "command": command,
        "effective": effective,
        "config": asdict(config),
        "code": code,
        "git": git_state(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "hydra-core", "numpy")},
        },
        "host": socket.gethostname(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "device_type": device.type,
        "threads": torch.get_num_threads(),
        "dataset": {
            "fingerprint": effective["data"]["fingerprint"],
            "classes": cached.classes,
            "input_shape": list(cached.input_shape),
            "train": cached.num_train - val_size,
            "val": val_size or cached.num_test,
            "test": cached.num_test,
        },
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def git_state() -> dict[str, Any]:
    """The commit of the program's checkout and whether files differ from it; nothing where it is no checkout.

    A copy of the program for queued jobs says of what it is a copy.
    """
    here = Path(__file__).parent
    if (here / "git.json").exists():
        said: dict[str, Any] = json.loads((here / "git.json").read_text())
        return said

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}

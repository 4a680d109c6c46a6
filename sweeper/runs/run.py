"""A run: find out which it is, own it, and find it finished or make an attempt at it."""

import logging
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import Config, validate
from sweeper.data.cache import Cached, load, prepare, settle_val_size
from sweeper.errors import Diverged, UserError
from sweeper.runs import spec as identity
from sweeper.runs.attempt import Attempt
from sweeper.runs.directory import RunDirectory, convergence
from sweeper.runs.fingerprint import changed_modules, code_fingerprint
from sweeper.runs.provenance import describe
from sweeper.training.build import Choices, build, check, choose_all

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
    choices = choose_all(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    cached = prepare(config.data)
    settle_val_size(config.data, cached)
    effective = identity.effective_config(config, choices, cached.fingerprint)
    record = RunDirectory(Path(config.output_dir) / "runs" / identity.run_id(effective))
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
    choices: Choices,
    cached: Cached,
    record: RunDirectory,
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


def lock_of(record: RunDirectory) -> FileLock:
    """The lock that the process holds that works on the run."""
    folder = record.folder.parent.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / record.run_id)


@contextmanager
def owned(record: RunDirectory) -> Iterator[None]:
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


def state_after(record: RunDirectory, reason: str, then: str = "failed") -> str:
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


def is_stale(record: RunDirectory, code: dict[str, str], reuse: str) -> bool:
    """Whether what is there must not be used: other code trained it, or finished runs are not wanted."""
    status = record.status()
    if reuse == "none" and status is not None and status.get("state") in ("finished", "diverged"):
        return True
    changed = changed_modules(record, code)
    if not changed or reuse == "any":
        return False
    log.warning("%s: stale, since %s changed; it is trained again", record.run_id, ", ".join(changed))
    return True


def set_aside(record: RunDirectory) -> None:
    """Move a run's directory to <output_dir>/stale/, where nothing counts it."""
    stale = record.folder.parent.parent / "stale"
    stale.mkdir(exist_ok=True)
    number = 1 + max((int(path.suffix[1:]) for path in stale.glob(f"{record.run_id}.*")), default=0)
    shutil.move(record.folder, stale / f"{record.run_id}.{number}")


def found_finished(record: RunDirectory, config: Config) -> float:
    """Say that the run is finished, and read its curve as this config asks."""
    reread(record, config)
    result = record.result() or {}
    log.info("%s: finished already, %s", record.run_id, summary_of(result))
    return float(result["best_val_acc"])


def reread(record: RunDirectory, config: Config) -> None:
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

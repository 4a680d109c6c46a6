"""The life of one run: find out which it is, take it over where it stands, train, measure, record."""

import logging
import platform
import shutil
import socket
import subprocess
import sys
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

from sweeper import checkpoint, identity
from sweeper.build import Built, build
from sweeper.config import Config, validate
from sweeper.console import Console, log_to
from sweeper.data import Dataset, load, prepare
from sweeper.errors import Diverged, Stopped, UserError
from sweeper.events import Events
from sweeper.loop import Progress, Row, confusion, evaluate, fit
from sweeper.record import Record, convergence
from sweeper.signals import StopFlag

log = logging.getLogger(__name__)

HEARTBEAT = 10.0  # seconds


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
    effective = identity.effective_config(config, choices, cached.fingerprint)
    record = Record(Path(config.output_dir) / "runs" / identity.run_id(effective))
    code = identity.code_fingerprint()
    with owned(record):
        if record.folder.exists() and is_stale(record, code, config.sweep.reuse):
            set_aside(record)
        status = record.status() or {"state": "new", "attempt": 0}
        result = record.result()
        if status["state"] == "finished" and result is not None:
            return found_finished(record, result, config)
        if status["state"] == "diverged":
            raise Diverged(f"{record.run_id} diverged before: {status['error']}")
        dataset = load(cached)
        built = build(config, choices, dataset)
        record.create(describe(config, effective, code, dataset, built, command), hydra_files)
        return live(config, record, built, dataset, attempt=status["attempt"] + 1)


@contextmanager
def owned(record: Record) -> Iterator[None]:
    """Be the only process that works on the run; wait while another does. The system frees a dead owner's lock."""
    folder = record.folder.parent.parent / ".locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / record.run_id)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("%s: another process is training it; waiting", record.run_id)
            lock.acquire()
    except OSError as error:
        raise UserError(f"output_dir={folder.parent} cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()


def is_stale(record: Record, code: dict[str, str], reuse: str) -> bool:
    """Whether what is there must not be used: other code trained it, or finished runs are not wanted."""
    status = record.status()
    if reuse == "none" and status is not None and status["state"] == "finished":
        return True
    before = (record.run() or {}).get("code", code)
    changed = sorted(name for name in before.keys() | code.keys() if before.get(name) != code.get(name))
    if not changed or reuse == "any":
        return False
    log.warning("%s: stale, since %s changed; it is trained again", record.run_id, ", ".join(changed))
    return True


def set_aside(record: Record) -> None:
    """Move a run's directory to <output_dir>/stale/, where nothing counts it."""
    stale = record.folder.parent.parent / "stale"
    stale.mkdir(exist_ok=True)
    number = sum(1 for _ in stale.glob(f"{record.run_id}.*")) + 1
    shutil.move(record.folder, stale / f"{record.run_id}.{number}")


def found_finished(record: Record, result: dict[str, Any], config: Config) -> float:
    """Say that the run is finished, and read its curve as this config asks."""
    reading = convergence(record.metrics(), config.convergence_fraction, config.target_acc)
    if any(result[key] != value for key, value in reading.items()):
        record.write_result(result | reading)
    log.info("%s: finished already, %s", record.run_id, summary_of(result))
    return float(result["best_val_acc"])


def summary_of(result: dict[str, Any]) -> str:
    return (
        f"best val_acc {result['best_val_acc']:.4f} in epoch {result['best_epoch']}, test_acc {result['test_acc']:.4f}"
    )


def describe(
    config: Config, effective: dict[str, Any], code: dict[str, str], dataset: Dataset, built: Built, command: str
) -> dict[str, Any]:
    """What run.json says."""
    parameters = list(built.training.model.parameters())
    device = built.normalise.mean.device
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
            "classes": dataset.classes,
            "input_shape": list(dataset.input_shape),
            "train": len(built.train.indices),
            "val": len(built.val[1]),
            "test": len(built.test),
        },
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def git_state() -> dict[str, Any]:
    """The commit of the program's checkout and whether files differ from it; nothing where it is no checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def live(config: Config, record: Record, built: Built, dataset: Dataset, *, attempt: int) -> float:
    """Train from where the run stands to its result, keeping its status true whatever happens."""
    progress = Progress()

    def status(state: str, error: str | None = None) -> None:
        record.write_status(state=state, attempt=attempt, epoch=progress.epoch, step=progress.batch, error=error)

    with log_to(record.folder / "train.log"), StopFlag() as stop:
        progress = resume(record, built)
        status("running")
        try:
            train(config, record, built, progress, stop, status)
            result = measure(config, record, built, dataset, progress)
        except (Stopped, KeyboardInterrupt):
            status("interrupted")
            log.info("%s: interrupted in epoch %d; the same command goes on", record.run_id, progress.epoch)
            sys.exit(128 + (stop.signum or 0))
        except Diverged as error:
            status("diverged", str(error))
            raise Diverged(f"{record.run_id} diverged: {error}") from error
        except BaseException:
            status("failed", traceback.format_exc())
            raise
        status("finished")
    (record.checkpoints / "previous.pt").unlink(missing_ok=True)
    log.info("%s: finished, %s", record.run_id, summary_of(result))
    return float(result["best_val_acc"])


def resume(record: Record, built: Built) -> Progress:
    """Go on from the newest whole checkpoint, with records and best.pt brought into line; without one, begin."""
    for path in (record.last, record.checkpoints / "previous.pt"):
        try:
            saved = checkpoint.load(path)
        except FileNotFoundError:
            continue
        except checkpoint.Damaged as error:
            log.warning("%s; going on from the one before it", error)
            continue
        epochs_done = [row["epoch"] for row in saved["progress"]["rows"]]
        best = Progress(**saved["progress"]).best
        if best is not None and not holds_best(record, best):
            if best["epoch"] != epochs_done[-1] or saved["progress"]["batch"] > 0:
                log.warning("%s does not hold epoch %d; starting again", record.best, best["epoch"])
                break
            save_best(record, saved["model"], best)
        progress = checkpoint.restore(saved, built.training.model, built.training.optimizer)
        record.write_metrics(progress.rows)
        log.info("%s: going on in epoch %d after step %d", record.run_id, progress.epoch, progress.batch)
        return progress
    for left_over in record.checkpoints.glob("*"):
        left_over.unlink()
    record.write_metrics([])
    log.info("%s: starting, %s", record.run_id, describe_size(built))
    return Progress()


def describe_size(built: Built) -> str:
    parameters = sum(parameter.numel() for parameter in built.training.model.parameters())
    return f"{len(built.train.indices):,} training images, {parameters:,} parameters"


def holds_best(record: Record, best: Row) -> bool:
    try:
        return bool(checkpoint.load(record.best)["epoch"] == best["epoch"])
    except (FileNotFoundError, checkpoint.Damaged):
        return False


def save_best(record: Record, model_state: dict[str, Any], best: Row) -> None:
    content = {"format": checkpoint.FORMAT, "run_id": record.run_id, "model": model_state}
    checkpoint.save(record.best, content | {"epoch": best["epoch"], "val_acc": best["val_acc"]})


def train(config: Config, record: Record, built: Built, progress: Progress, stop: StopFlag, status: Any) -> None:
    """Fit, with a checkpoint after every epoch, at every signal and every few minutes."""
    model, optimizer = built.training.model, built.training.optimizer
    last_save = last_beat = time.monotonic()
    events: list[Events] = []  # opened at the first row: importing TensorBoard can wait until training runs

    def save() -> None:
        nonlocal last_save
        state = checkpoint.capture(record.run_id, model, optimizer, progress)
        checkpoint.save(record.last, state, keep_previous=True)
        last_save = time.monotonic()

    def after_step() -> None:
        nonlocal last_beat
        now = time.monotonic()
        if stop.signum is not None:
            save()
            raise Stopped
        if now - last_save > 60 * config.checkpoint_minutes:
            save()
        if now - last_beat > HEARTBEAT:
            last_beat = now
            status("running")
        console.step(progress)

    def after_epoch(row: Row) -> None:
        save()
        if progress.best is row:
            save_best(record, model.state_dict(), row)
        record.write_metrics(progress.rows)
        status("running")
        if not events:
            events.append(Events(record.folder / "tensorboard", created, progress.rows[:-1]))
        events[0].write(row)
        console.epoch(row)

    run_json = record.run() or {}
    created = run_json["created"]
    with Console(record.run_id, config.epochs, len(built.train)) as console:
        fit(
            built.training,
            built.train,
            built.val_batches,
            progress,
            epochs=config.epochs,
            patience=config.patience,
            after_step=after_step,
            after_epoch=after_epoch,
        )


def measure(config: Config, record: Record, built: Built, dataset: Dataset, progress: Progress) -> dict[str, Any]:
    """Look at the test images, once, with the weights of the best epoch, and write the result."""
    best, rows = progress.best, progress.rows
    assert best is not None
    checkpoint.load_model(checkpoint.load(record.best), built.training.model)
    test_loss, test_acc, predictions = evaluate(built.training.model, built.test_batches())
    result = {
        "best_val_acc": best["val_acc"],
        "best_epoch": best["epoch"],
        "test_acc": test_acc,
        "test_loss": test_loss,
        **convergence(rows, config.convergence_fraction, config.target_acc),
        "epochs": len(rows),
        "train_seconds": sum(row["train_seconds"] for row in rows),
        "eval_seconds": sum(row["eval_seconds"] for row in rows),
        "confusion": confusion(built.test.labels, predictions, len(dataset.classes)).tolist(),
    }
    record.write_result(result)
    return result

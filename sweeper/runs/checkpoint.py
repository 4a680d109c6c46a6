"""Save and restore everything that a run needs to go on exactly where it stood.

A checkpoint is torch's zip file of tensors and plain values, followed by the SHA-256 of it, which torch.load does not
mind. It is written beside its place, synced and renamed, and the one before it is kept, so that a valid one always
exists.
"""

import hashlib
import io
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sweeper.errors import UserError
from sweeper.training.loop import Progress

FORMAT = 1
DIGEST = 32  # bytes of a SHA-256
Checkpoint = dict[str, Any]


class Damaged(Exception):
    """The file is not a whole checkpoint."""


def capture(run_id: str, model: nn.Module, optimizer: Optimizer, progress: Progress) -> Checkpoint:
    """Everything at this moment. The tensors are the live ones: save before the next step."""
    on_gpu = next(model.parameters()).is_cuda
    return {
        "format": FORMAT,
        "run_id": run_id,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
        "generators": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if on_gpu else None},
    }


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Put model, optimizer and generators back and return the progress.

    Raises:
        UserError: the checkpoint belongs to another model.
    """
    load_model(checkpoint, model)
    optimizer.load_state_dict(checkpoint["optimizer"])
    torch.set_rng_state(checkpoint["generators"]["cpu"])
    if checkpoint["generators"]["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(checkpoint["generators"]["cuda"])
    return Progress(**checkpoint["progress"])


def load_model(checkpoint: Checkpoint, model: nn.Module) -> None:
    try:
        model.load_state_dict(checkpoint["model"])
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the checkpoint of {checkpoint.get('run_id', 'another run')} does not fit this model"
        ) from error


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically; what was there stays as previous_<name>."""
    partial = path.with_suffix(".partial")
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    try:
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous(path))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_name(f"previous_{path.name}")


def load(path: Path, run_id: str | None = None) -> Checkpoint:
    """Read a checkpoint, tensors and plain values only.

    Args:
        path: the file.
        run_id: the run that it must belong to, if any.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is cut off, a byte is wrong, or it was never a checkpoint.
        UserError: it was written by something else, belongs to another run, or holds objects that could run code.
    """
    content = path.read_bytes()
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        if is_whole_zip(content):
            raise UserError(f"{path} was not written by this program and is not loaded; delete it")
        raise Damaged(f"{path} is damaged: its checksum is wrong")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except RuntimeError as error:
        raise Damaged(f"{path} is damaged: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and its like
        raise UserError(f"{path} holds more than tensors and plain values and is not loaded; delete it") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program (format {FORMAT}); delete it")
    if run_id is not None and checkpoint.get("run_id") != run_id:
        raise UserError(f"{path} is a checkpoint of {checkpoint.get('run_id')}, not of {run_id}; delete it")
    return checkpoint


def is_whole_zip(content: bytes) -> bool:
    """Whether these are a zip file whose entries have their checksums: if so, it is foreign and not damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged one can raise anything
        return False

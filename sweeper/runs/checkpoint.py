"""Save and restore the state of a run, so that it resumes exactly.

A checkpoint is torch's zip file of tensors and plain values, followed by its SHA-256, which torch.load ignores. It is
written to a temporary name, synced and renamed, and the previous checkpoint is kept, so that a valid one always exists.
"""

import errno
import hashlib
import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sweeper.errors import UserError
from sweeper.files import writing
from sweeper.training.state import TrainState

FORMAT = 2
DIGEST = 32  # bytes of a SHA-256
Checkpoint = dict[str, Any]


class Damaged(Exception):
    """The file is not a complete checkpoint."""


def capture(run_id: str, state: TrainState) -> Checkpoint:
    """Return a checkpoint of the current state. It shares tensors with the live state: save it before the next step."""
    return {"format": FORMAT, "run_id": run_id, "state": state.state_dict()}


def restore(checkpoint: Checkpoint, state: TrainState) -> None:
    """Restore a run's state, with torch's generators.

    Raises:
        UserError: the checkpoint belongs to another model.
    """
    try:
        state.load_state_dict(checkpoint["state"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise misfit(checkpoint) from error


def load_weights(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Load the weights of a best.pt.

    Raises:
        UserError: the checkpoint belongs to another model.
    """
    try:
        model.load_state_dict(checkpoint["model"])
    except (RuntimeError, KeyError) as error:
        raise misfit(checkpoint) from error


def misfit(checkpoint: Checkpoint) -> UserError:
    return UserError(f"the checkpoint of {checkpoint.get('run_id', 'another run')} does not fit this model")


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically, and keep the previous one as previous_<name>.

    Raises:
        WriteError: it cannot be written; the checkpoints before are kept.
    """
    partial = path.with_suffix(".partial")
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    try:
        with writing(path), partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.flush()
            os.fsync(file.fileno())
        with writing(path):
            if path.exists():
                path.replace(previous(path))
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Return the path of the previous checkpoint."""
    return path.with_name(f"previous_{path.name}")


def load(path: Path, run_id: str | None = None) -> Checkpoint:
    """Read a checkpoint, tensors and plain values only.

    Args:
        path: the file.
        run_id: the run that it must belong to, if any.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: it is cut off, a byte is wrong, it was never a checkpoint, or the disk cannot read it.
        UserError: another program wrote it, it belongs to another run, it holds objects that could run code, or this
            user may not read it.
    """
    content = read(path)
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        if is_whole_zip(content) and not is_own(content):
            raise UserError(f"{path} was not written by this program and is not loaded; delete it")
        raise Damaged(f"{path} is damaged: its checksum is wrong")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except RuntimeError as error:
        raise Damaged(f"{path} is damaged: {error}") from error
    except Exception as error:  # such as pickle.UnpicklingError
        raise UserError(
            f"{path} contains objects other than tensors and plain values and is not loaded; delete it"
        ) from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program (format {FORMAT}); delete it")
    if run_id is not None and checkpoint.get("run_id") != run_id:
        raise UserError(f"{path} is a checkpoint of {checkpoint.get('run_id')}, not of {run_id}; delete it")
    return checkpoint


def read(path: Path) -> bytes:
    """Return the file's content.

    Raises:
        FileNotFoundError, Damaged, UserError: see `load`.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EIO, errno.ESTALE):
            raise Damaged(f"{path} is damaged: {error.strerror}") from error
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def is_own(content: bytes) -> bool:
    """Return whether a file without its checksum holds a checkpoint of this program: then it was cut off."""
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # such as pickle.UnpicklingError
        return False
    return isinstance(checkpoint, dict) and checkpoint.get("format") == FORMAT and "run_id" in checkpoint


def is_whole_zip(content: bytes) -> bool:
    """Return whether this is a zip file with valid checksums, hence foreign and not damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged file can raise anything
        return False

"""The states of runs, and the decision to train, resume or skip a run. No torch here: readers start fast."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from filelock import FileLock, Timeout

from sweeper.errors import UserError
from sweeper.files import writing
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import Code, changed_definitions
from sweeper.runs.naming import name_of

log = logging.getLogger(__name__)


class State(StrEnum):
    """The state of a run. status.json has the first six; readers derive the others."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    LOST = "lost"  # status.json has `running`, but the process is gone
    QUEUED = "queued"  # in Slurm's queue
    WAITING = "waiting"  # planned, and not started yet
    UNKNOWN = "unknown"  # its status is missing or unreadable


@dataclass(frozen=True)
class StateProperties:
    """Properties of a state.

    Attributes:
        order: position in lists; states that need attention come first.
        has_ended: it changes only by another attempt.
        is_done: another attempt would give the same result.
        is_terminal: `watch` does not wait for it.
        is_resumable: another attempt continues from the last checkpoint.
        color: rich's style.
    """

    order: int
    has_ended: bool = False
    is_done: bool = False
    is_terminal: bool = False
    is_resumable: bool = False
    color: str = "red"


STATES = {
    State.RUNNING: StateProperties(0, is_resumable=True, color="cyan"),
    State.UNKNOWN: StateProperties(1),
    State.LOST: StateProperties(2, is_resumable=True),
    State.FAILED: StateProperties(3, has_ended=True, is_terminal=True, is_resumable=True),
    State.DIVERGED: StateProperties(4, has_ended=True, is_done=True, is_terminal=True),
    State.CANCELLED: StateProperties(5, has_ended=True, is_terminal=True, is_resumable=True),
    State.INTERRUPTED: StateProperties(6, has_ended=True, is_resumable=True),
    State.QUEUED: StateProperties(7, color="dim"),
    State.WAITING: StateProperties(8, color="dim"),
    State.FINISHED: StateProperties(9, has_ended=True, is_done=True, is_terminal=True, color="green"),
}


LOST = "lost (its process was killed, possibly out of memory)"


class Action(StrEnum):
    """The action for a combination of a sweep or for the run of a command."""

    TRAIN = "train"
    RESUME = "resume"
    SKIP = "skip"
    DUPLICATE = "duplicate"
    EXCLUDED = "excluded"


class Reason(StrEnum):
    """The reason for an action. For a resumed or skipped run, it is the run's state."""

    NEW = "new"
    STALE = "stale"
    DAMAGED = "damaged"
    FORCED = "forced"
    RUNNING = "running"
    LOST = "lost"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Decision:
    """What to do with a run, and why.

    Attributes:
        epoch: the epoch at which training resumes.
        changed: of a stale run, the definitions that changed since it was trained.
    """

    action: Action
    reason: Reason
    epoch: int | None = None
    changed: tuple[str, ...] = ()

    @property
    def starts_over(self) -> bool:
        """Whether the run's directory is archived first."""
        return self.reason in (Reason.STALE, Reason.FORCED)

    @property
    def text(self) -> str:
        if self.action is Action.RESUME:
            reason = LOST if self.reason is Reason.LOST else self.reason.value
            return f"{reason}, resumes at epoch {self.epoch}" if self.epoch else reason
        if self.reason is Reason.STALE:
            return f"stale ({', '.join(self.changed)} changed)"
        return "forced by sweep.reuse=none" if self.reason is Reason.FORCED else self.reason.value


def state_of(record: RunDirectory) -> State:
    """Read a run's state."""
    status = record.status()
    return parse_state((status or {}).get("state"))


def parse_state(text: Any) -> State:
    return (
        State(text) if text in [state.value for state in State] else State.UNKNOWN
    )  # a list, since the text may be any JSON value


def has_owner(record: RunDirectory) -> bool:
    """Return whether a process works on the run: it has the lock.

    Raises:
        UserError: the output folder cannot be written.
    """
    try:
        with locking(record), lock_of(record).acquire(blocking=False):
            return False
    except Timeout:
        return True


def decide(
    record: RunDirectory, code: Code, reuse: str, is_owned: Callable[[RunDirectory], bool] = has_owner
) -> Decision:
    """Decide what to do with a requested run; plans print the decision, and runs obey it.

    Args:
        record: the run's directory, whether or not it exists.
        code: today's code of the run.
        reuse: `same_code` reuses runs of today's code, `any` runs of any code, `none` no run that is
            done, finished or diverged.
        is_owned: whether another process works on the run; a run that says running without one is lost.
    """
    status, run = record.status(), record.run()
    state = parse_state((status or {}).get("state"))
    if state is State.RUNNING and not is_owned(record):
        state = State.LOST
    changed = changed_since(record, run, code)
    if reuse == "none" and STATES[state].is_done:
        return Decision(Action.TRAIN, Reason.FORCED)
    if changed and not (reuse == "any" and run is not None and STATES[state].is_done):
        return Decision(Action.TRAIN, Reason.STALE, changed=tuple(changed))
    if state is State.DIVERGED or (state is State.FINISHED and record.is_finished()):
        return Decision(Action.SKIP, Reason(state.value))
    if status is not None and STATES[state].is_resumable:
        epoch = status.get("epoch")
        return Decision(Action.RESUME, Reason(state.value), epoch if isinstance(epoch, int) else None)
    return Decision(Action.TRAIN, Reason.NEW if status is None else Reason.DAMAGED)


def changed_since(record: RunDirectory, run: dict[str, Any] | None, code: Code) -> list[str]:
    """Name the definitions that changed since a run was created; weights without run.json come from unknown code."""
    if run is None:
        return ["run.json"] if record.last.exists() else []
    return changed_definitions(run.get("code"), code)


def lock_of(record: RunDirectory) -> FileLock:
    """Return the lock that is held by the process that works on the run."""
    folder = record.folder.parent.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / record.run_id)


@contextmanager
def locking(record: RunDirectory) -> Iterator[None]:
    """Name the output folder in an error of the system while a run is locked.

    Raises:
        UserError: the output folder cannot be written.
    """
    try:
        yield
    except Timeout:  # an OSError too
        raise
    except OSError as error:
        raise UserError(f"output_dir={record.folder.parent.parent} cannot be written: {error}") from error


@contextmanager
def run_lock(record: RunDirectory) -> Iterator[None]:
    """Hold the lock of a run; wait while another process holds it. The system releases the lock of a dead process.

    Raises:
        UserError: the output folder cannot be written.
    """
    with locking(record):
        lock = lock_of(record)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("%s: another process is training this run; waiting", name_of(record.run_id).text)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def reconcile_state(record: RunDirectory, reason: str, then: State = State.FAILED) -> State:
    """Return a run's state after its process has ended.

    If status.json has `running` but no process holds the lock, the process died: record `then`, with the reason.

    Raises:
        UserError: the output folder cannot be written.
    """
    if record.status() is None:
        return State.WAITING
    try:
        with locking(record), lock_of(record).acquire(blocking=False):
            state = state_of(record)
            if state in (State.RUNNING, State.LOST):
                record.change_state(then, reason)
                return then
            return state
    except Timeout:
        return State.RUNNING


def archive(record: RunDirectory) -> None:
    """Move a run's directory to <output_dir>/stale/, where nothing counts it.

    Raises:
        WriteError: it cannot be moved.
    """
    stale = record.folder.parent.parent / "stale"
    with writing(stale):
        stale.mkdir(exist_ok=True)
    numbers = [path.suffix[1:] for path in stale.glob(f"{record.run_id}.*")]
    number = 1 + max((int(number) for number in numbers if number.isdigit()), default=0)
    with writing(record.folder):
        shutil.move(record.folder, stale / f"{record.run_id}.{number}")

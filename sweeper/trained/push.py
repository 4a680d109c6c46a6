"""Send finished runs to a tracker: what is sent of a run, and what is sent only once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from sweeper.display import progress
from sweeper.errors import UserError
from sweeper.files import number
from sweeper.runs.directory import RunDirectory, flat_settings
from sweeper.runs.states import State
from sweeper.summary.report import render
from sweeper.summary.table import read_runs, where
from sweeper.sweep.saved import ids_of

FILES = ("run.json", "result.json")  # sent as they are: versions, machine, commit; confusion matrix


@dataclass(frozen=True)
class Content:
    """What is sent of a run.

    Attributes:
        started: seconds since 1970.
        command: the command that repeats it.
        settings: its effective config under dotted names.
        rows: `epoch` and metrics of each epoch.
        results: measures of the best epoch; `total_train_seconds` and `total_eval_seconds` of all epochs.
        files: files to attach.
    """

    started: float
    command: str
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    results: Mapping[str, float]
    files: Sequence[Path]


@dataclass(frozen=True)
class Item:
    """A finished run.

    Attributes:
        record: its directory.
        digest: of its records; another one where the run was trained again.
        weights: best.pt, to attach as well; None where it is not asked for.
    """

    record: RunDirectory
    digest: str
    weights: Path | None

    @property
    def key(self) -> str:
        return self.record.run_id

    def read(self) -> Content:
        run, result, rows = self.record.run() or {}, self.record.result() or {}, self.record.metrics()
        numbers = [numbers_of(row) for row in rows if is_epoch(row)]
        curves = set().union(*numbers)
        return Content(
            started=number(run.get("created")) or 0.0,
            command=str(run.get("command", "")),
            settings=flat_settings(run["effective"]),
            rows=numbers,
            results={
                f"total_{name}" if name in curves else name: value
                for name, value in numbers_of(result).items()
                if name != "schema"
            },
            files=[self.record.folder / name for name in FILES],
        )


@dataclass(frozen=True)
class Report:
    """A report of runs, as an HTML page.

    Attributes:
        key: the same for the same selection of runs.
        name: what it is a report of, for people.
        digest: of the page.
    """

    key: str
    name: str
    digest: str
    page: str


@dataclass(frozen=True)
class Sent:
    """What a tracker has of a run or of a report: the digest, and whether with weights."""

    digest: str
    has_weights: bool = False


class Tracker(Protocol):
    """Where runs are sent."""

    def sent(self) -> Mapping[str, Sent]:
        """Return what is there, by run ID or a report's key. What was sent only partly is not there."""

    def send(self, item: Item) -> None:
        """Add a run, in place of what is there of it."""

    def send_report(self, report: Report) -> None:
        """Add a report, in place of what is there of it."""


def require_package(tracker: str, package: str) -> None:
    """Check that a tracker's package is installed; a folder of that name in the working directory is none.

    Raises:
        UserError: it is not.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"push {tracker} needs {package}: pip install -e '.[tracking]' in the program's folder")


def push(
    output_dir: Path,
    sweep: str | None,
    conditions: Sequence[str],
    open_tracker: Callable[[], Tracker],
    *,
    weights: bool,
) -> str:
    """Send the finished runs of a selection and their report.

    Args:
        output_dir: the folder that has runs/.
        sweep: name of a sweep; None for all runs.
        conditions: COLUMN=VALUE that runs meet.
        open_tracker: called when the selection is known to be right.
        weights: whether best.pt is sent.

    Returns:
        What was sent, what was there before, and what was left out.

    Raises:
        UserError: the selection is wrong, no run of it is finished, weights are missing, or the tracker fails.
    """
    frame, _ = read_runs(output_dir, ids_of(output_dir, sweep))
    frame = where(frame, conditions)
    states = Counter[str]()
    items: list[Item] = []
    for run_id, state in zip(frame["run_id"].tolist(), frame["state"].tolist(), strict=True):
        item = find_item(RunDirectory(output_dir / "runs" / str(run_id)), weights) if state == State.FINISHED else None
        if item is None:
            states["damaged" if state == State.FINISHED else str(state)] += 1
        else:
            items.append(item)
    if not items:
        raise UserError(f"no run of this selection is finished{left_out(states)}")
    report = make_report(output_dir, sweep, conditions)
    with turn(output_dir):
        tracker = open_tracker()
        there = tracker.sent()
        new = [item for item in items if not is_there(item, there)]
        with progress("sending runs", len(new)) as advance:
            for item in new:
                tracker.send(item)
                advance(1)
        is_new = not is_there(report, there)
        if is_new:
            tracker.send_report(report)
    sent = f"sent: {count(len(new))}{' and the report' if is_new else ''}"
    known = len(items) - len(new)
    return f"{sent}{f'; already there: {count(known)}' if known else ''}{left_out(states)}"


@contextmanager
def turn(output_dir: Path) -> Iterator[None]:
    """Wait while another process sends runs of this folder: it would not know what this one sends.

    A folder that cannot be written is not locked.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            locks = output_dir / ".locks"
            locks.mkdir(exist_ok=True)
            stack.enter_context(FileLock(locks / "push"))
        yield


def is_there(item: Item | Report, there: Mapping[str, Sent]) -> bool:
    """Return whether a tracker has all of a run or of a report."""
    found = there.get(item.key)
    if found is None or found.digest != item.digest:
        return False
    return found.has_weights or not isinstance(item, Item) or item.weights is None


def count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"


def left_out(states: Mapping[str, int]) -> str:
    """Return the end of a sentence that counts runs by their state."""
    found = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"; left out: {found}" if found else ""


def find_item(record: RunDirectory, weights: bool) -> Item | None:
    """Return a finished run as it is sent; None where its records are damaged.

    Raises:
        UserError: its weights are asked for and missing.
    """
    run = record.run() or {}
    is_whole = isinstance(run.get("effective"), dict) and record.result() is not None
    if not is_whole or not any(map(is_epoch, record.metrics())):
        return None
    if weights and not record.best.is_file():
        raise UserError(f"{record.best} is missing: push without --weights, or leave the run out with --where")
    digest = digest_of(*[(record.folder / name).read_bytes() for name in FILES])
    return Item(record, digest, record.best if weights else None)


def is_epoch(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("epoch"), int)


def numbers_of(content: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a record."""
    found = {name: number(value) for name, value in content.items()}
    return {name: value for name, value in found.items() if value is not None}


def make_report(output_dir: Path, sweep: str | None, conditions: Sequence[str]) -> Report:
    page = render(output_dir, sweep, None, conditions)
    name = f"report of {sweep or 'all runs'}{''.join(f', {condition}' for condition in conditions)}"
    key = digest_of(json.dumps([sweep, sorted(conditions)]).encode())
    return Report(f"report-{key}", name, digest_of(page.encode()), page)


def digest_of(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]

"""What displays call a run: in a sweep what was swept and the end of its ID, the same in log, `watch` and tables."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sweeper.errors import UserError

ID_DIGITS = 10  # the digits at the end of a run ID, which commands take in place of all of it


@dataclass(frozen=True)
class RunName:
    """The name of a run in displays.

    Attributes:
        text: its ID, or what was swept and the end of its ID.
        position: in the sweep that this process trains, such as `2 of 5`; empty in a single run.
        in_table: whether the process that launched it shows it in a live table, so that it prints failures only.
    """

    text: str
    position: str = ""
    in_table: bool = False

    @property
    def titled(self) -> str:
        return f"{self.position}  {self.text}" if self.position else self.text

    @property
    def level(self) -> int:
        """The level at which what happens to the run is logged."""
        return logging.DEBUG if self.in_table else logging.INFO

    def detail(self, verbose: bool) -> int:
        """Return the level at which the steps of an ordinary run are logged, such as its start."""
        return logging.INFO if verbose or not self.position else logging.DEBUG


# Of the runs that the sweep has planned, by run ID; empty in a single run.
NAMES: ContextVar[Mapping[str, RunName]] = ContextVar("NAMES", default={})  # noqa: B039  never changed in place


def name_of(run_id: str) -> RunName:
    """Return the name of a run in this process; its ID in a single run."""
    return NAMES.get().get(run_id, RunName(run_id))


def check_planned(run_id: str) -> None:
    """Check that this run is one that the sweep has planned; any run may be trained by itself.

    Raises:
        UserError: it is not, since what determines a run has changed meanwhile.
    """
    planned = NAMES.get()
    if planned and run_id not in planned:
        raise UserError(
            f"this is now the run {run_id}, which the sweep has not planned: its configuration files, its images or "
            "its weights have changed since; rerun the command to plan it again"
        )


@contextmanager
def named(names: Mapping[str, RunName]) -> Iterator[None]:
    """Let displays call runs by these names, given by run ID."""
    token = NAMES.set(names)
    try:
        yield
    finally:
        NAMES.reset(token)


@dataclass(frozen=True)
class NamedTask:
    """A task function of Hydra's for the planned runs of a sweep, in whatever process a launcher calls it."""

    task_function: Callable[[Any], Any]
    names: Mapping[str, RunName]

    def __call__(self, config: Any) -> Any:
        with named(self.names):
            return self.task_function(config)


def short_name(swept: str, run_id: str) -> str:
    """Return what was swept and the end of the run's ID; the whole ID where nothing was swept."""
    return f"{swept} {run_id[-ID_DIGITS:]}" if swept else run_id


def positioned(names: Mapping[str, str], run_ids: Sequence[str]) -> dict[str, RunName]:
    """Return the names of runs that are trained in this order."""
    total = len(run_ids)
    return {
        run_id: RunName(names.get(run_id, run_id), f"{number} of {total}") for number, run_id in enumerate(run_ids, 1)
    }

"""A run as a launcher handles it, on the login node and in its job."""

from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from sweeper.runs.directory import RunDirectory
from sweeper.runs.naming import RunName
from sweeper.runs.scores import best_val_of
from sweeper.runs.states import State, parse_state


@dataclass
class Task:
    """A run to launch.

    Attributes:
        key: its run id, or an arbitrary name under a sweeper that has no run ids.
        number: `hydra.job.num`.
        record: None where the run id is unknown.
        heartbeat: the last heartbeat in the record before the launch.
        name: of a planned run.
    """

    key: str
    number: int
    overrides: list[str]
    record: RunDirectory | None = None
    heartbeat: float | None = None
    name: RunName | None = None

    def status(self) -> dict[str, Any]:
        """Read the record's status if it was written since the launch, else return an empty dict."""
        status = (self.record.status() if self.record is not None else None) or {}
        return status if status.get("heartbeat") != self.heartbeat else {}

    @property
    def state(self) -> State:
        """The recorded state, UNKNOWN until a state is recorded."""
        return parse_state(self.status().get("state"))

    def ended(self) -> JobReturn | None:
        """Return the run's result if its record shows that it has ended since the launch, else None."""
        state, result = self.state, self.record.result() if self.record is not None else None
        if state is State.FINISHED and result is not None:
            return JobReturn(self.overrides, status=JobStatus.COMPLETED, _return_value=best_val_of(result))
        return self.failed(self.status().get("error")) if state in (State.FAILED, State.DIVERGED) else None

    def failed(self, reason: Any) -> JobReturn:
        return JobReturn(self.overrides, status=JobStatus.FAILED, _return_value=RuntimeError(str(reason)))

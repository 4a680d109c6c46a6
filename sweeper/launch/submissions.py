"""The submissions of a sweep, recorded next to its plan: the job of each run."""

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.files import read_json, write_json
from sweeper.launch.slurm import Job, cancel, queue
from sweeper.sweep.saved import JOBS


@dataclass(frozen=True)
class JobLocation:
    """The job that a run is in.

    Attributes:
        job: the ID of the job, as in `queue`.
        index: position of the run in the job's pack.
        token: the token of the submission.
    """

    job: str
    index: int
    token: str


@dataclass
class Submission:
    """A job array, or a single job.

    Attributes:
        token: its comment in Slurm, which identifies it if the command was killed before recording the ID.
        packs: the run ids of each element.
        job: its id; None while it is being submitted.
        made: time of the submission, in seconds since 1970.
    """

    token: str
    packs: list[list[str]]
    job: str | None = None
    made: float = field(default_factory=time.time)

    def locations(self) -> Iterator[tuple[str, JobLocation]]:
        """Yield each run id with its location."""
        for element, pack in enumerate(self.packs):
            job = f"{self.job}_{element}" if len(self.packs) > 1 else str(self.job)
            yield from ((run_id, JobLocation(job, index, self.token)) for index, run_id in enumerate(pack))


class Submissions:
    """The submissions of a sweep that have jobs in the queue.

    Args:
        folder: the sweep's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / JOBS
        recorded = [Submission(**fields) for fields in (read_json(self.file) or {}).get("submissions", [])]
        jobs = queue() if recorded else {}
        self.active = [submission for submission in recorded if is_active(submission, jobs)]
        located = (pair for submission in self.active for pair in submission.locations())
        self.locations = {run_id: at for run_id, at in located if at.job in jobs and jobs[at.job].is_active}

    def write(self) -> None:
        write_json(self.file, {"submissions": [vars(submission) for submission in self.active]})

    def add(self, submission: Submission) -> None:
        """Record a submission: before it is handed to Slurm, and again when its id is known."""
        if submission not in self.active:
            self.active.append(submission)
        self.write()
        if submission.job is not None:
            self.locations |= dict(submission.locations())

    def cancel(self, submissions: Sequence[Submission]) -> None:
        """Cancel and drop submissions. Slurm may have rejected the last, or accepted it without reporting its id.

        Raises:
            UserError: Slurm does not respond; nothing is dropped.
        """
        tokens = {submission.token for submission in submissions}
        cancel({job_id.partition("_")[0] for job_id, job in queue().items() if job.comment in tokens})
        self.drop(tokens)

    def drop(self, tokens: Container[str]) -> None:
        """Remove submissions from the record; their jobs are left alone."""
        self.active = [submission for submission in self.active if submission.token not in tokens]
        self.write()
        self.locations = {run_id: at for run_id, at in self.locations.items() if at.token not in tokens}

    def drop_all_of(self, run_ids: set[str]) -> None:
        """Drop the submissions that contain only these runs."""
        self.drop({each.token for each in self.active if all(run_ids.issuperset(pack) for pack in each.packs)})

    def cancel_where(self, is_useless: Callable[[JobLocation], bool]) -> None:
        """Cancel jobs and remove their runs' locations, so that the runs can be submitted again."""
        useless = {run_id: at for run_id, at in self.locations.items() if is_useless(at)}
        cancel({at.job for at in useless.values()})
        self.locations = {run_id: at for run_id, at in self.locations.items() if run_id not in useless}


def is_active(submission: Submission, jobs: dict[str, Job]) -> bool:
    """Return whether any element of a submission is active; set the submission's job id where it is missing."""
    ids = [job_id for job_id, job in jobs.items() if job.comment == submission.token and job.is_active]
    if ids and submission.job is None:
        submission.job = ids[0].partition("_")[0]
    return bool(ids)

"""Slurm as a sweep sees it: what it has of this user, what was submitted for which runs, and the code for the jobs."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sweeper
from sweeper.errors import UserError, format_names
from sweeper.files import read_json, write_json
from sweeper.sweep.saved import JOBS

# States in which a job is over, see squeue(1); in any other it goes on, or will.
OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
)
# Reasons of pending jobs that waiting does not change.
NEVER = (
    *("PartitionTimeLimit", "PartitionConfig", "BadConstraints", "DependencyNeverSatisfied"),
    *("AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS"),
    *("QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit"),
)


@dataclass
class Job:
    """A job, or one element of an array, in Slurm's words."""

    state: str
    reason: str
    partition: str
    comment: str

    @property
    def is_alive(self) -> bool:
        return self.state not in OVER

    @property
    def never_starts(self) -> bool:
        """Whether Slurm says so. Where it has several partitions to choose from, the reason is one partition's."""
        has_choice = "," in self.partition and self.reason.startswith("Partition")
        return self.state == "PENDING" and self.reason in NEVER and not has_choice

    @property
    def is_held(self) -> bool:
        return self.state == "PENDING" and "held" in self.reason.lower()


def call(*command: str) -> str:
    """A Slurm command's output.

    Raises:
        UserError: it is not installed, or it complains.
    """
    if shutil.which(command[0]) is None:
        raise UserError(
            f"hydra/launcher=slurm needs Slurm's commands, and there is no {command[0]} on this machine; start the "
            "sweep on a cluster's login node, or choose hydra/launcher=parallel"
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"Slurm: {complaint(done.stderr)}")
    return done.stdout


def complaint(stderr: str) -> str:
    """What is essential in what a Slurm command printed as its errors."""
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in said if re.match(r"\w+: (error|fatal): ", line)]
    telling = [line for line in errors if "Batch job submission failed" not in line] or errors or said
    less = [re.sub(r"^\w+: (error|fatal): (Batch job submission failed: )?", "", line) for line in telling]
    return "; ".join(dict.fromkeys(less))


def queue() -> dict[str, Job]:
    """Every job of this user that Slurm knows, those included that ended a while ago, by id: 12 or, in an array, 12_3.

    Raises:
        UserError: Slurm does not answer.
    """
    lines = call(
        "squeue", "--user", str(os.getuid()), "--array", "--states=all", "--noheader", "--format=%i|%T|%r|%P|%k"
    ).splitlines()
    rows = (line.split("|", 4) for line in lines if line.count("|") >= 4)  # not what follows a line break in a comment
    return {job_id: Job(*words) for job_id, *words in rows}


def accounted(job_id: str) -> str | None:
    """The state that a job ended in, from Slurm's accounting where there is one: also long after its end."""
    if shutil.which("sacct") is None:
        return None
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=State", "--jobs", job_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.split() if done.returncode == 0 else []
    return said[0] if said and said[0] in OVER else None  # accounts may lag behind


def state_of(job_id: str) -> str | None:
    """This job's state, asked from within it when it is told to end; None where Slurm does not answer.

    Slurm calls a job completing then, whatever comes next; if that is another start, it has counted it already.
    """
    done = subprocess.run(["scontrol", "show", "job", job_id], capture_output=True, text=True, check=False)
    found = dict(re.findall(r"\b(JobState|Restarts|Reason|PreemptTime)=(\w+)", done.stdout))
    if found.get("JobState") == "COMPLETING" and found.get("Restarts") == os.environ.get("SLURM_RESTART_COUNT", "0"):
        if found.get("Reason") == "TimeLimit":
            return "TIMEOUT"
        return "CANCELLED" if found.get("PreemptTime", "None") == "None" else "PREEMPTED"
    return found.get("JobState")


def cancel(job_ids: Iterable[str]) -> None:
    if ids := sorted(job_ids):
        subprocess.run(["scancel", *ids], capture_output=True, check=False)


def max_array_size() -> int:
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1000


def partitions() -> str:
    """The valid choices."""
    return format_names(set(call("sinfo", "--all", "--noheader", "--format=%R").split()))


@dataclass
class Submission:
    """One job array, or one job.

    Attributes:
        token: its comment in Slurm, by which it is found where its id could not be written down any more.
        packs: the run ids of each element.
        job: its id; None while it is being submitted.
        made: when, in seconds since 1970.
    """

    token: str
    packs: list[list[str]]
    job: str | None = None
    made: float = field(default_factory=time.time)

    def places(self) -> Iterator[tuple[str, "Place"]]:
        """Where each run is."""
        for number, pack in enumerate(self.packs):
            element = f"{self.job}_{number}" if len(self.packs) > 1 else str(self.job)
            yield from ((run_id, Place(element, at, self.token)) for at, run_id in enumerate(pack))


@dataclass
class Place:
    """Where a run is in Slurm: the job's id, as of `queue`, the run's number in it, and its submission's token."""

    job: str
    at: int
    token: str


class Submissions:
    """Those of one sweep whose jobs are not over, kept beside its plan.

    Args:
        folder: the sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / JOBS
        kept = (read_json(self.file) or {}).get("submissions", [])
        found = [Submission(**one) for one in kept]
        now = queue() if found else {}
        self.alive = [one for one in found if self.is_alive(one, now)]
        places = (place for one in self.alive for place in one.places())
        self.places = {run_id: place for run_id, place in places if place.job in now and now[place.job].is_alive}

    def is_alive(self, one: Submission, now: dict[str, Job]) -> bool:
        """Whether any of its elements is; finds out its id where that is missing."""
        ids = [job_id for job_id, job in now.items() if job.comment == one.token and job.is_alive]
        if ids and one.job is None:
            one.job = ids[0].partition("_")[0]
        return bool(ids)

    def add(self, submission: Submission) -> None:
        """Write it down: before it is submitted, and again with its id."""
        if submission not in self.alive:
            self.alive.append(submission)
        write_json(self.file, {"submissions": [vars(one) for one in self.alive]})
        if submission.job is not None:
            self.places |= dict(submission.places())

    def withdraw(self, submissions: Sequence[Submission]) -> None:
        """Cancel some, of which Slurm may have refused the last or have it without our knowing its id, and forget them.

        Raises:
            UserError: Slurm does not answer; they are not forgotten.
        """
        tokens = {one.token for one in submissions}
        cancel({job_id.partition("_")[0] for job_id, job in queue().items() if job.comment in tokens})
        self.forget(tokens)

    def forget(self, tokens: Container[str]) -> None:
        """Strike some off the list, whatever Slurm does with them."""
        self.alive = [one for one in self.alive if one.token not in tokens]
        write_json(self.file, {"submissions": [vars(one) for one in self.alive]})
        self.places = {run_id: place for run_id, place in self.places.items() if place.token not in tokens}

    def forget_all_of(self, run_ids: set[str]) -> None:
        """Strike off those that have no other runs than these."""
        self.forget({one.token for one in self.alive if all(run_ids.issuperset(pack) for pack in one.packs)})

    def cancel_if(self, useless: Callable[[Place], bool]) -> None:
        """Cancel jobs and forget that their runs are there."""
        found = {run_id: place for run_id, place in self.places.items() if useless(place)}
        cancel({place.job for place in found.values()})
        self.places = {run_id: place for run_id, place in self.places.items() if run_id not in found}


SNAPSHOT = ("sweeper", "hydra_plugins")


def snapshot(conf: Path, into: Path) -> Path:
    """Copy the program and its configs, so that queued jobs run what was submitted, whatever is edited meanwhile.

    Returns:
        The folder of the copy, named by its content: equal code is kept once.
    """
    from sweeper.runs.provenance import git_state  # imports torch, which the process that manages a pack does without

    program = Path(sweeper.__file__).parent.parent
    sources = {name: program / name for name in SNAPSHOT} | {"conf": conf}
    files = {
        f"{name}/{path.relative_to(source)}": path.read_bytes()
        for name, source in sources.items()
        for path in sorted(source.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".yaml", ".jinja")
    }
    git = json.dumps(git_state())
    digest = hashlib.sha256(repr((sorted(files.items()), git)).encode()).hexdigest()[:10]
    copy = into.resolve() / f"code-{digest}"
    if copy.exists():
        return copy
    partial = copy.with_name(f".{copy.name}.{time.time_ns()}.partial")
    for name, content in files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (partial / "sweeper" / "git.json").write_text(git)
    try:
        partial.rename(copy)
    except OSError:  # another submission made it at the same time
        shutil.rmtree(partial)
    return copy


def newlines(settings: dict[str, Any]) -> Iterator[str]:
    """The settings whose text has a line break, which would end the line of a job script that they are written to."""
    for name, value in settings.items():
        texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else [value]
        if any(re.search(r"[\r\n\0]", str(text)) for text in texts):
            yield name

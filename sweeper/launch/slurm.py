"""Slurm's commands: the queue, the state of a job, the partitions and limits of the cluster."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from sweeper.errors import UserError
from sweeper.launch.slurm_environment import command_environment

# States of a job that has ended, see squeue(1).
TERMINAL_STATES = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
)
# Reasons of pending jobs that do not go away by waiting.
UNSCHEDULABLE = (
    *("PartitionTimeLimit", "PartitionConfig", "BadConstraints", "DependencyNeverSatisfied"),
    *("AccountNotAllowed", "QOSNotAllowed", "InvalidAccount", "InvalidQOS"),
    *("QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit"),
)
NO_CONTROLLER = "Could not establish a configuration source"  # printed on a machine outside any cluster


@dataclass
class Job:
    """A job, or an element of an array, as squeue lists it."""

    state: str
    reason: str
    partition: str
    comment: str

    @property
    def is_active(self) -> bool:
        return self.state not in TERMINAL_STATES

    @property
    def never_starts(self) -> bool:
        """Whether Slurm gives a reason that does not go away by waiting.

        If a job may run in several partitions, the reason is that of only one of them and is ignored.
        """
        has_choice = "," in self.partition and self.reason.startswith("Partition")
        return self.state == "PENDING" and self.reason in UNSCHEDULABLE and not has_choice

    @property
    def is_held(self) -> bool:
        return self.state == "PENDING" and "held" in self.reason.lower()


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a Slurm command, whatever the user's variables for it are."""
    env = command_environment()
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False)


def call(*command: str) -> str:
    """Run a Slurm command and return its output.

    Raises:
        UserError: the command is not installed or fails.
    """
    if shutil.which(command[0]) is None:
        raise UserError(
            f"hydra/launcher=slurm requires Slurm, but {command[0]} is not installed on this machine; "
            "run the sweep on a cluster's login node, or use hydra/launcher=parallel"
        )
    done = run(*command)
    if done.returncode != 0:
        if NO_CONTROLLER in done.stderr:
            raise UserError(
                f"{command[0]} failed: no Slurm controller found ({NO_CONTROLLER}); "
                "run the sweep on a cluster's login node, or use hydra/launcher=parallel"
            )
        raise UserError(f"{command[0]} failed: {parse_error(done.stderr)}")
    return done.stdout


def parse_error(stderr: str) -> str:
    """Extract the messages from a Slurm command's error output, without prefixes and repetitions."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"\w+: (error|fatal): ", line)]
    specific = [line for line in errors if "Batch job submission failed" not in line] or errors or lines
    messages = [re.sub(r"^\w+: (error|fatal): (Batch job submission failed: )?", "", line) for line in specific]
    return "; ".join(dict.fromkeys(messages))


def queue() -> dict[str, Job]:
    """List the jobs of this user, including recently ended jobs, by id: 12, or 12_3 in an array.

    Raises:
        UserError: Slurm does not respond.
    """
    lines = call(
        "squeue", "--user", str(os.getuid()), "--array", "--states=all", "--noheader", "--format=%i|%T|%r|%P|%k"
    ).splitlines()
    rows = (line.split("|", 4) for line in lines if line.count("|") >= 4)  # a comment may have line breaks
    return {job_id: Job(*fields) for job_id, *fields in rows}


def accounted_state(job_id: str) -> str | None:
    """Return the final state of a job from Slurm's accounting, if it has any; also long after the job's end."""
    if shutil.which("sacct") is None:
        return None
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=State", "--jobs", job_id]
    done = run(*command)
    words = done.stdout.split() if done.returncode == 0 else []
    return words[0] if words and words[0] in TERMINAL_STATES else None  # accounting may lag behind


def own_state(job_id: str) -> str | None:
    """Return the state of the job that this process is in, after a stop signal; None where Slurm does not respond.

    Slurm shows a job that is stopping as completing, whether it was cancelled, preempted or requeued. Where it was
    requeued, Slurm has already counted the next start.
    """
    done = run("scontrol", "show", "job", job_id)
    fields = dict(re.findall(r"\b(JobState|Restarts|Reason|PreemptTime)=(\w+)", done.stdout))
    if fields.get("JobState") == "COMPLETING" and fields.get("Restarts") == os.environ.get("SLURM_RESTART_COUNT", "0"):
        if fields.get("Reason") == "TimeLimit":
            return "TIMEOUT"
        return "CANCELLED" if fields.get("PreemptTime", "None") == "None" else "PREEMPTED"
    return fields.get("JobState")


def cancel(job_ids: Iterable[str]) -> None:
    if ids := sorted(job_ids):
        run("scancel", *ids)


def max_array_size() -> int:
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1000


def partitions() -> set[str]:
    return set(call("sinfo", "--all", "--noheader", "--format=%R").split())

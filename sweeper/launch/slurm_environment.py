"""Environment variables that change what Slurm's commands do, hidden from them: the launcher's settings count."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

COMMANDS = ("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_")  # would filter jobs, change columns or ask first
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")  # which cluster
# Variables of sbatch, which overrule the job's script, by the option that the launcher writes there.
OF_OPTION = {
    "array": ("ARRAY_INX",),
    "time": ("TIMELIMIT",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "gpus-per-node": ("GPUS_PER_NODE", "GPUS_PER_TASK", "GPUS", "GRES"),
    "requeue": ("REQUEUE", "NO_REQUEUE"),
    "no-requeue": ("REQUEUE", "NO_REQUEUE"),
}
ALWAYS = ("array", "error", "input", "open-mode", "output", "requeue", "signal", "wait")


def command_environment() -> dict[str, str]:
    """Return the environment of Slurm's commands other than sbatch."""
    return {name: value for name, value in os.environ.items() if not name.startswith(COMMANDS)}


def overruling_variables(parameters: Mapping[str, Any]) -> list[str]:
    """Return the variables that are set and would overrule a job's script.

    Others, such as SBATCH_ACCOUNT where no account is set, are defaults of the user and stay.

    Args:
        parameters: of submitit's executor, see sweeper.launch.slurm_settings.executor_parameters.
    """
    options = {str(name).replace("_", "-") for name in (*parameters, *parameters["additional_parameters"], *ALWAYS)}
    names = [name for option in options for name in OF_OPTION.get(option, (option.upper().replace("-", "_"),))]
    return sorted({f"SBATCH_{name}" for name in names} & os.environ.keys())


@contextmanager
def hidden_from_sbatch(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Hide variables that would overrule the jobs' scripts, and the job that this process may itself be in."""
    names = overruling_variables(parameters)
    if "SLURM_JOB_ID" in os.environ:  # new jobs would inherit its settings
        names += [name for name in os.environ if name.startswith("SLURM_") and name not in KEPT]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ |= hidden

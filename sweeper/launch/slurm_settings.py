"""The settings of hydra/launcher=slurm: their validation, and the sbatch options derived from them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.errors import UserError, format_names
from sweeper.launch.slurm import partitions
from sweeper.launch.worker_envs import thread_limits

Settings = dict[str, Any]  # as in conf/hydra/launcher/slurm.yaml

AT_LEAST_1 = ("minutes", "cpus_per_run", "runs_per_job", "concurrent", "array_parallelism", "signal_seconds")
AT_LEAST_0 = ("gpus_per_run", "max_timeouts")
RESERVED = ("array", "chdir", "comment", "error", "open-mode", "output", "signal")  # options that the launcher sets


def check_settings(settings: Settings) -> None:
    """Raise a UserError where a setting is invalid on this cluster."""
    for names, least in ((AT_LEAST_1, 1), (AT_LEAST_0, 0)):
        for name in names:
            if not isinstance(settings[name], int) or settings[name] < least:
                raise UserError(f"hydra.launcher.{name}={settings[name]} must be an integer >= {least}")
    if not isinstance(settings["setup"], list):
        raise UserError(f"hydra.launcher.setup={settings['setup']} must be a list of shell lines")
    additional = settings["additional_parameters"] or {}
    if not isinstance(additional, dict):
        raise UserError(
            f"hydra.launcher.additional_parameters={additional} must map sbatch options to values: {{constraint: a100}}"
        )
    memory = settings["memory"]
    if memory is not None and not (isinstance(memory, int | float) and memory > 0):
        raise UserError(f"hydra.launcher.memory={memory} must be a number of GiB above 0")
    if broken := list(with_line_breaks(settings)):
        raise UserError(f"hydra.launcher.{broken[0]} contains a line break, not allowed in job scripts")
    if reserved := {sbatch_name(name) for name in additional} & set(RESERVED):
        raise UserError(
            f"hydra.launcher.additional_parameters cannot set {', '.join(sorted(reserved))}: reserved for the launcher"
        )
    valid = partitions()
    if not set(str(settings["partition"] or "").split(",")) - {""} <= valid:
        raise UserError(
            f"hydra.launcher.partition={settings['partition']} does not exist; valid: {format_names(valid)}"
        )


def with_line_breaks(settings: Settings) -> Iterator[str]:
    """Find settings with a line break, which would end their line of the job script."""
    for name, value in settings.items():
        texts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else [value]
        if any(re.search(r"[\r\n\0]", str(text)) for text in texts):
            yield name


def sbatch_name(name: str) -> str:
    return name.replace("_", "-")


def executor_parameters(settings: Settings, token: str, code: Path) -> dict[str, Any]:
    """Return the parameters of submitit's executor.

    Args:
        token: the submission's, which becomes the jobs' comment.
        code: the snapshot that jobs run.
    """
    num_parallel = min(settings["concurrent"], settings["runs_per_job"])
    cores = settings["cpus_per_run"] * num_parallel
    limits = [f"export {name}={value}" for name, value in thread_limits(settings["cpus_per_run"]).items()]
    additional = {sbatch_name(name): value for name, value in (settings["additional_parameters"] or {}).items()}
    optional = {
        "partition": settings["partition"],
        "account": settings["account"],
        "qos": settings["qos"],
        "gpus_per_node": settings["gpus_per_run"] or None,
        "mem": None if settings["memory"] is None else f"{round(1024 * settings['memory'] * num_parallel)}M",
    }
    return {
        **{name: value for name, value in optional.items() if value is not None},
        "job_name": "sweeper",
        "comment": token,
        "time": settings["minutes"],
        "cpus_per_task": cores,
        "setup": [*limits, *settings["setup"]],
        # srun does not always inherit the cores. Python imports from the working directory, which is the snapshot.
        "srun_args": ["--ntasks=1", f"--cpus-per-task={cores}", f"--chdir={code}"],
        "array_parallelism": settings["array_parallelism"],
        "signal_delay_s": min(settings["signal_seconds"], 60 * settings["minutes"] // 4),
        "additional_parameters": ({} if "no-requeue" in additional else {"requeue": True}) | additional,
    }

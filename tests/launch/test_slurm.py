"""How Slurm's answers are read, and settings checked. What a real Slurm makes of them is tested in tests/slurm."""

import os
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from omegaconf import OmegaConf
from processes import REPOSITORY

from sweeper.errors import UserError
from sweeper.launch import slurm_settings
from sweeper.launch.slurm import Job, parse_error, queue
from sweeper.launch.slurm_environment import hidden_from_sbatch
from sweeper.launch.slurm_settings import check_settings, executor_parameters


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("sbatch: error: Batch job submission failed: Invalid qos specification\n", "Invalid qos specification"),
        (
            "sbatch: error: Memory specification can not be satisfied\n"
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            "Memory specification can not be satisfied",
        ),
        ("squeue: error: a\nsqueue: error: a\nsqueue: fatal: b\n", "a; b"),
        ("no prefix\n", "no prefix"),
    ],
)
def test_message_of_a_failed_command(stderr: str, message: str) -> None:
    assert parse_error(stderr) == message


@pytest.mark.parametrize(
    ("job", "properties"),
    [
        (Job("PENDING", "Resources", "gpu", ""), (True, False, False)),
        (Job("PENDING", "PartitionTimeLimit", "gpu", ""), (True, True, False)),
        (Job("PENDING", "PartitionTimeLimit", "gpu,cpu", ""), (True, False, False)),
        (Job("PENDING", "InvalidQOS", "gpu,cpu", ""), (True, True, False)),
        (Job("PENDING", "JobHeldUser", "gpu", ""), (True, False, True)),
        (Job("COMPLETING", "None", "gpu", ""), (True, False, False)),
        (Job("TIMEOUT", "TimeLimit", "gpu", ""), (False, False, False)),
    ],
)
def test_properties_of_a_job(job: Job, properties: tuple[bool, bool, bool]) -> None:
    assert (job.is_active, job.never_starts, job.is_held) == properties


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        (
            "squeue: error: fetch_config: DNS SRV lookup failed\n"
            "squeue: fatal: Could not establish a configuration source\n",
            r"^squeue failed: no Slurm controller found \(Could not establish a configuration source\); "
            "run the sweep on a cluster's login node, or use hydra/launcher=parallel$",
        ),
        (
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
            r"^squeue failed: slurm_load_jobs error: Unable to contact slurm controller \(connect failure\)$",
        ),
    ],
)
def test_an_error_of_a_command_names_it(
    stderr: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\ncat >&2 <<END\n{stderr}END\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match=message):
        queue()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The defaults, on a cluster with two partitions."""
    monkeypatch.setattr(slurm_settings, "partitions", lambda: {"low", "high"})
    file = REPOSITORY / "conf" / "hydra" / "launcher" / "slurm.yaml"
    return {str(key): value for key, value in OmegaConf.to_object(OmegaConf.load(file)).items()}  # type: ignore[union-attr]


def test_defaults_are_valid(settings: dict[str, Any]) -> None:
    check_settings(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("minutes", 0, "hydra.launcher.minutes=0 must be an integer >= 1"),
        ("gpus_per_run", -1, "hydra.launcher.gpus_per_run=-1 must be an integer >= 0"),
        ("setup", "true", "hydra.launcher.setup=true must be a list of shell lines"),
        ("memory", "16G", "hydra.launcher.memory=16G must be a number of GiB above 0"),
        ("account", "a\nb", "hydra.launcher.account contains a line break, not allowed in job scripts"),
        ("additional_parameters", ["a"], r"hydra.launcher.additional_parameters=\['a'\] must map sbatch options"),
        ("additional_parameters", {"open_mode": 1}, "cannot set open-mode: reserved for the launcher"),
        ("partition", "low,hihg", "hydra.launcher.partition=low,hihg does not exist; valid: high, low"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_settings(settings | {name: value})


def test_a_pack_gets_the_resources_of_its_concurrent_runs(settings: dict[str, Any]) -> None:
    packed = settings | {"runs_per_job": 8, "concurrent": 4, "cpus_per_run": 2, "memory": 1.5}
    parameters = executor_parameters(packed, "token", Path("/code"))
    assert (parameters["cpus_per_task"], parameters["mem"]) == (8, "6144M")
    assert "export OMP_NUM_THREADS=2" in parameters["setup"]
    assert parameters["additional_parameters"] == {"requeue": True}
    assert executor_parameters(packed | {"additional_parameters": {"no_requeue": True}}, "", Path())[
        "additional_parameters"
    ] == {"no-requeue": True}


VARIABLES = (
    "PARTITION",
    "ACCOUNT",
    "TIMELIMIT",
    "ARRAY_INX",
    "WAIT",
    "NO_REQUEUE",
    "MEM_PER_CPU",
    "GRES",
    "CONSTRAINT",
)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, {"PARTITION", "ACCOUNT", "MEM_PER_CPU", "CONSTRAINT"}),
        ({"partition": "low", "account": "a"}, {"MEM_PER_CPU", "CONSTRAINT"}),
        ({"memory": 4, "gpus_per_run": 0}, {"PARTITION", "ACCOUNT", "GRES", "CONSTRAINT"}),
        ({"additional_parameters": {"constraint": "a100"}}, {"PARTITION", "ACCOUNT", "MEM_PER_CPU"}),
    ],
)
def test_no_variable_overrules_a_setting(
    changes: dict[str, Any], kept: set[str], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(f"SBATCH_{name}", "x")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "here")
    parameters = executor_parameters(settings | changes, "token", Path())
    before = dict(os.environ)
    with hidden_from_sbatch(parameters):
        assert {name for name in os.environ if name.startswith("SBATCH_")} == {f"SBATCH_{name}" for name in kept}
        assert "SLURM_JOB_ID" not in os.environ and os.environ["SLURM_CONF"] == "here"
    assert dict(os.environ) == before


def test_no_variable_changes_what_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "squeue"
    command.write_text("#!/bin/sh\nprintf '1|%s|a|b|gr\\374\\337e\\n' \"${SQUEUE_PARTITION:-RUNNING}\"\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    assert queue() == {"1": Job("RUNNING", "a", "b", "gr\ufffd\ufffde")}


def test_the_process_that_manages_a_pack_imports_no_torch() -> None:
    code = "import sys, sweeper.launch.slurm_job; print('torch' in sys.modules)"
    done = run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

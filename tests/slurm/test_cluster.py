"""The test cluster behaves as the other tests assume."""

import subprocess
from pathlib import Path

import pytest

from slurm.conftest import Environment, control, describe, slurm, squeue, wait_for

# A step that logs each start and signal and keeps running; srun starts it, as with submitit.
PROBE = """#!/bin/bash
exec srun --quiet bash -c '
trap "echo USR2 >> {log}" USR2
trap "echo TERM >> {log}" TERM
echo start ${{SLURM_RESTART_COUNT:-0}} >> {log}
for tick in {{1..600}}; do sleep 0.1; done'
"""


def submit(env: Environment, folder: Path, script: str, *options: str) -> str:
    """Submit a shell script and return the job's id."""
    path = folder / "job.sh"
    path.write_text(script if script.startswith("#!") else f"#!/bin/bash\n{script}\n")
    return slurm(env, "sbatch", "--parsable", f"--output={folder}/%A_%a.out", *options, str(path))


def has_ended(env: Environment, job: str) -> bool:
    return all(each.id.split("_")[0] != job for each in squeue(env))


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_job_runs(cluster: Environment, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, f"echo hello > {tmp_path}/output")
    wait_for(lambda: has_ended(cluster, job), 20, "the job")
    assert text(tmp_path / "output") == "hello\n"
    assert describe(cluster, job)["JobState"] == "COMPLETED"  # available after its end, without accounting


def test_an_array_has_a_job_per_index(cluster: Environment, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, f"touch {tmp_path}/done.$SLURM_ARRAY_TASK_ID", "--array=0-2")
    wait_for(lambda: has_ended(cluster, job), 20, "the array")
    assert sorted(path.suffix for path in tmp_path.glob("done.*")) == [".0", ".1", ".2"]


def test_a_requeued_job_restarts_soon(cluster: Environment, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = submit(cluster, tmp_path, PROBE.format(log=log))
    wait_for(lambda: text(log) == "start 0\n", 20, "the first start")
    slurm(cluster, "scontrol", "requeue", job)
    wait_for(lambda: text(log).endswith("start 1\n"), 30, "the second start")
    assert describe(cluster, job)["Restarts"] == "1"


def test_a_preempted_job_is_signaled_and_requeued(cluster: Environment, tmp_path: Path) -> None:
    chosen, default = tmp_path / "chosen", tmp_path / "default"
    jobs = [
        submit(cluster, tmp_path, PROBE.format(log=chosen), "--time=10", "--nodelist=n1", "--signal=USR2@90"),
        submit(cluster, tmp_path, PROBE.format(log=default), "--time=10", "--nodelist=n2"),
    ]
    wait_for(lambda: text(chosen) == text(default) == "start 0\n", 20, "the jobs")
    submit(cluster, tmp_path, "sleep 1", "--partition=high", "--nodelist=n1,n2", "--nodes=2", "--exclusive")
    wait_for(lambda: text(chosen).startswith("start 0\nUSR2\n"), 20, "the signal that it requested")
    wait_for(lambda: text(default).startswith("start 0\nTERM\n"), 20, "a signal")
    wait_for(
        lambda: text(chosen).endswith("start 1\n") and text(default).endswith("start 1\n"), 90, "the second starts"
    )
    assert [describe(cluster, job)["Restarts"] for job in jobs] == ["1", "1"]


@pytest.mark.parametrize("option", ["--gres=gpu:1", "--gpus-per-node=1"])
def test_a_job_sees_the_gpus_that_it_requested(cluster: Environment, tmp_path: Path, option: str) -> None:
    job = submit(cluster, tmp_path, f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/gpus", option)
    wait_for(lambda: has_ended(cluster, job), 20, "the job")
    assert text(tmp_path / "gpus") in {"0\n", "1\n"}


def test_accounting_is_off(cluster: Environment) -> None:
    assert subprocess.run(["sacct"], env=cluster, capture_output=True, check=False).returncode != 0


def test_a_job_restarts_on_another_node_when_its_node_dies(cluster: Environment, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = submit(cluster, tmp_path, PROBE.format(log=log))
    wait_for(lambda: text(log) == "start 0\n", 20, "the job")
    node = describe(cluster, job)["NodeList"]
    control("kill-node", node)
    wait_for(lambda: text(log).endswith("start 1\n"), 90, "the second start")
    assert describe(cluster, job)["NodeList"] != node


def test_a_job_survives_the_controller(cluster: Environment, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, f"sleep 2; echo done > {tmp_path}/output")
    wait_for(lambda: describe(cluster, job)["JobState"] == "RUNNING", 20, "the job")
    control("stop-controller")
    wait_for(lambda: text(tmp_path / "output") == "done\n", 20, "the job to end")
    control("start-controller")
    wait_for(lambda: has_ended(cluster, job), 60, "the controller to learn that")
    assert describe(cluster, job)["JobState"] == "COMPLETED"

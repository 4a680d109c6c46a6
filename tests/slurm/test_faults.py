"""Sweeps whose jobs are disturbed: no run is lost or trained twice, and all end bit-identical to undisturbed ones."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from support import status, thaw

from slurm.conftest import (
    HELD,
    Environment,
    Sweep,
    control,
    describe,
    has_pending,
    is_identical,
    slurm,
    squeue,
    wait_for,
)
from sweeper.launch.workers import SHUTDOWN_TIMEOUT

Sweeps = Callable[..., Sweep]
UNAVAILABLE = "waiting for Slurm to respond"
EXCLUSIVE = "hydra.launcher.additional_parameters={exclusive: true}"  # a node per job


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def attempts(sweep: Sweep) -> list[int]:
    return [status(run)["attempt"] for run in sweep.runs]


def storm(pid: int) -> None:
    """Signal a process repeatedly until it has ended."""
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, signal.SIGUSR2)
            time.sleep(0.001)


def test_six_runs_with_different_disturbances(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    """Seeds 0 to 5: requeued, signaled repeatedly, cancelled, killed, cancelled while pending, preempted."""
    six = sweep("seed=range(6)", EXCLUSIVE).start()
    caught = six.catch(0, 1, 2, 3)
    jobs = six.jobs()
    waiting, later = (element for run_id, element in jobs.items() if "-s4-" in run_id or "-s5-" in run_id)
    slurm(cluster, "scontrol", "hold", later)  # so that it does not end before the others have been disturbed
    slurm(cluster, "scancel", waiting)
    ids = [jobs[run.name] for run in caught]
    os.kill(status(caught[3])["pid"], signal.SIGKILL)
    killed = time.monotonic()
    thaw(caught[0])
    slurm(cluster, "scontrol", "requeue", ids[0])
    thaw(caught[2])
    slurm(cluster, "scancel", ids[2])
    for name in ("USR2", "TERM"):  # delivered together when the process is thawed
        slurm(cluster, "scancel", f"--signal={name}", ids[1])
    wait_for(lambda: has_pending(caught[1], signal.SIGTERM), 10, "the signals")
    thaw(caught[1])
    storm(status(caught[1])["pid"])
    six.until(lambda: f"Slurm job {ids[3]}: FAILED" in six.output, "the report of the killed run")
    assert time.monotonic() - killed < 60
    slurm(cluster, "scontrol", "release", later)
    (last,) = six.catch(5)
    preempted = six.jobs()[last.name]
    node = describe(cluster, preempted)["NodeList"]
    high = ("--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    slurm(cluster, "sbatch", *high)
    six.until(lambda: status(last)["attempt"] == 2, "the second start")  # Slurm thaws what it preempts

    output = six.end(1)
    assert "2 of 6 runs did not finish" in output
    assert output.count(" (cancelled)") == 2
    assert f"{caught[2].name} cancelled: Slurm job {ids[2]} was cancelled" in output
    assert "1 run did not finish; retrying" in output
    assert [status(six.run(seed))["state"] for seed in range(6)] == [
        *("finished", "finished", "cancelled", "finished", "cancelled", "finished")
    ]
    assert [status(six.run(seed))["attempt"] for seed in range(6)] == [2, 2, 1, 2, 0, 2]
    assert [describe(cluster, each)["Restarts"] for each in (*ids[:2], preempted)] == ["1", "1", "1"]
    saved = [text(six.run(seed) / "train.log").count("interrupted at epoch") for seed in range(6) if seed != 4]
    assert saved == [1, 1, 1, 0, 1]
    assert (six.run(2) / "checkpoints" / "last.pt").exists()

    output = six.start().end()
    assert "6 combinations: 2 to run" in output
    assert "6 runs: 6 finished" in output
    assert all(is_identical(run, undisturbed) for run in six.runs)
    assert [status(six.run(seed))["attempt"] for seed in (2, 4)] == [2, 1]
    assert len(six.runs) == 6


def test_time_limits_and_a_rejected_requeue(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    """A run reaches its time limit and resumes, another reaches it too often, and a third must not be requeued."""
    resumed = sweep("seed=0", "hydra.launcher.minutes=1", name="resumed").start()
    capped = sweep("seed=1", "hydra.launcher.minutes=1", "hydra.launcher.max_timeouts=0", name="capped")
    capped.start("sweep.max_retries=0")
    limited = [resumed.catch(0)[0], capped.catch(1)[0]]
    rejected = sweep("seed=2", "hydra.launcher.additional_parameters={no-requeue: true}", name="rejected")
    rejected.start("sweep.max_retries=0")
    (run,) = rejected.catch(2)
    slurm(cluster, "scancel", "--signal=USR2", rejected.jobs()[run.name])
    thaw(run)
    output = rejected.end(1)
    assert f"{run.name} interrupted: checkpoint saved, job not requeued: Slurm rejected the request" in output

    wait_for(lambda: all(has_pending(run, signal.SIGUSR2) for run in limited), 75, "the signals before the time limit")
    for limited_run in limited:
        thaw(limited_run)
    output = capped.end(1)
    assert f"{limited[1].name} interrupted: checkpoint saved, job not requeued: timed-out too many times" in output
    assert f"1 of 1 runs did not finish: {limited[1].name} (interrupted)" in output
    for interrupted in (limited[1], run):
        assert (interrupted / "checkpoints" / "last.pt").exists()
    again = [capped.start("hydra.launcher.minutes=10"), rejected.start()]
    for each in (resumed, *again):
        each.end()
    assert [status(each_run)["attempt"] for each_run in (limited[1], run)] == [2, 2]
    assert status(limited[0])["attempt"] >= 2  # a slow machine may reach the limit of a minute again
    assert all(is_identical(each_run, undisturbed) for each_run in (*limited, run))


def trained_once(run: Path) -> bool:
    """Whether no epoch was trained twice."""
    epochs = re.findall(r"epoch (\d+)/", text(run / "train.log"))
    return len(epochs) == len(set(epochs))


def test_nodes_are_drained_killed_and_cut_off(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    three = sweep("seed=range(3)", EXCLUSIVE).start()
    drained, dead, cut_off = three.catch(0, 1, 2)
    jobs = three.jobs()
    nodes = [describe(cluster, jobs[run.name])["NodeList"] for run in (drained, dead, cut_off)]
    slurm(cluster, "scontrol", "update", f"NodeName={nodes[0]}", "State=DRAIN", "Reason=test")
    control("kill-node", nodes[1])
    assert three.process is not None
    os.killpg(three.process.pid, signal.SIGINT)  # while a run that Slurm will restart is not being trained
    three.end(130)
    three.start()
    control("kill-slurmd", nodes[2])
    thaw(drained)
    (log,) = three.folder.glob(f"outputs/slurm/*/{jobs[cut_off.name]}_*_log.out")
    three.until(lambda: "another process is training this run; waiting" in text(log), "the second start of the run")
    thaw(cut_off)
    three.end()
    assert [status(run)["attempt"] for run in (drained, dead, cut_off)] == [1, 2, 1]
    assert all(trained_once(run) for run in (drained, cut_off))
    assert describe(cluster, jobs[dead.name])["NodeList"] != nodes[1]
    assert all(is_identical(run, undisturbed) for run in three.runs)


def test_the_controller_is_unavailable_while_runs_end(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    three = sweep("seed=range(3)", "hydra.launcher.array_parallelism=2").start()
    pair = three.catch(0, 1)
    control("stop-controller")
    for run in pair:
        thaw(run)
    three.until(lambda: all(status(run)["state"] == "finished" for run in pair), "the end of two runs")
    three.until(lambda: UNAVAILABLE in three.output, "the warning that Slurm does not respond")
    control("start-controller")
    output = three.end()
    assert output.count("submitted ") == output.count(UNAVAILABLE) == 1
    assert [status(run)["attempt"] for run in three.runs] == [1, 1, 1]
    assert all(is_identical(run, undisturbed) for run in three.runs)


def test_the_controller_is_unavailable_after_a_submission_and_before_a_retry(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    single = sweep("seed=0", HELD).start()
    single.until(lambda: "submitted " in single.output, "the job")  # not yet checked whether Slurm will start it
    control("stop-controller")
    single.until(lambda: UNAVAILABLE in single.output, "the warning that Slurm does not respond")
    control("start-controller")
    slurm(cluster, "scontrol", "release", *single.jobs().values())
    (run,) = single.catch(0)
    control("stop-controller")
    shutil.move(run / "metrics.jsonl", run / "moved")
    (run / "metrics.jsonl").mkdir()
    thaw(run)
    single.until(
        lambda: UNAVAILABLE in single.output.partition("1 run did not finish; retrying")[2], "the wait before a retry"
    )
    (run / "metrics.jsonl").rmdir()
    control("start-controller")
    single.until(lambda: single.output.count("submitted ") == 2, "the second job")
    slurm(cluster, "scontrol", "release", *single.jobs().values())
    output = single.end()
    assert output.count("submitted ") == 2
    assert status(run)["attempt"] == 2
    assert is_identical(run, undisturbed)


def test_a_command_killed_during_submission_leaves_no_duplicate_jobs(
    cluster: Environment, sweep: Sweeps, undisturbed: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "bin" / "sbatch"  # Slurm accepts the jobs, but sbatch does not return
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" && exec sleep 600\n')
    slow.chmod(0o755)
    two = sweep("seed=0,1").start(PATH=f"{slow.parent}:{cluster['PATH']}")
    two.until(lambda: len(squeue(cluster)) == 2, "the jobs")
    first = {job.id for job in squeue(cluster)}
    two.stop()
    two.start().end()
    # Slurm stops listing jobs that are cancelled while pending
    wait_for(lambda: not first & {job.id for job in squeue(cluster)}, 60, "the first jobs' end")
    assert {job.state for job in squeue(cluster, "all") if job.id in first} <= {"CANCELLED"}
    assert [status(run)["attempt"] for run in two.runs] == [1, 1]
    assert all(is_identical(run, undisturbed) for run in two.runs)


def test_a_requeued_pack_runs_what_is_left_and_its_runs_fail_alone(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    """Seeds 0 to 2 are a pack that is stopped in the middle; in the other pack, seed 3 is killed and seed 4 fails."""
    five = sweep("seed=range(5)", "hydra.launcher.runs_per_job=3", "hydra.launcher.concurrent=2").start()
    first, second, killed, failing = five.catch(0, 1, 3, 4)
    assert len(squeue(cluster)) == 2
    assert describe(cluster, five.jobs()[first.name])["NumCPUs"] == "2"
    os.kill(status(killed)["pid"], signal.SIGKILL)
    shutil.move(failing / "metrics.jsonl", failing / "moved")
    (failing / "metrics.jsonl").mkdir()
    thaw(failing)
    five.until(lambda: "metrics.jsonl cannot be written" in five.output, "the report of the failure")
    five.until(lambda: "process killed by SIGKILL" in five.output, "the report of the death")
    (failing / "metrics.jsonl").rmdir()
    thaw(first)
    (third,) = five.catch(2)
    assert status(first)["state"] == "finished"
    for name in ("USR2", "TERM"):
        slurm(cluster, "scancel", f"--signal={name}", five.jobs()[first.name])
    time.sleep(SHUTDOWN_TIMEOUT + 1)  # a save may take longer than this timeout, which applies to a second Ctrl-C only
    for run in (second, third):
        thaw(run)
    output = five.end()
    assert "2 runs did not finish; retrying" in output
    assert [status(five.run(seed))["attempt"] for seed in range(5)] == [1, 2, 2, 2, 2]
    assert [text(run / "train.log").count("interrupted at epoch") for run in (second, third)] == [1, 1]
    assert all(is_identical(run, undisturbed) for run in five.runs)


def test_the_accounted_state_of_a_killed_run_is_reported(cluster: Environment, sweep: Sweeps, tmp_path: Path) -> None:
    sacct = tmp_path / "bin" / "sacct"  # as on a cluster with accounting
    sacct.parent.mkdir()
    sacct.write_text("#!/bin/sh\necho OUT_OF_MEMORY\n")
    sacct.chmod(0o755)
    single = sweep("seed=0", "sweep.max_retries=0").start(PATH=f"{sacct.parent}:{cluster['PATH']}")
    (run,) = single.catch(0)
    (job,) = single.jobs().values()
    os.kill(status(run)["pid"], signal.SIGKILL)
    output = single.end(1)
    assert f"Slurm job {job}: OUT_OF_MEMORY; log: " in output
    assert status(run)["state"] == "failed"


def test_fail_fast_cancels_the_other_jobs(cluster: Environment, sweep: Sweeps) -> None:
    rates = ("optimizer=sgd", "optimizer.lr=0.1,0.2,1e30", "epochs=100000", "seed=0")
    output = sweep(*rates, EXCLUSIVE, "sweep.fail_fast=true").start().end(1)
    assert "training loss is nan" in output
    assert "stopped at the first failure: 2 cancelled, 1 diverged; to resume:\npython " in output
    assert not squeue(cluster)

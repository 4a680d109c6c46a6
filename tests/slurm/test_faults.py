"""What happens to jobs on a cluster happens to a sweep's: no run is lost or doubled, each ends as if undisturbed."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from support import status

from hydra_plugins.parallel_launcher import LAST_WORDS
from slurm.conftest import (
    HELD,
    Environment,
    Sweep,
    control,
    describe,
    ends_alike,
    has_pending,
    slurm,
    squeue,
    thaw,
    wait_for,
)

Sweeps = Callable[..., Sweep]
AWAY = "waiting until it answers again"
EXCLUSIVE = "hydra.launcher.additional_parameters={exclusive: true}"  # a node for each job


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def attempts(sweep: Sweep) -> list[int]:
    return [status(run)["attempt"] for run in sweep.runs]


def storm(pid: int) -> None:
    """Signal a process, again and again, until it has ended."""
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(pid, signal.SIGUSR2)
            time.sleep(0.001)


def test_six_runs_are_each_disturbed(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    """Requeued, signalled thrice, cancelled, killed, cancelled while it waits, preempted: seeds 0 to 5."""
    six = sweep("seed=range(6)", EXCLUSIVE).start()
    caught = six.catch(0, 1, 2, 3)
    jobs = six.jobs()
    waiting, later = (element for run_id, element in jobs.items() if "-s4-" in run_id or "-s5-" in run_id)
    slurm(cluster, "scontrol", "hold", later)  # lest it is over before the others have been dealt with
    slurm(cluster, "scancel", waiting)
    ids = [jobs[run.name] for run in caught]
    os.kill(status(caught[3])["pid"], signal.SIGKILL)
    killed = time.monotonic()
    thaw(caught[0])
    slurm(cluster, "scontrol", "requeue", ids[0])
    thaw(caught[2])
    slurm(cluster, "scancel", ids[2])
    for name in ("USR2", "TERM"):  # they wait for the frozen process, and come together
        slurm(cluster, "scancel", f"--signal={name}", ids[1])
    wait_for(lambda: has_pending(caught[1], signal.SIGTERM), 10, "the signals")
    thaw(caught[1])
    storm(status(caught[1])["pid"])
    six.until(lambda: f"Slurm job {ids[3]}: FAILED" in six.said, "the news of the killed run")
    assert time.monotonic() - killed < 60
    slurm(cluster, "scontrol", "release", later)
    (last,) = six.catch(5)
    preempted = six.jobs()[last.name]
    node = describe(cluster, preempted)["NodeList"]
    high = ("--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    slurm(cluster, "sbatch", *high)
    six.until(lambda: status(last)["attempt"] == 2, "the second start")  # Slurm thaws what it preempts

    said = six.end(1)
    assert "2 of 6 runs did not finish" in said
    assert said.count(" (cancelled)") == 2
    assert f"{caught[2].name} cancelled: Slurm job {ids[2]} was cancelled" in said
    assert "1 not finished; launching again" in said
    assert [status(six.run(seed))["state"] for seed in range(6)] == [
        *("finished", "finished", "cancelled", "finished", "cancelled", "finished")
    ]
    assert [status(six.run(seed))["attempt"] for seed in range(6)] == [2, 2, 1, 2, 0, 2]
    assert [describe(cluster, each)["Restarts"] for each in (*ids[:2], preempted)] == ["1", "1", "1"]
    saved = [text(six.run(seed) / "train.log").count("interrupted in epoch") for seed in range(6) if seed != 4]
    assert saved == [1, 1, 1, 0, 1]
    assert (six.run(2) / "checkpoints" / "last.pt").exists()

    said = six.start().end()
    assert "6 combinations: 2 to run" in said
    assert "6 runs: 6 finished" in said
    assert all(ends_alike(run, undisturbed) for run in six.runs)
    assert [status(six.run(seed))["attempt"] for seed in (2, 4)] == [2, 1]
    assert len(six.runs) == 6


def test_runs_go_on_unless_slurm_must_not_or_does_not_requeue_them(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    """One reaches its time limit and goes on, one too often, and one is on a cluster that refuses."""
    goes_on = sweep("seed=0", "hydra.launcher.minutes=1", name="goes_on").start()
    capped = sweep("seed=1", "hydra.launcher.minutes=1", "hydra.launcher.max_timeouts=0", name="capped")
    capped.start("sweep.max_retries=0")
    limited = [goes_on.catch(0)[0], capped.catch(1)[0]]
    refused = sweep("seed=2", "hydra.launcher.additional_parameters={no-requeue: true}", name="refused")
    refused.start("sweep.max_retries=0")
    (run,) = refused.catch(2)
    slurm(cluster, "scancel", "--signal=USR2", refused.jobs()[run.name])
    thaw(run)
    said = refused.end(1)
    assert f"{run.name} interrupted: saved and stopped: Slurm refuses to requeue the job" in said

    wait_for(lambda: all(has_pending(run, signal.SIGUSR2) for run in limited), 75, "the signals before the time limit")
    for one in limited:
        thaw(one)
    said = capped.end(1)
    assert f"{limited[1].name} interrupted: saved and stopped: timed-out too many times" in said
    assert f"1 of 1 runs did not finish: {limited[1].name} (interrupted)" in said
    for one in (limited[1], run):
        assert (one / "checkpoints" / "last.pt").exists()
    again = [capped.start("hydra.launcher.minutes=10"), refused.start()]
    for sweep_of_one in (goes_on, *again):
        sweep_of_one.end()
    for one in (*limited, run):
        assert status(one)["attempt"] == 2
        assert ends_alike(one, undisturbed)


def trained_once(run: Path) -> bool:
    """Whether no epoch was trained twice."""
    epochs = re.findall(r"epoch (\d+)/", text(run / "train.log"))
    return len(epochs) == len(set(epochs))


def test_a_node_is_drained_one_dies_and_one_is_cut_off(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    three = sweep("seed=range(3)", EXCLUSIVE).start()
    drained, dead, cut_off = three.catch(0, 1, 2)
    jobs = three.jobs()
    nodes = [describe(cluster, jobs[run.name])["NodeList"] for run in (drained, dead, cut_off)]
    slurm(cluster, "scontrol", "update", f"NodeName={nodes[0]}", "State=DRAIN", "Reason=test")
    control("kill-node", nodes[1])
    assert three.process is not None
    os.killpg(three.process.pid, signal.SIGINT)  # while nothing trains a run that Slurm will start again
    three.end(130)
    three.start()
    control("kill-slurmd", nodes[2])
    thaw(drained)
    (log,) = three.folder.glob(f"outputs/slurm/*/{jobs[cut_off.name]}_*_log.out")
    three.until(lambda: "another process is training it; waiting" in text(log), "the second start of the run cut off")
    thaw(cut_off)
    three.end()
    assert [status(run)["attempt"] for run in (drained, dead, cut_off)] == [1, 2, 1]
    assert all(trained_once(run) for run in (drained, cut_off))
    assert describe(cluster, jobs[dead.name])["NodeList"] != nodes[1]
    assert all(ends_alike(run, undisturbed) for run in three.runs)


def test_the_controller_is_away_for_a_while(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    three = sweep("seed=range(3)", "hydra.launcher.array_parallelism=2").start()
    pair = three.catch(0, 1)
    control("stop-controller")
    for run in pair:
        thaw(run)
    three.until(lambda: all(status(run)["state"] == "finished" for run in pair), "the end of two runs")
    three.until(lambda: AWAY in three.said, "the news that Slurm does not answer")
    control("start-controller")
    said = three.end()
    assert said.count("submitted") == said.count(AWAY) == 1
    assert [status(run)["attempt"] for run in three.runs] == [1, 1, 1]
    assert all(ends_alike(run, undisturbed) for run in three.runs)


def test_the_controller_is_away_when_jobs_have_just_been_submitted_and_when_a_run_is_submitted_again(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    one = sweep("seed=0", HELD).start()
    one.until(lambda: "submitted" in one.said, "the job")  # it has yet to see whether Slurm will start it
    control("stop-controller")
    one.until(lambda: AWAY in one.said, "the news that Slurm does not answer")
    control("start-controller")
    slurm(cluster, "scontrol", "release", *one.jobs().values())
    (run,) = one.catch(0)
    control("stop-controller")
    shutil.move(run / "metrics.jsonl", run / "moved")
    (run / "metrics.jsonl").mkdir()
    thaw(run)
    one.until(lambda: AWAY in one.said.partition("1 not finished; launching again")[2], "the wait before a retry")
    (run / "metrics.jsonl").rmdir()
    control("start-controller")
    one.until(lambda: one.said.count("submitted") == 2, "the second job")
    slurm(cluster, "scontrol", "release", *one.jobs().values())
    said = one.end()
    assert said.count("submitted") == 2
    assert status(run)["attempt"] == 2
    assert ends_alike(run, undisturbed)


def test_a_command_killed_while_it_submits_leaves_no_doubles(
    cluster: Environment, sweep: Sweeps, undisturbed: Path, tmp_path: Path
) -> None:
    slow = tmp_path / "bin" / "sbatch"  # whose answer never comes, though Slurm has the jobs
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" && exec sleep 600\n')
    slow.chmod(0o755)
    two = sweep("seed=0,1").start(PATH=f"{slow.parent}:{cluster['PATH']}")
    two.until(lambda: len(squeue(cluster)) == 2, "the jobs")
    first = {job.id for job in squeue(cluster)}
    two.stop()
    two.start().end()
    # of which Slurm forgets at once what had not begun
    wait_for(lambda: not first & {job.id for job in squeue(cluster)}, 60, "the first jobs' end")
    assert {job.state for job in squeue(cluster, "all") if job.id in first} <= {"CANCELLED"}
    assert [status(run)["attempt"] for run in two.runs] == [1, 1]
    assert all(ends_alike(run, undisturbed) for run in two.runs)


def test_a_pack_goes_on_with_what_is_left_and_its_runs_fail_alone(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    """Seeds 0 to 2 are a pack that is preempted in its middle; of 3 and 4, one's process is killed and one fails."""
    five = sweep("seed=range(5)", "hydra.launcher.runs_per_job=3", "hydra.launcher.concurrent=2").start()
    first, second, killed, failing = five.catch(0, 1, 3, 4)
    assert len(squeue(cluster)) == 2
    assert describe(cluster, five.jobs()[first.name])["NumCPUs"] == "2"
    os.kill(status(killed)["pid"], signal.SIGKILL)
    shutil.move(failing / "metrics.jsonl", failing / "moved")
    (failing / "metrics.jsonl").mkdir()
    thaw(failing)
    five.until(lambda: "IsADirectoryError" in five.said, "the news of the failure")
    five.until(lambda: "its process was killed by SIGKILL" in five.said, "the news of the death")
    (failing / "metrics.jsonl").rmdir()
    thaw(first)
    (third,) = five.catch(2)
    assert status(first)["state"] == "finished"
    for name in ("USR2", "TERM"):
        slurm(cluster, "scancel", f"--signal={name}", five.jobs()[first.name])
    time.sleep(LAST_WORDS + 1)  # a save may take longer than somebody who interrupts twice would wait
    for run in (second, third):
        thaw(run)
    said = five.end()
    assert "2 not finished; launching again" in said
    assert [status(five.run(seed))["attempt"] for seed in range(5)] == [1, 2, 2, 2, 2]
    assert [text(run / "train.log").count("interrupted in epoch") for run in (second, third)] == [1, 1]
    assert all(ends_alike(run, undisturbed) for run in five.runs)


def test_what_accounting_says_of_a_killed_run_is_told(cluster: Environment, sweep: Sweeps, tmp_path: Path) -> None:
    sacct = tmp_path / "bin" / "sacct"  # as where Slurm keeps accounts
    sacct.parent.mkdir()
    sacct.write_text("#!/bin/sh\necho OUT_OF_MEMORY\n")
    sacct.chmod(0o755)
    one = sweep("seed=0", "sweep.max_retries=0").start(PATH=f"{sacct.parent}:{cluster['PATH']}")
    (run,) = one.catch(0)
    (job,) = one.jobs().values()
    os.kill(status(run)["pid"], signal.SIGKILL)
    said = one.end(1)
    assert f"Slurm job {job}: OUT_OF_MEMORY; its log: " in said
    assert status(run)["state"] == "failed"


def test_fail_fast_cancels_the_other_jobs(cluster: Environment, sweep: Sweeps) -> None:
    rates = ("optimizer=sgd", "optimizer.lr=0.1,0.2,1e30", "epochs=100000", "seed=0")
    said = sweep(*rates, EXCLUSIVE, "sweep.fail_fast=true").start().end(1)
    assert "the training loss is nan" in said
    assert "stopped at the first failure: 2 cancelled, 1 diverged; to go on:\npython " in said
    assert not squeue(cluster)

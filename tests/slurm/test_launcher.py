"""hydra/launcher=slurm: submitting, reattaching, and settings that are rejected."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import REPOSITORY, environment
from support import TIMINGS, copy_program, status, thaw

from slurm.conftest import HELD, ON_NODES, SMALL, Environment, Sweep, control, is_identical, slurm, squeue

Sweeps = Callable[..., Sweep]
# Variables of a user's shell that would overrule the jobs' scripts, and hide jobs from squeue.
OVERRULING = {
    "SBATCH_ARRAY_INX": "7",
    "SBATCH_OUTPUT": "/dev/null",
    "SBATCH_TIMELIMIT": "bad",
    "SQUEUE_FORMAT": "%i",
    "SQUEUE_PARTITION": "other",
}
TIMES = {*TIMINGS, "convergence_seconds", "heartbeat"}


def sweeper(sweep: Sweep, *arguments: str) -> str:
    """The output of `python -m sweeper`."""
    command = [sys.executable, "-m", "sweeper", *arguments]
    env = sweep.env | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=sweep.folder, env=env, capture_output=True, text=True, check=True).stdout


def table(sweep: Sweep) -> list[dict[str, str]]:
    """summary.csv without times."""
    sweeper(sweep, "summary")
    with (sweep.folder / "outputs" / "summary.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def test_a_sweep_has_the_same_results_as_without_slurm(cluster: Environment, cache: Path, tmp_path: Path) -> None:
    four = ["model=mlp,cnn_pool", "activation=relu,selu", "data=digits", f"data.cache={cache}", "threads=1", "epochs=2"]
    gpus = "hydra.launcher.setup=['echo GPUs: $CUDA_VISIBLE_DEVICES']"
    there = Sweep(cluster, tmp_path / "there", [*four, "device=cpu", "hydra/launcher=slurm", gpus]).start(**OVERRULING)
    here = Sweep(cluster, tmp_path / "here", [*four, "device=cpu"]).start()
    assert "4 runs: 4 finished" in here.end()
    assert "4 runs: 4 finished" in there.end()
    assert table(there) == table(here)
    logs = [path.read_text() for path in there.folder.glob("outputs/slurm/*/*_log.out")]
    assert len(logs) == 4
    assert all(re.search(r"^GPUs: [01]$", log, re.MULTILINE) for log in logs)


def test_queued_jobs_run_the_code_that_was_submitted(
    cluster: Environment, cache: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """The program and its configs are edited while the jobs are held and while they run."""
    program = tmp_path / "program"
    program.mkdir()
    copy_program(program)
    own = cluster | {"PYTHONPATH": str(program)}
    two = Sweep(own, tmp_path / "sweep", [*SMALL, *ON_NODES, f"data.cache={cache}", "seed=0,1"], program)
    output = two.start(HELD, "sweep.wait=False").end()
    assert "submitted 2 runs as Slurm job" in output
    command = output.splitlines()[-1]
    assert command.startswith("python ") and "sweep.wait" not in command
    assert "2 queued" in sweeper(two, "watch", "--once")
    assert "submitted " not in two.start(HELD, "sweep.wait=false").end()
    assert len(squeue(cluster)) == 2

    module, config = program / "sweeper" / "training" / "loop.py", program / "conf" / "config.yaml"
    source, settings = module.read_text(), config.read_text()
    module.write_text("raise RuntimeError('half written')\n")
    config.write_text("no: yaml: at all\n")
    for job in two.jobs().values():
        slurm(cluster, "scontrol", "release", job)
    pair = two.catch(0, 1)
    assert "2 running" in sweeper(two, "watch", "--once")
    changed = source.replace(" = 50  #", " = 51  #")
    assert changed != source
    module.write_text(changed)
    config.write_text(settings)
    for run in pair:
        thaw(run)
    module.write_text(source)
    output = two.start().end()
    assert "submitted " not in output
    assert "2 runs: 2 finished" in output
    assert [status(run)["attempt"] for run in two.runs] == [1, 1]
    assert all(is_identical(run, undisturbed) for run in two.runs)
    codes = [
        json.loads((folder / "run.json").read_text())["code"]
        for folder in (*pair, *(undisturbed / "outputs" / "runs").iterdir())
    ]
    assert all(code == codes[0] for code in codes)


def test_seeds_are_added_until_a_precision_is_reached(
    cluster: Environment, sweep: Sweeps, cache: Path, tmp_path: Path
) -> None:
    """The command is killed in its first round. Its rounds and its result equal those without Slurm."""
    precise = ("norm=none,batch", "epochs=2", "sweep.precision=0.005", "sweep.max_seeds=6", "sweep.name=precise")
    there = sweep(*precise).start()
    there.until(lambda: "submitted 8 runs" in there.output, "the first round")
    there.stop()
    answer = there.start().end().partition("sweep.precision=0.005 on test_acc, 6 seeds:")[2]
    here = Sweep(environment(), tmp_path / "here", [*SMALL, f"data.cache={cache}", *precise]).start()
    assert answer and answer.splitlines()[:2] == here.end().rpartition("on test_acc, 6 seeds:")[2].splitlines()[:2]
    assert len(there.runs) == len(here.runs) == 12
    assert [status(run)["attempt"] for run in there.runs] == [1] * 12
    effects = [json.loads(sweeper(each, "effects", "precise", "--format", "json")) for each in (there, here)]
    first, other = (
        {name: found["comparisons"][0][name] for name in ("mean", "low", "precision", "p", "result")}
        for found in effects
    )
    assert first == other and (first["precision"], first["p"]) == (0.005, None)


def test_an_interrupted_or_killed_command_finds_its_jobs(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    two = sweep("seed=0,1").start()
    two.until(lambda: "submitted " in two.output, "the jobs")  # not yet checked whether Slurm will start them
    assert two.process is not None
    os.killpg(two.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    output = two.end(130)
    assert "jobs keep running; use scancel to cancel them" in output
    assert output.splitlines()[-1].startswith("python ")
    assert "Traceback" not in output
    pair = two.start().catch(0, 1)
    for _ in range(2):
        two.stop()  # by SIGKILL
        assert len(squeue(cluster)) == 2
        two.start()
        two.until(lambda: "2 runs already queued or running in Slurm" in two.output, "the runs to be found")
    slurm(cluster, "scancel", "--signal=TERM", two.jobs()[pair[0].name])  # the first signal of a preempted job
    for run in pair:
        thaw(run)
    output = two.end()
    assert "submitted " not in output
    assert "2 runs: 2 finished" in output
    assert [status(run)["attempt"] for run in pair] == [2, 1]
    assert all(is_identical(run, undisturbed) for run in two.runs)
    assert not two.jobs()


def test_a_part_of_a_sweep_leaves_the_rest_queued(cluster: Environment, sweep: Sweeps) -> None:
    """The command waits for seed 0, while seed 1, of the same array, stays held. Both may run in either partition."""
    two = sweep("seed=0,1", HELD, "hydra.launcher.partition='low,short'")
    two.start("sweep.wait=false").end()
    first, second = sorted(two.jobs().values())
    slurm(cluster, "scontrol", "release", first)
    two.start("sweep.exclude=[{seed:1}]").end()
    assert sorted(two.jobs().values()) == [first, second]
    output = two.start("sweep.wait=false").end()
    assert "1 run already queued or running in Slurm" in output
    assert "submitted " not in output
    assert [job.id for job in squeue(cluster)] == [second]


def test_a_sweep_that_needs_several_arrays(cluster: Environment, sweep: Sweeps) -> None:
    many = sweep("model=softmax", "model.hidden=null", "seed=range(1100)", HELD, "sweep.wait=false")
    assert "submitted 1100 runs as Slurm jobs" in many.start().end()
    (file,) = many.folder.glob("outputs/sweeps/*/jobs.json")
    submissions = json.loads(file.read_text())["submissions"]
    assert [len(submission["packs"]) for submission in submissions] == [1001, 99]
    queued = squeue(cluster)
    assert sorted(job.id for job in queued) == sorted(many.jobs().values())
    assert len(set(many.jobs())) == 1100
    output = many.start().end()
    assert "1100 runs already queued or running in Slurm" in output
    assert "submitted " not in output
    assert squeue(cluster) == queued


def test_sweepers_without_run_ids(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    two = sweep("seed=0,1", "hydra/sweeper=basic", "hydra.launcher.runs_per_job=2").start()
    two.end()
    assert [status(run)["state"] for run in two.runs] == ["finished"] * 2
    assert all(is_identical(run, undisturbed) for run in two.runs)


ADDITIONAL = "hydra.launcher.additional_parameters"
REJECTED = {
    "hydra.launcher.partition=hihg": "hydra.launcher.partition=hihg does not exist; valid: high, low, short",
    "hydra.launcher.memory=100": "Slurm rejected the job: Memory specification can not be satisfied",
    "hydra.launcher.cpus_per_run=64": "Slurm would never start the job: PartitionConfig",
    "hydra.launcher.partition=short": "Slurm would never start the job: PartitionTimeLimit",
    "hydra.launcher.gpus_per_run=9": "Slurm rejected the job: Requested node configuration is not available",
    "hydra.launcher.partition='low\\nhigh'": "hydra.launcher.partition contains a line break",
    "hydra.launcher.setup=['true\\nfalse']": "hydra.launcher.setup contains a line break",
    f"{ADDITIONAL}={{comment: 'a\\nb'}}": "hydra.launcher.additional_parameters contains a line break",
    f"{ADDITIONAL}={{open_mode: truncate}}": "hydra.launcher.additional_parameters cannot set open-mode: ",
    "hydra.launcher.memory=16G": "hydra.launcher.memory=16G must be a number of GiB above 0",
    f"{ADDITIONAL}={{no_such_option: 1}}": "Slurm rejected the job: sbatch: unrecognized option '--no-such-option=1'",
}


@pytest.fixture(scope="module")
def rejected(cluster: Environment, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sweep]]:
    """The same sweep with each of these settings."""
    folder, sweeps = tmp_path_factory.mktemp("rejected"), {}
    for number, setting in enumerate(REJECTED):
        overrides = [*SMALL, *ON_NODES, f"data.cache={cache}", "seed=0,1", setting.replace("\\n", "\n")]
        sweeps[setting] = Sweep(cluster, folder / str(number), overrides).start()
        if number % 3 == 2:
            sweeps[setting].end(1)
    for each in sweeps.values():
        each.end(1)
    yield sweeps
    for each in sweeps.values():
        each.stop()


@pytest.mark.parametrize("setting", REJECTED)
def test_settings_that_are_rejected(cluster: Environment, rejected: dict[str, Sweep], setting: str) -> None:
    single = rejected[setting]
    output = single.end(1)
    assert output.splitlines()[-1].startswith(f"error: {REJECTED[setting]}")
    assert "Traceback" not in output
    assert not single.runs
    assert [path.name for path in single.folder.glob("outputs/slurm/*") if not path.name.startswith("code-")] == []
    assert all(
        json.loads(path.read_text())["submissions"] == [] for path in single.folder.glob("outputs/sweeps/*/jobs.json")
    )
    assert not squeue(cluster)


def test_a_machine_without_slurm(sweep: Sweeps, tmp_path: Path) -> None:
    output = sweep("seed=0,1").start(PATH=str(tmp_path)).end(1)
    assert "hydra/launcher=slurm requires Slurm, but sinfo is not installed on this machine" in output
    assert "Traceback" not in output


def test_a_folder_that_compute_nodes_cannot_access(cluster: Environment, sweep: Sweeps, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot create a mount namespace")
    single = sweep("seed=0", f"{ADDITIONAL}={{nodelist: n4}}", "sweep.max_retries=0")
    single.folder.mkdir()
    control("blind-node", "n4", str(single.folder))
    try:
        output = single.start().end(1)
    finally:
        control("kill-slurmd", "n4")  # it is restarted after the test
    assert ": check that the compute nodes can access this folder" in output
    assert not squeue(cluster)

"""hydra/launcher=slurm: what it submits, what it refuses, and what comes of it."""

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
from support import REPOSITORY, TIMINGS, copy_program, status

from slurm.conftest import HELD, ON_NODES, SMALL, Environment, Sweep, control, ends_alike, slurm, squeue, thaw

Sweeps = Callable[..., Sweep]
OF_TIME = {*TIMINGS, "convergence_seconds", "heartbeat"}


def sweeper(sweep: Sweep, *arguments: str) -> str:
    """What `python -m sweeper` prints."""
    command = [sys.executable, "-m", "sweeper", *arguments]
    env = sweep.env | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=sweep.folder, env=env, capture_output=True, text=True, check=True).stdout


def table(sweep: Sweep) -> list[dict[str, str]]:
    """summary.csv, less what is of time."""
    sweeper(sweep, "summary")
    with (sweep.folder / "outputs" / "summary.csv").open() as file:
        return [{name: value for name, value in row.items() if name not in OF_TIME} for row in csv.DictReader(file)]


def test_a_sweep_comes_to_the_same_as_without_slurm(cluster: Environment, cache: Path, tmp_path: Path) -> None:
    four = ["model=mlp,cnn_pool", "activation=relu,selu", "data=digits", f"data.cache={cache}", "threads=1", "epochs=2"]
    gpus = "hydra.launcher.setup=['echo GPUs: $CUDA_VISIBLE_DEVICES']"
    there = Sweep(cluster, tmp_path / "there", [*four, "device=cpu", "hydra/launcher=slurm", gpus]).start()
    here = Sweep(cluster, tmp_path / "here", [*four, "device=cpu"]).start()
    assert "4 runs: 4 finished" in here.end()
    assert "4 runs: 4 finished" in there.end()
    assert table(there) == table(here)
    logs = [path.read_text() for path in there.folder.glob("outputs/slurm/*/*_log.out")]
    assert len(logs) == 4
    assert all(re.search(r"^GPUs: [01]$", log, re.MULTILINE) for log in logs)


def test_jobs_that_nobody_waits_for_run_what_was_submitted(
    cluster: Environment, cache: Path, tmp_path: Path, undisturbed: Path
) -> None:
    """They are held, the program and its configs are edited, they are released; watch and summary follow."""
    program = tmp_path / "program"
    program.mkdir()
    copy_program(program)
    own = cluster | {"PYTHONPATH": str(program)}
    two = Sweep(own, tmp_path / "sweep", [*SMALL, *ON_NODES, f"data.cache={cache}", "seed=0,1"], program)
    said = two.start(HELD, "sweep.wait=false").end()
    assert "submitted 2 runs as Slurm job" in said
    goes_on = said.splitlines()[-1]
    assert goes_on.startswith("python ") and "sweep.wait" not in goes_on
    assert "2 queued" in sweeper(two, "watch", "--once")
    assert "submitted" not in two.start(HELD, "sweep.wait=false").end()
    assert len(squeue(cluster)) == 2

    module, config = program / "sweeper" / "loop.py", program / "conf" / "config.yaml"
    source, settings = module.read_text(), config.read_text()
    module.write_text("raise RuntimeError('half written')\n")
    config.write_text("no: yaml: at all\n")
    for job in two.jobs().values():
        slurm(cluster, "scontrol", "release", job)
    pair = two.catch(0, 1)
    assert "2 running" in sweeper(two, "watch", "--once")
    module.write_text(source.replace("CHECK_EVERY = 50", "CHECK_EVERY = 51"))
    config.write_text(settings)
    for run in pair:
        thaw(run)
    module.write_text(source)
    said = two.start().end()
    assert "submitted" not in said
    assert "2 runs: 2 finished" in said
    assert [status(run)["attempt"] for run in two.runs] == [1, 1]
    assert all(ends_alike(run, undisturbed) for run in two.runs)
    codes = [
        json.loads((folder / "run.json").read_text())["code"]
        for folder in (*pair, *(undisturbed / "outputs" / "runs").iterdir())
    ]
    assert all(code == codes[0] for code in codes)


def test_a_command_that_was_interrupted_or_killed_finds_its_jobs(
    cluster: Environment, sweep: Sweeps, undisturbed: Path
) -> None:
    two = sweep("seed=0,1").start()
    two.until(lambda: "submitted" in two.said, "the jobs")  # it has yet to see whether Slurm will start them
    assert two.process is not None
    os.killpg(two.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    said = two.end(130)
    assert "Slurm goes on with the jobs" in said
    assert said.splitlines()[-1].startswith("python ")
    assert "Traceback" not in said
    pair = two.start().catch(0, 1)
    for _ in range(2):
        two.stop()  # by SIGKILL
        assert len(squeue(cluster)) == 2
        two.start()
        two.until(lambda: "2 runs are queued or running in Slurm already" in two.said, "the runs to be found")
    slurm(cluster, "scancel", "--signal=TERM", two.jobs()[pair[0].name])  # as a preempted job gets to begin with
    for run in pair:
        thaw(run)
    said = two.end()
    assert "submitted" not in said
    assert "2 runs: 2 finished" in said
    assert [status(run)["attempt"] for run in pair] == [2, 1]
    assert all(ends_alike(run, undisturbed) for run in two.runs)
    assert not two.jobs()


def test_a_part_of_a_sweep_leaves_the_rest_in_the_queue(cluster: Environment, sweep: Sweeps) -> None:
    """Of one array, seed 0 is waited for and seed 1 stays held; either partition would do for both."""
    two = sweep("seed=0,1", HELD, "hydra.launcher.partition='low,short'")
    two.start("sweep.wait=false").end()
    first, second = sorted(two.jobs().values())
    slurm(cluster, "scontrol", "release", first)
    two.start("sweep.exclude=[{seed:1}]").end()
    assert sorted(two.jobs().values()) == [first, second]
    said = two.start("sweep.wait=false").end()
    assert "1 run is queued or running" in said
    assert "submitted" not in said
    assert [job.id for job in squeue(cluster)] == [second]


def test_a_sweep_larger_than_an_array(cluster: Environment, sweep: Sweeps) -> None:
    many = sweep("model=softmax", "model.hidden=null", "seed=range(1100)", HELD, "sweep.wait=false")
    assert "submitted 1100 runs as Slurm jobs" in many.start().end()
    (file,) = many.folder.glob("outputs/sweeps/*/jobs.json")
    submissions = json.loads(file.read_text())["submissions"]
    assert [len(one["packs"]) for one in submissions] == [1001, 99]
    queued = squeue(cluster)
    assert sorted(job.id for job in queued) == sorted(many.jobs().values())
    assert len(set(many.jobs())) == 1100
    said = many.start().end()
    assert "1100 runs are queued or running in Slurm already" in said
    assert "submitted" not in said
    assert squeue(cluster) == queued


def test_sweepers_that_know_nothing_of_runs(cluster: Environment, sweep: Sweeps, undisturbed: Path) -> None:
    two = sweep("seed=0,1", "hydra/sweeper=basic", "hydra.launcher.runs_per_job=2").start()
    two.end()
    assert [status(run)["state"] for run in two.runs] == ["finished"] * 2
    assert all(ends_alike(run, undisturbed) for run in two.runs)


MORE = "hydra.launcher.additional_parameters"
REFUSED = {
    "hydra.launcher.partition=hihg": "there is no partition hihg here; choose from high, low, short",
    "hydra.launcher.memory=100": "Slurm refuses the job: Memory specification can not be satisfied",
    "hydra.launcher.cpus_per_run=64": "Slurm would never start the job: PartitionConfig",
    "hydra.launcher.partition=short": "Slurm would never start the job: PartitionTimeLimit",
    "hydra.launcher.gpus_per_run=9": "Slurm refuses the job: Requested node configuration is not available",
    "hydra.launcher.partition='low\\nhigh'": "hydra.launcher.partition has a line break",
    "hydra.launcher.setup=['true\\nfalse']": "hydra.launcher.setup has a line break",
    f"{MORE}={{comment: 'a\\nb'}}": "hydra.launcher.additional_parameters has a line break",
    f"{MORE}={{open_mode: truncate}}": "hydra.launcher.additional_parameters cannot set open-mode: ",
    "hydra.launcher.memory=16G": "hydra.launcher.memory=16G must be a number of GiB above 0",
    f"{MORE}={{no_such_option: 1}}": "Slurm refuses the job: sbatch: unrecognized option '--no-such-option=1'",
}


@pytest.fixture(scope="module")
def refused(cluster: Environment, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sweep]]:
    """The same sweep with each of these settings."""
    folder, sweeps = tmp_path_factory.mktemp("refused"), {}
    for number, setting in enumerate(REFUSED):
        overrides = [*SMALL, *ON_NODES, f"data.cache={cache}", "seed=0,1", setting.replace("\\n", "\n")]
        sweeps[setting] = Sweep(cluster, folder / str(number), overrides).start()
        if number % 3 == 2:
            sweeps[setting].end(1)
    for one in sweeps.values():
        one.end(1)
    yield sweeps
    for one in sweeps.values():
        one.stop()


@pytest.mark.parametrize("setting", REFUSED)
def test_what_can_never_be_is_refused(cluster: Environment, refused: dict[str, Sweep], setting: str) -> None:
    one = refused[setting]
    said = one.end(1)
    assert said.splitlines()[-1].startswith(f"error: {REFUSED[setting]}")
    assert "Traceback" not in said
    assert not one.runs
    assert [path.name for path in one.folder.glob("outputs/slurm/*") if not path.name.startswith("code-")] == []
    assert all(
        json.loads(path.read_text())["submissions"] == [] for path in one.folder.glob("outputs/sweeps/*/jobs.json")
    )
    assert not squeue(cluster)


def test_a_machine_without_slurm(sweep: Sweeps, tmp_path: Path) -> None:
    said = sweep("seed=0,1").start(PATH=str(tmp_path)).end(1)
    assert "needs Slurm's commands, and there is no sinfo on this machine" in said
    assert "Traceback" not in said


def test_a_folder_that_compute_nodes_cannot_see(cluster: Environment, sweep: Sweeps, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot give a process a file system of its own")
    one = sweep("seed=0", f"{MORE}={{nodelist: n4}}", "sweep.max_retries=0")
    one.folder.mkdir()
    control("blind-node", "n4", str(one.folder))
    try:
        said = one.start().end(1)
    finally:
        control("kill-slurmd", "n4")  # another one is started after the test
    assert "can the compute nodes see that folder?" in said
    assert not squeue(cluster)

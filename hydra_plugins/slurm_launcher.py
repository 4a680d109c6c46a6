"""hydra/launcher=slurm: the runs of a sweep as Slurm job arrays, preempted, requeued and packed."""

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from hydra_plugins.hydra_submitit_launcher import submitit_launcher

from hydra_plugins.parallel_launcher import Died, Workers, places, sendable, start_fork_server, thread_limits

if TYPE_CHECKING:
    from sweeper.launch.follow import Task
    from sweeper.launch.slurm import Submission, Submissions
    from sweeper.sweep.plan import Planned

log = logging.getLogger(__name__)

LOCK = ".jobs.lock"  # beside jobs.json
OURS = ("array", "chdir", "comment", "error", "open-mode", "output", "signal")  # options of sbatch
SETTLED = 2.0  # seconds after which Slurm has said why a job waits
# Signals that come before Python can take them must not end a job that Slurm is about to requeue.
PYTHON = f"""sh -c 'trap "" TERM USR2; exec "$0" "$@"' {shlex.quote(sys.executable)}"""


class SlurmLauncher(submitit_launcher.SlurmLauncher):  # type: ignore[misc]
    """Submits as submitit does; follows the jobs by the files they write and by what `squeue` says.

    Every argument is explained in conf/hydra/launcher/slurm.yaml.
    """

    hydra_context: HydraContext | None
    code: Path | None = None  # the snapshot that jobs run
    over: frozenset[str] = frozenset()  # the jobs that have been followed to their end, which Slurm may learn late

    # On the login node ------------------------------------------------------------------------------------------------

    def launch_runs(self, runs: Sequence["Planned"], folder: Path) -> Sequence[JobReturn] | None:
        """Submit what is not queued or running already, and wait for all of it.

        Args:
            runs: what to run.
            folder: the sweep's, where the ids of its jobs are kept.

        Returns:
            What each run returned; None where sweep.wait=false.

        Raises:
            UserError: a setting is wrong, or Slurm refuses the jobs or would never start them; nothing is submitted.
        """
        from filelock import FileLock

        from sweeper.errors import UserError
        from sweeper.launch.follow import Task, follow, job_paths
        from sweeper.launch.slurm import Submissions

        self.prepare()
        tasks = [
            Task(one.run_id, number, list(one.overrides), one.record, (one.record.status() or {}).get("heartbeat"))
            for number, one in enumerate(runs)
        ]
        with FileLock(folder / LOCK):  # the same sweep started twice submits once
            submissions = Submissions(folder)
            submissions.cancel_if(
                lambda place: place.job in self.over or not job_paths(self.folder, place).submitted_pickle.exists()
            )
            missing = [task for task in tasks if task.key not in submissions.places]
            if len(missing) < len(tasks):
                there = len(tasks) - len(missing)
                log.info("%d run%s queued or running in Slurm already", there, " is" if there == 1 else "s are")
            if missing:
                self.submit(missing, submissions)
        assert self.config is not None
        if not self.config.sweep.wait:
            return None
        with left_to_slurm():
            returns = follow(tasks, submissions.places, self.folder, fail_fast=self.config.sweep.fail_fast)
        self.over |= {submissions.places[task.key].job for task in tasks}
        with FileLock(folder / LOCK), suppress(UserError):  # Slurm does not answer: they are forgotten another time
            Submissions(folder).forget_all_of({task.key for task in tasks})
        return returns

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The same for sweepers that know nothing of runs, such as Optuna's."""
        from sweeper.launch.follow import Task, follow
        from sweeper.launch.slurm import Submissions

        self.prepare()
        assert self.config is not None
        if not self.config.sweep.wait:
            log.warning("sweep.wait=false is passed over: this sweeper needs what its jobs return")
        numbered = enumerate(job_overrides, start=initial_job_idx)
        tasks = [Task(f"job {number}", number, list(overrides)) for number, overrides in numbered]
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            submissions = Submissions(folder)
            self.submit(tasks, submissions)
            with left_to_slurm():
                return follow(tasks, submissions.places, self.folder, fail_fast=self.config.sweep.fail_fast)
        finally:
            shutil.rmtree(folder)

    @property
    def folder(self) -> Path:
        """Where jobs have their scripts, results and logs."""
        assert self.config is not None
        return Path(self.config.output_dir).resolve() / "slurm"

    def prepare(self) -> None:
        """Check the settings and copy the code, once; what is submitted later only waits for Slurm where it is away.

        Raises:
            UserError: a setting is wrong.
        """
        from sweeper.launch.follow import until_it_answers
        from sweeper.launch.slurm import snapshot

        if self.code is not None:
            until_it_answers()
            return
        self.check()
        assert self.config is not None and self.hydra_context is not None
        sources = {source.provider: Path(source.path) for source in self.config.hydra.runtime.config_sources}
        self.code = snapshot(sources["main"], self.folder)
        self.hydra_context = with_configs_of(self.hydra_context, self.code / "conf")

    def check(self) -> None:
        """Find what is wrong in the settings.

        Raises:
            UserError: something is.
        """
        from sweeper.errors import UserError
        from sweeper.launch.slurm import newlines, partitions

        for name in ("minutes", "cpus_per_run", "runs_per_job", "concurrent", "array_parallelism", "signal_seconds"):
            if not isinstance(self.params[name], int) or self.params[name] < 1:
                raise UserError(f"hydra.launcher.{name}={self.params[name]} must be a whole number of at least 1")
        for name in ("gpus_per_run", "max_timeouts"):
            if not isinstance(self.params[name], int) or self.params[name] < 0:
                raise UserError(f"hydra.launcher.{name}={self.params[name]} must be a whole number of at least 0")
        if not isinstance(self.params["setup"], list):
            raise UserError(f"hydra.launcher.setup={self.params['setup']} must be a list of shell lines")
        if not isinstance(self.params["additional_parameters"] or {}, dict):
            raise UserError("hydra.launcher.additional_parameters must be options of sbatch: {constraint: a100}")
        memory = self.params["memory"]
        if memory is not None and not (isinstance(memory, int | float) and memory > 0):
            raise UserError(f"hydra.launcher.memory={memory} must be a number of GiB above 0")
        if (bad := next(newlines(self.params), None)) is not None:
            raise UserError(f"hydra.launcher.{bad} has a line break, which a job script cannot have there")
        given = {name.replace("_", "-") for name in self.params["additional_parameters"] or {}}
        if given & set(OURS):
            raise UserError(
                f"hydra.launcher.additional_parameters cannot set {', '.join(sorted(given & set(OURS)))}: the launcher "
                "needs it to find its jobs and what they write"
            )
        valid = partitions()
        asked_for = set(str(self.params["partition"] or "").split(",")) - {""}
        if not asked_for <= set(valid.split(", ")):
            raise UserError(f"there is no partition {self.params['partition']} here; choose from {valid}")

    def submit(self, tasks: Sequence["Task"], submissions: "Submissions") -> None:
        """Submit packs of runs, as many arrays as Slurm's limit asks for, all or none."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        from sweeper.errors import UserError
        from sweeper.launch.slurm import Submission, complaint, max_array_size

        assert self.code is not None
        size, limit = self.params["runs_per_job"], max_array_size()
        packs = [list(tasks[start : start + size]) for start in range(0, len(tasks), size)]
        self.directory = Path.cwd()
        self.singletons = Singleton.get_state()
        made: list[Submission] = []
        try:
            for start in range(0, len(packs), limit):
                array = packs[start : start + limit]
                one = Submission(f"sweeper-{uuid.uuid4().hex[:12]}", [[task.key for task in pack] for pack in array])
                made.append(one)
                submissions.add(one)
                executor = SlurmExecutor(self.folder / one.token, self.params["max_timeouts"], python=PYTHON)
                executor.update_parameters(**self.sbatch(one.token, self.code))
                with outside_of_jobs():
                    jobs = executor.map_array(self, array)
                one.job = jobs[0].job_id.partition("_")[0]
                submissions.add(one)
        except BaseException as error:
            self.withdraw(made, submissions)
            if isinstance(error, FailedJobError):
                hint = "; where there are no GPUs: hydra.launcher.gpus_per_run=0" if self.params["gpus_per_run"] else ""
                raise UserError(f"Slurm refuses the job: {complaint(str(error))}{hint}") from error
            raise
        ids = ", ".join(str(one.job) for one in made)
        what = f"{len(tasks)} run{'s' * (len(tasks) > 1)} as Slurm job{'s' * (len(made) > 1)}"
        log.info("submitted %s %s", what, ids)
        with left_to_slurm():  # they may run by now
            reason = why_never({one.token for one in made})
        if reason is not None:
            self.withdraw(made, submissions)
            raise UserError(f"Slurm would never start the job: {reason}; see `man squeue`, JOB REASON CODES")

    def withdraw(self, made: Sequence["Submission"], submissions: "Submissions") -> None:
        submissions.withdraw(made)
        for one in made:
            shutil.rmtree(self.folder / one.token, ignore_errors=True)

    def sbatch(self, token: str, code: Path) -> dict[str, Any]:
        """submitit's parameters."""
        asked, side_by_side = self.params, min(self.params["concurrent"], self.params["runs_per_job"])
        cores = asked["cpus_per_run"] * side_by_side
        limits = [f"export {name}={value}" for name, value in thread_limits(asked["cpus_per_run"]).items()]
        additional = {name.replace("_", "-"): value for name, value in (asked["additional_parameters"] or {}).items()}
        optional = {
            "partition": asked["partition"],
            "account": asked["account"],
            "qos": asked["qos"],
            "gpus_per_node": asked["gpus_per_run"] or None,
            "mem": None if asked["memory"] is None else f"{round(1024 * asked['memory'] * side_by_side)}M",
        }
        return {
            **{name: value for name, value in optional.items() if value is not None},
            "job_name": "sweeper",
            "comment": token,
            "time": asked["minutes"],
            "cpus_per_task": cores,
            "setup": [*limits, *asked["setup"]],
            # not every srun inherits the cores; from that folder Python imports the snapshot
            "srun_args": ["--ntasks=1", f"--cpus-per-task={cores}", f"--chdir={code}"],
            "array_parallelism": asked["array_parallelism"],
            "signal_delay_s": min(asked["signal_seconds"], 60 * asked["minutes"] // 4),
            "additional_parameters": ({} if "no-requeue" in additional else {"requeue": True}) | additional,
        }

    # On a compute node ------------------------------------------------------------------------------------------------

    def __call__(self, pack: list["Task"]) -> list[JobReturn]:
        """Run a pack. When a signal asks the job to end, its runs save themselves first.

        Slurm sends SIGUSR2 before the time is up, as submitit asks it to. It sends SIGTERM to a job that is preempted,
        which has to see to its being requeued, and to one that is requeued or cancelled already.
        """
        from sweeper.runs.signals import ignore_signal

        os.chdir(self.directory)
        submitits = signal.getsignal(signal.SIGUSR2)
        assert callable(submitits)

        def pass_over() -> None:
            for which in (signal.SIGTERM, signal.SIGUSR2):
                signal.signal(which, ignore_signal)

        def stop(signum: int, _: Any) -> None:
            pass_over()  # Slurm sends several for one stop
            raise SystemExit(128 + signum)

        try:
            try:
                for which in (signal.SIGTERM, signal.SIGUSR2):
                    signal.signal(which, stop)
                before = {task.key: ended for task in pack if (ended := task.ended()) is not None}
                left = [task for task in pack if task.key not in before]
                now = dict(zip([task.key for task in left], self.run_pack(left, alone=len(pack) == 1), strict=True))
                return [(before | now)[task.key] for task in pack]
            finally:
                pass_over()  # the run may have taken the first by itself
        except SystemExit as stopped:
            if stopped.code in (128 + signal.SIGTERM, 128 + signal.SIGUSR2):
                returns = [returned for task in pack if (returned := task.ended()) is not None]
                if len(returns) == len(pack):  # it came too late
                    return returns
                self.end(pack, submitits, told=stopped.code - 128)
            raise

    def run_pack(self, pack: list["Task"], *, alone: bool) -> list[JobReturn]:
        """Run one by itself in this process, several in others, so that one that dies takes no other along."""
        if alone:
            by_itself, name = super().__call__, "hydra.sweep.dir"
            return [sendable(by_itself(one.overrides, name, one.number, "", self.singletons)) for one in pack]
        start_fork_server()
        assert self.config is not None
        Singleton.set_state(self.singletons)
        task = (self.hydra_context, self.config, self.task_function, self.singletons)
        concurrent, gpus = self.params["concurrent"], os.environ.get("CUDA_VISIBLE_DEVICES", "")
        cores = concurrent * self.params["cpus_per_run"]
        workers = Workers(places(concurrent, 1, cores, gpus.split(",") if gpus else [], None))
        calls = [(one.number, one.overrides, *task) for one in pack]
        fail_fast = self.config.sweep.fail_fast
        return [sendable(returned) for returned in workers.run(calls, fail_fast=fail_fast, died=partial(bury, pack))]

    def end(self, pack: list["Task"], submitits: Any, told: int) -> None:
        """Let submitit requeue the job; where it must not or cannot, say so in the records of the runs."""
        from submitit import JobEnvironment

        from sweeper.launch.slurm import state_of

        for which in (signal.SIGTERM, signal.SIGUSR2):  # commands inherit that: Slurm may signal them too
            signal.signal(which, signal.SIG_IGN)
        job_id = JobEnvironment().job_id
        state = state_of(job_id) or state_of(job_id)  # it is busy when it cancels many
        if state == "CANCELLED" and told == signal.SIGTERM:
            note(pack, "cancelled", f"Slurm job {job_id} was cancelled")
        if state not in ("RUNNING", None):
            return
        try:
            submitits(signal.SIGUSR2, None)
        except Exception as error:
            why = str(error).removeprefix("Job not requeued because: ")
            if isinstance(error, subprocess.CalledProcessError):
                why = "Slurm refuses to requeue the job"
            note(pack, "interrupted", f"saved and stopped: {why}")
            raise RuntimeError(f"not requeued: {why}") from error


def why_never(tokens: Container[str]) -> str | None:
    """Why Slurm, having accepted jobs, says that it will not start them; None where it does not say so or is away."""
    from sweeper.errors import UserError
    from sweeper.launch.slurm import queue

    time.sleep(SETTLED)
    with suppress(UserError):
        return next((job.reason for job in queue().values() if job.comment in tokens and job.never_starts), None)
    return None


@contextmanager
def left_to_slurm() -> Iterator[None]:
    """Say that jobs go on when a signal ends the command; fail_fast, which ends it with 1, has cancelled them."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        if not isinstance(stopped, SystemExit) or stopped.code != 1:
            log.warning("Slurm goes on with the jobs; scancel ends them")
        raise


def bury(pack: Sequence["Task"], place: int, error: Died) -> None:
    """RunDirectory at once that a run's process is gone: the rest of its pack may take hours."""
    from sweeper.runs.states import (  # imports torch, which the process that manages a pack does without
        reconcile_state,
    )

    record = pack[place].record
    if record is not None:
        reconcile_state(record, str(error))


def note(pack: Sequence["Task"], state: str, error: str) -> None:
    """Write a state into the records of the runs of a pack that are interrupted."""
    for record in (task.record for task in pack if task.record is not None):
        status = record.status() or {}
        if status.get("state") == "interrupted":
            kept = {key: status.get(key) for key in ("attempt", "epoch", "step")}
            record.write_status(**kept, state=state, error=error)


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide from sbatch the job that this process may itself be in, whose settings new jobs would inherit."""
    names = [name for name in os.environ if name.startswith("SLURM_") and name not in ("SLURM_CONF", "SLURM_CLUSTERS")]
    hidden = {name: os.environ.pop(name) for name in names} if "SLURM_JOB_ID" in os.environ else {}
    try:
        yield
    finally:
        os.environ |= hidden


def with_configs_of(context: HydraContext, conf: Path) -> HydraContext:
    """A context that composes from another folder of configs."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl

    path = ConfigSearchPathImpl()
    for element in context.config_loader.get_search_path().get_path():
        path.append(element.provider, f"file://{conf}" if element.provider == "main" else element.path)
    return HydraContext(config_loader=ConfigLoaderImpl(config_search_path=path), callbacks=context.callbacks)

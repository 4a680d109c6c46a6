"""The login node's half of hydra/launcher=slurm: submit runs as job arrays, and wait for them."""

import logging
import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from sweeper.errors import UserError
from sweeper.launch.follow import follow, job_paths, wait_for_controller
from sweeper.launch.hydra_app import HydraApp
from sweeper.launch.slurm import max_array_size, parse_error, queue
from sweeper.launch.slurm_environment import hidden_from_sbatch, overruling_variables
from sweeper.launch.slurm_job import SlurmJob
from sweeper.launch.slurm_settings import Settings, check_settings, executor_parameters
from sweeper.launch.snapshot import copies, snapshot, with_configs
from sweeper.launch.submissions import Submission, Submissions
from sweeper.launch.task import Task
from sweeper.runs.extensions import loaded_texts
from sweeper.runs.naming import name_of
from sweeper.sweep.plan import Planned

log = logging.getLogger(__name__)

LOCK = ".jobs.lock"  # next to jobs.json
QUEUE_DELAY = 2.0  # seconds until Slurm shows why a job is pending
# A signal before Python installs its handlers must not end a job that Slurm is about to requeue.
PYTHON = f"""sh -c 'trap "" TERM USR2; exec "$0" "$@"' {shlex.quote(sys.executable)}"""


class Submitter:
    """Submits runs with submitit, and follows them by the files that they write and by `squeue`.

    Args:
        settings: as conf/hydra/launcher/slurm.yaml explains them.
    """

    def __init__(
        self, settings: Settings, context: HydraContext, config: DictConfig, task_function: TaskFunction
    ) -> None:
        self.settings, self.context, self.config, self.task_function = settings, context, config, task_function
        self.folder = Path(config.output_dir).resolve() / "slurm"  # of scripts, results, logs and snapshots
        self.code: Path | None = None  # the snapshot that jobs run
        self.ended: set[str] = set()  # jobs that were followed to their end; the queue may lag behind

    def launch_runs(self, runs: Sequence[Planned], folder: Path) -> Sequence[JobReturn] | None:
        """Submit the runs that are not queued or running, and wait for all of them.

        Args:
            folder: the sweep's folder, where the IDs of its jobs are recorded.

        Returns:
            The return value of each run; None with sweep.wait=false.

        Raises:
            UserError: a setting is invalid, or Slurm rejects the jobs or would never start them; nothing is submitted.
        """
        self.prepare()
        tasks = [
            Task(
                run.run_id,
                number,
                list(run.overrides),
                run.record,
                (run.record.status() or {}).get("heartbeat"),
                replace(name_of(run.run_id), position=""),  # the log of a job is of few runs
            )
            for number, run in enumerate(runs)
        ]
        with FileLock(folder / LOCK):  # the same sweep started twice is submitted once
            submissions = Submissions(folder)
            submissions.cancel_where(
                lambda at: at.job in self.ended or not job_paths(self.folder, at).submitted_pickle.exists()
            )
            missing = [task for task in tasks if task.key not in submissions.locations]
            if num_queued := len(tasks) - len(missing):
                log.info("%d run%s already queued or running in Slurm", num_queued, "s" * (num_queued > 1))
            if missing:
                self.submit(missing, submissions)
        if not self.config.sweep.wait:
            return None
        with warn_when_detached():
            returns = follow(tasks, submissions.locations, self.folder, fail_fast=self.config.sweep.fail_fast)
        self.ended |= {submissions.locations[task.key].job for task in tasks}
        with FileLock(folder / LOCK), suppress(UserError):  # while Slurm does not respond they stay recorded
            Submissions(folder).drop_all_of({task.key for task in tasks})
        return returns

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit jobs and wait for them, for sweepers that do not know the runs, such as Optuna's."""
        self.prepare()
        if not self.config.sweep.wait:
            log.warning("sweep.wait=false is ignored: this sweeper needs its jobs' results")
        numbered = enumerate(job_overrides, start=initial_job_idx)
        tasks = [Task(f"job {number}", number, list(overrides)) for number, overrides in numbered]
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir(parents=True)
        try:
            submissions = Submissions(folder)
            self.submit(tasks, submissions)
            with warn_when_detached():
                return follow(tasks, submissions.locations, self.folder, fail_fast=self.config.sweep.fail_fast)
        finally:
            shutil.rmtree(folder)

    def prepare(self) -> None:
        """Check the settings and copy the code, once. Before a later launch, wait until Slurm responds.

        Raises:
            UserError: a setting is invalid.
        """
        if self.code is not None:
            wait_for_controller()
            return
        check_settings(self.settings)
        for name in overruling_variables(executor_parameters(self.settings, "", Path())):
            log.warning("%s=%s is ignored: the launcher sets that option, see hydra.launcher", name, os.environ[name])
        sources = {source.provider: Path(source.path) for source in self.config.hydra.runtime.config_sources}
        self.code = snapshot(sources, self.folder, loaded_texts())

    def submit(self, tasks: Sequence[Task], submissions: Submissions) -> None:
        """Submit packs of runs, all or none, as several arrays where Slurm limits their size."""
        size, limit = self.settings["runs_per_job"], max_array_size()
        packs = [list(tasks[start : start + size]) for start in range(0, len(tasks), size)]
        made: list[Submission] = []
        try:
            for start in range(0, len(packs), limit):
                array = packs[start : start + limit]
                token, keys = f"sweeper-{uuid.uuid4().hex[:12]}", [[task.key for task in pack] for pack in array]
                submission = Submission(token, keys)
                made.append(submission)
                submissions.add(submission)
                submission.job = self.submit_array(array, token)
                submissions.add(submission)
        except BaseException as error:
            self.cancel(made, submissions)
            if isinstance(error, FailedJobError):
                has_gpus = self.settings["gpus_per_run"] > 0
                hint = "; on a cluster without GPUs set hydra.launcher.gpus_per_run=0" if has_gpus else ""
                raise UserError(f"Slurm rejected the job: {parse_error(str(error))}{hint}") from error
            raise
        ids = ", ".join(str(submission.job) for submission in made)
        log.info("submitted %d run%s as Slurm job%s %s", len(tasks), "s" * (len(tasks) > 1), "s" * (len(made) > 1), ids)
        with warn_when_detached():  # they may already be running
            reason = unschedulable_reason({submission.token for submission in made})
        if reason is not None:
            self.cancel(made, submissions)
            raise UserError(f"Slurm would never start the job: {reason} (see JOB REASON CODES in `man squeue`)")

    def submit_array(self, packs: Sequence[list[Task]], token: str) -> str:
        """Submit a job for each pack as an array, and return the array's id.

        Raises:
            FailedJobError: sbatch failed.
        """
        assert self.code is not None
        context = with_configs(self.context, self.code)
        app = HydraApp.here(context, self.config, self.task_function)
        app = replace(app, extensions=copies(app.extensions, self.code))
        job = SlurmJob(app, Path.cwd(), self.settings["concurrent"], self.settings["cpus_per_run"])
        executor = SlurmExecutor(self.folder / token, self.settings["max_timeouts"], python=PYTHON)
        parameters = executor_parameters(self.settings, token, self.code)
        executor.update_parameters(**parameters)
        with hidden_from_sbatch(parameters):
            jobs = executor.map_array(job, packs)
        return jobs[0].job_id.partition("_")[0]

    def cancel(self, made: Sequence[Submission], submissions: Submissions) -> None:
        """Cancel submissions and remove their files."""
        submissions.cancel(made)
        for submission in made:
            shutil.rmtree(self.folder / submission.token, ignore_errors=True)


def unschedulable_reason(tokens: Container[str]) -> str | None:
    """Return why Slurm will not start jobs that it accepted; None if it gives no such reason or does not respond."""
    time.sleep(QUEUE_DELAY)
    with suppress(UserError):
        return next((job.reason for job in queue().values() if job.comment in tokens and job.never_starts), None)
    return None


@contextmanager
def warn_when_detached() -> Iterator[None]:
    """Print that jobs keep running if a signal ends the command.

    sweep.fail_fast ends it with status 1, after cancelling them.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        if not isinstance(stopped, SystemExit) or stopped.code != 1:
            log.warning("jobs keep running; use scancel to cancel them")
        raise

"""The Hydra plugin behind hydra/launcher=parallel. Its logic is in sweeper/launch/parallel.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from sweeper.launch.parallel import ParallelRuns
    from sweeper.launch.workers import Workers
    from sweeper.sweep.plan import Planned

# Hydra imports every plugin at every start, so what a launcher needs is imported when it is chosen.


class ParallelLauncher(Launcher):
    """Runs the jobs of a sweep in parallel on this machine; a killed process fails its own job only.

    Args:
        n_jobs: jobs at a time; None: as many as the cores or the GPUs allow, see `sweeper.launch.worker_envs`.
        runs_per_gpu: runs that share a GPU.
    """

    def __init__(self, n_jobs: int | None = None, runs_per_gpu: int = 1) -> None:
        self.n_jobs, self.runs_per_gpu = n_jobs, runs_per_gpu
        self.runs: ParallelRuns | None = None  # kept from one launch to the next
        self.workers: Workers | None = None  # likewise

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweeper.launch.worker_process import start_fork_server

        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        start_fork_server()

    @property
    def envs(self) -> list[dict[str, str]]:
        from sweeper.launch.worker_envs import local_worker_envs

        return local_worker_envs(self.n_jobs, self.runs_per_gpu, self.config.threads, self.config.device)

    @property
    def concurrency(self) -> int:
        return len(self.envs)

    def launch_runs(self, runs: "Sequence[Planned]", folder: Path) -> Sequence[JobReturn]:
        """Launch planned runs, which are shown in a live table where the terminal can redraw it."""
        from sweeper.launch.hydra_app import HydraApp
        from sweeper.launch.parallel import ParallelRuns

        app = HydraApp.here(self.hydra_context, self.config, self.task_function)
        self.runs = self.runs or ParallelRuns(self.envs, verbose=self.config.verbose)
        return self.runs.launch(app, runs, folder)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Launch jobs of a sweeper that does not plan runs, such as Hydra's own."""
        from sweeper.launch.hydra_app import HydraApp
        from sweeper.launch.workers import Workers

        app = HydraApp.here(self.hydra_context, self.config, self.task_function)
        self.workers = self.workers or Workers(self.envs)
        jobs = [(number, list(overrides)) for number, overrides in enumerate(job_overrides, start=initial_job_idx)]
        return self.workers.run(app.execute, jobs, fail_fast=self.config.sweep.fail_fast)

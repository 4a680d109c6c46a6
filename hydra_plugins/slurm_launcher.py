"""The Hydra plugin behind hydra/launcher=slurm. Its logic is in sweeper/launch/slurm_submit.py and slurm_job.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from sweeper.sweep.plan import Planned


class SlurmLauncher(Launcher):
    """Runs the jobs of a sweep as Slurm job arrays: preempted, requeued, packed.

    Args:
        settings: as conf/hydra/launcher/slurm.yaml explains them.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweeper.launch.slurm_submit import Submitter  # not at the top: Hydra imports every plugin at every start

        self.submitter = Submitter(self.settings, hydra_context, config, task_function)

    def launch_runs(self, runs: "Sequence[Planned]", folder: Path) -> Sequence[JobReturn] | None:
        """Launch runs that have an id: those that are queued or running already are not submitted again."""
        return self.submitter.launch_runs(runs, folder)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.submitter.launch(job_overrides, initial_job_idx)

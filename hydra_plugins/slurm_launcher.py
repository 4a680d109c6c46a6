"""The Hydra plugin behind hydra/launcher=slurm. Its logic is in sweeper/launch/slurm_submit.py and slurm_job.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from omegaconf import DictConfig

if TYPE_CHECKING:
    from sweeper.sweep.plan import Planned


class SlurmLauncher(submitit_launcher.SlurmLauncher):  # type: ignore[misc]
    """Hydra's Slurm launcher, with runs that are requeued, packed and found again.

    Every argument is explained in conf/hydra/launcher/slurm.yaml.
    """

    can_detach = True  # sweep.wait=false has an effect

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from sweeper.launch.slurm_submit import Submitter  # not at the top: Hydra imports every plugin at every start

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.submitter = Submitter(self.params, hydra_context, config, task_function)

    def launch_runs(self, runs: "Sequence[Planned]", folder: Path) -> Sequence[JobReturn] | None:
        """Launch runs that have an id: those that are queued or running already are not submitted again."""
        return self.submitter.launch_runs(runs, folder)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.submitter.launch(job_overrides, initial_job_idx)

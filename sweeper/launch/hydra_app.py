"""The Hydra application, pickled for other processes to execute its jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


@dataclass(frozen=True)
class HydraApp:
    """The parts of a Hydra application that a process needs to execute a job.

    Attributes:
        singletons: the state of Hydra's singletons in the process that launches.
        extensions: the files that were loaded there, see sweeper.runs.extensions.load.
    """

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: dict[Any, Any]
    extensions: list[tuple[str, str, str]]

    @classmethod
    def here(cls, context: HydraContext, config: DictConfig, task_function: TaskFunction) -> "HydraApp":
        """Create the application with the singletons of this process."""
        from sweeper.runs.extensions import (
            loaded_texts,
        )  # imports torch, which the process of a Slurm job can do without

        return cls(context, config, task_function, Singleton.get_state(), loaded_texts())

    def execute(self, number: int, overrides: Sequence[str], job_id: str | None = None) -> JobReturn:
        """Compose the config of a job and run it, as Hydra's joblib and submitit launchers do.

        Args:
            number: `hydra.job.num`.
            job_id: `hydra.job.id`; by default made of the job's name and number.
        """
        from sweeper.runs.extensions import load

        load((), self.extensions)
        Singleton.set_state(self.singletons)
        setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = job_id or f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        return run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

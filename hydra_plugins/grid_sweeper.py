"""hydra/sweeper=grid: the sweeper behind `python train.py -m`. Its logic is in sweeper/sweep/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Runs every combination of the swept values, after all of them have been checked.

    Args:
        params: sweeps that the config asks for by itself, as {key: values}; the command line's come after them.
    """

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch the jobs and wait for them.

        Raises:
            UserError: a job cannot run, in which case none was started, or some did not finish.
        """
        from sweeper.cli import typed
        from sweeper.errors import UserError
        from sweeper.sweep.plan import check_all, expand

        assert self.hydra_context is not None and self.config is not None  # Hydra calls setup first
        config, loader = self.config, self.hydra_context.config_loader
        asked_for = [f"{key}={value}" for key, value in self.params.items()] + arguments
        jobs = expand(OverridesParser.create(config_loader=loader).parse_overrides(asked_for))

        def compose(job: list[str]) -> Any:
            composed = loader.load_sweep_config(config, job)
            OmegaConf.set_struct(composed, False)
            del composed["hydra"]
            return typed(composed)

        check_all(jobs, compose)
        folder = Path(str(config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        unfinished = [" ".join(job) for job, one in zip(jobs, returns, strict=True) if not succeeded(one)]
        if unfinished:
            raise UserError(f"{len(unfinished)} of {len(jobs)} runs did not finish: {'; '.join(unfinished)}")
        return [returns]


def succeeded(one: JobReturn) -> bool:
    """Whether a job returned; where it raised, Hydra prints its overrides and this its error."""
    try:
        _ = one.return_value
    except Exception as error:
        print(f"error: {error}")
        return False
    return True

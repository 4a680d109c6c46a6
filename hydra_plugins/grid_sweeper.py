"""hydra/sweeper=grid: the sweeper behind `python train.py -m`. Its logic is in sweeper/sweep/."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Runs every combination of the swept values that is not finished, after all of them have been checked.

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

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Plan, launch and wait; see sweeper.sweep.execute.run_sweep."""
        from sweeper.cli import typed
        from sweeper.errors import UserError
        from sweeper.sweep.execute import run_sweep

        assert self.hydra_context is not None and self.config is not None  # Hydra calls setup first
        config, loader = self.config, self.hydra_context.config_loader
        asked_for = [f"{key}={value}" for key, value in self.params.items()] + arguments
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(asked_for)

        def compose(job: list[str]) -> Any:
            composed = loader.load_sweep_config(config, job)
            if OmegaConf.select(composed, "hydra.sweeper.params") != config.hydra.sweeper.params:
                raise UserError(
                    "an experiment that is a sweep by itself cannot be one value of another: start it alone"
                )
            OmegaConf.set_struct(composed, False)
            del composed["hydra"]
            return typed(composed)

        return run_sweep(overrides, compose, lambda jobs: self.launcher.launch(jobs, initial_job_idx=0))

"""The Hydra plugin behind `python train.py -m`: hydra/sweeper=grid. Its logic is in sweeper/sweep/."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from sweeper.sweep.compose import Composer
    from sweeper.sweep.plan import Planned

log = logging.getLogger(__name__)


class GridSweeper(Sweeper):
    """Checks every combination of the swept values, then runs those that are not finished.

    Args:
        params: sweeps that the config defines, as {key: values}; those of the command line follow.
    """

    def __init__(self, params: dict[str, str] | None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config: DictConfig = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Plan, launch and wait; see sweeper.sweep.execute.run_sweep."""
        from sweeper.sweep.starting import marks

        with marks(Path(self.config.output_dir)) as on_planned:
            from sweeper.summary.conclusion import print_conclusion
            from sweeper.sweep.execute import run_sweep

            overrides, compose, concurrency = self.prepare(arguments)
            if not self.config.sweep.wait and not getattr(self.launcher, "can_detach", False):
                name = self.config.hydra.runtime.choices["hydra/launcher"]
                log.warning("sweep.wait=false is ignored: hydra/launcher=%s waits for its runs", name)
            return run_sweep(overrides, compose, self.launch, concurrency, print_conclusion, on_planned)

    def prepare(self, arguments: list[str]) -> "tuple[list[Override], Composer, int | None]":
        """Return the sweep's overrides, parsed, the composer of its jobs, and how many of them run at a time."""
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher  # earlier, it breaks discovery

        from sweeper.sweep.compose import Composer

        assert self.hydra_context is not None  # Hydra calls setup first
        compose = Composer(self.hydra_context.config_loader, self.config)
        sweeps = [f"{key}={value}" for key, value in self.params.items()] + arguments
        concurrency = 1 if isinstance(self.launcher, BasicLauncher) else getattr(self.launcher, "concurrency", None)
        return compose.parser.parse_overrides(sweeps), compose, concurrency

    def launch(self, runs: "Sequence[Planned]", folder: Path) -> Sequence[JobReturn] | None:
        """Pass runs to a launcher that takes runs, or their overrides to one that does not."""
        if hasattr(self.launcher, "launch_runs"):
            returns: Sequence[JobReturn] | None = self.launcher.launch_runs(runs, folder)
            return returns
        from sweeper.runs.naming import NAMES, NamedTask

        assert self.hydra_context is not None  # Hydra calls setup first
        task_function = NamedTask(self.task_function, NAMES.get())
        self.launcher.setup(hydra_context=self.hydra_context, task_function=task_function, config=self.config)
        return self.launcher.launch([run.overrides for run in runs], initial_job_idx=0)

"""The Hydra plugin behind hydra/sweeper=optuna. Its logic is in sweeper/sweep/search.py."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from hydra_plugins import grid_sweeper
from sweeper.errors import UserError


class OptunaSweeper(grid_sweeper.GridSweeper):
    """Searches the swept values with Optuna.

    Every argument is explained in conf/hydra/sweeper/optuna.yaml.
    """

    def __init__(
        self,
        sampler: DictConfig,
        n_trials: int,
        n_jobs: int | None,
        storage: str | None,
        study_name: str | None,
        params: dict[str, str] | None,
    ) -> None:
        super().__init__(params)
        self.sampler, self.n_trials, self.n_jobs = sampler, n_trials, n_jobs
        self.storage, self.study_name = storage, study_name

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Search, see sweeper.sweep.search.run_search."""
        from sweeper.summary.terminal import print_runs
        from sweeper.sweep.starting import marks

        try:
            from sweeper.sweep.search import run_search
            from sweeper.sweep.study import Search
        except ImportError as error:  # without optuna, or with version 2, which lacks distributions
            install = "pip install -e '.[optuna]' in the program's folder"
            raise UserError(f"hydra/sweeper=optuna needs optuna 4 or later, an extra: {install} ({error})") from error

        overrides, compose, concurrency = self.prepare(arguments)
        search = Search(self.sampler, self.n_trials, self.n_jobs, self.storage, self.study_name)
        with marks(Path(self.config.output_dir)) as on_planned:
            return run_search(overrides, compose, self.launch, concurrency, print_runs, search, on_planned)

"""hydra/launcher=parallel: runs on worker processes, shown in a live table where the terminal can redraw it."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from hydra.core.utils import JobReturn

from sweeper.display import can_redraw
from sweeper.launch.hydra_app import HydraApp
from sweeper.launch.live import LiveTable
from sweeper.launch.workers import Workers
from sweeper.runs.naming import NamedTask, name_of
from sweeper.sweep.plan import Planned


class ParallelRuns:
    """Worker processes for the runs of a sweep, which stay from one launch to the next.

    Args:
        envs: the environment variables of each worker.
        verbose: whether workers print what they do instead of a table that shows it.
    """

    def __init__(self, envs: Sequence[dict[str, str]], *, verbose: bool) -> None:
        self.outputs: list[Connection] | None = [] if can_redraw(sys.stdout) and not verbose else None
        self.workers = Workers(envs, self.outputs)

    def launch(self, app: HydraApp, runs: Sequence[Planned], folder: Path) -> Sequence[JobReturn]:
        """Train runs of the sweep that is planned in a folder.

        Raises:
            SystemExit, KeyboardInterrupt: the sweep was stopped; its runs have saved checkpoints.
        """
        names = {run.run_id: replace(name_of(run.run_id), in_table=self.outputs is not None) for run in runs}
        jobs = [(number, list(run.overrides)) for number, run in enumerate(runs)]
        table = nullcontext() if self.outputs is None else LiveTable(folder, self.outputs)
        with table:
            return self.workers.run(
                replace(app, task_function=NamedTask(app.task_function, names)).execute,
                jobs,
                fail_fast=app.config.sweep.fail_fast,
                names=[names[run.run_id].text for run in runs],
            )

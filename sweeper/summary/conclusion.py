"""The end of a sweep: its table averaged over seeds, the answer in sentences, and what to do next."""

import shlex
from collections.abc import Collection
from pathlib import Path

from sweeper.display import stdout_console
from sweeper.runs.provenance import next_command
from sweeper.summary.best import SEED
from sweeper.summary.caption import SHARED
from sweeper.summary.effects import effects
from sweeper.summary.effects_text import print_answers
from sweeper.summary.other_images import correctness_of
from sweeper.summary.study import Method
from sweeper.summary.table import lay_out, read_runs
from sweeper.summary.terminal import print_table
from sweeper.sweep.saved import precision_of


def print_conclusion(output_dir: Path, only: Collection[str], sweep: str) -> None:
    """Print the table of a sweep, a row for each configuration, its answer, and the command that shows more.

    The settings that all runs share, which the command has, are left to `summary`.

    Args:
        output_dir: the folder that has runs/ and sweeps/.
        only: the IDs of the sweep's runs.
        sweep: its name.
    """
    frame, skipped = read_runs(output_dir, only)
    table, caption = lay_out(frame, skipped, over=SEED, is_typed=True)
    caption = "\n".join(line for line in caption.splitlines() if not line.startswith(SHARED))
    print_table(table, caption, None, sweep, output_dir)
    method = Method(precision=precision_of(output_dir, sweep))
    found = effects(frame, method=method, correctness=correctness_of(frame, output_dir / "runs"), skipped=skipped)
    console = stdout_console()
    console.print()
    print_answers(found, console)
    command = "effects" if found.nothing is None else "summary"
    print(next_command(f"{command} {shlex.quote(sweep)}", output_dir))

"""Folders for TensorBoard, whose runs have the names that log and tables use. No torch here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from sweeper.errors import UserError
from sweeper.sweep.saved import find_sweep, names_in_plan, read_plan

FOLDER = "tensorboard"  # in the output folder, with a folder of links for each sweep, and one for all runs
ALL = "all"
LONGEST = 100  # characters of a name, the last ones; file systems take 255 bytes
PERIOD = 10.0  # seconds between two looks for new runs


def show_in_tensorboard(output_dir: Path, sweep: str | None, port: int) -> int:
    """Run TensorBoard on all runs, or on those of a sweep, until it ends; runs that start meanwhile are added.

    Returns:
        TensorBoard's exit status.

    Raises:
        UserError: there is no such sweep, there are no runs, or TensorBoard's folder cannot be written.
    """
    board = make_board(output_dir, sweep)
    arguments = [sys.executable, "-m", "tensorboard.main", "--logdir", str(board), "--port", str(port)]
    with subprocess.Popen(arguments) as program:
        while True:
            try:
                return program.wait(PERIOD)
            except subprocess.TimeoutExpired:
                update_board(board, output_dir, sweep)
            except KeyboardInterrupt:  # which TensorBoard has got, too
                return program.wait()


def make_board(output_dir: Path, sweep: str | None) -> Path:
    """Make the folder of links to the events of all runs, or of those of a sweep.

    Raises:
        UserError: see `show_in_tensorboard`.
    """
    board = output_dir / FOLDER / (ALL if sweep is None else find_sweep(output_dir, sweep).name)
    try:
        shutil.rmtree(board, ignore_errors=True)
        board.mkdir(parents=True)
        update_board(board, output_dir, sweep)
    except OSError as error:
        raise UserError(f"{board} cannot be written: {error.strerror}") from error
    if not any(board.iterdir()):
        raise UserError(f"there are no runs in {output_dir / 'runs'}; train one: python train.py data=digits")
    return board


def update_board(board: Path, output_dir: Path, sweep: str | None) -> None:
    """Add links for runs that have none yet."""
    if sweep is None:
        names = {path.name: path.name for path in (output_dir / "runs").glob("*") if path.is_dir()}
    else:
        names = names_in_plan(read_plan(find_sweep(output_dir, sweep)))
    for run_id, name in names.items():
        link = board / re.sub(r"[/\\\0]+", "_", name)[-LONGEST:]
        if not link.is_symlink():
            link.symlink_to((output_dir / "runs" / run_id / "tensorboard").resolve(), target_is_directory=True)

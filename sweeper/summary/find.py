"""The run that a command names: an ID, its last digits, `best`, or a folder."""

from pathlib import Path

from sweeper.errors import UserError, format_names
from sweeper.runs.directory import RunDirectory
from sweeper.runs.provenance import command_of
from sweeper.runs.states import State, state_of
from sweeper.summary.best import best_run
from sweeper.summary.gather import is_old
from sweeper.summary.table import read_runs

BEST = "best"


def find_run(name: str, output_dir: Path) -> RunDirectory:
    """Return the directory of a run.

    Args:
        name: a run ID, its last digits, a run directory, or `best` for the best run of the best configuration.
        output_dir: the folder that has runs/.

    Raises:
        UserError: there is no such run, several have these last digits, or version 0.1 trained it.
    """
    if name == BEST:
        return best_record(output_dir)
    folder = Path(name)
    if not (folder / "run.json").exists():
        names = (output_dir / "runs").glob("*") if folder.name else ()
        found = [path for path in names if path.name.endswith(folder.name)]
        exact = [path for path in found if path.name == folder.name]
        if len(found) > 1 and not exact:
            raise UserError(f"{name} matches {len(found)} runs: {format_names(path.name for path in found)}")
        folder = (exact or found or [folder])[0]
    record = RunDirectory(folder.resolve() if folder.name in ("", "..") else folder)
    if record.run() is not None:
        return record
    if is_old(folder):
        raise UserError(f"{folder} is a run of version 0.1 (schema 1); train it again")
    if folder.is_dir():
        raise UserError(f"{folder} has no readable run.json")
    raise UserError(f"{name} not found: give a run ID, its last digits, {BEST} or a run directory")


def find_finished(name: str, output_dir: Path) -> RunDirectory:
    """Return the directory of a finished run, see `find_run`.

    Raises:
        UserError: it is not finished, or see `find_run`.
    """
    record = find_run(name, output_dir)
    if record.result() is None:
        state = state_of(record)
        advice = "" if state in (State.RUNNING, State.DIVERGED) else f"; to finish it: {command_of(record)}"
        raise UserError(f"{record.run_id} has no result (state: {state}){advice}")
    return record


def find_ensemble(names: str, output_dir: Path) -> list[RunDirectory]:
    """Return the directories of finished runs, see `find_run`.

    Args:
        names: of one run, or of several separated by commas.
        output_dir: the folder that has runs/.

    Raises:
        UserError: a run is named twice, or see `find_finished`.
    """
    separate = [names] if Path(names).exists() else names.split(",")
    records = [find_finished(name, output_dir) for name in separate]
    if len({record.run_id for record in records}) < len(records):
        raise UserError(f"{names}: a run is named twice; an ensemble needs different runs")
    return records


def best_record(output_dir: Path) -> RunDirectory:
    """Return the directory of the best run of the best configuration, see sweeper.summary.best.

    Raises:
        UserError: no run is finished.
    """
    frame, _ = read_runs(output_dir)
    run_id = best_run(frame)
    if run_id is None:
        raise UserError(f"no run in {output_dir / 'runs'} is finished")
    return RunDirectory(output_dir / "runs" / str(run_id))

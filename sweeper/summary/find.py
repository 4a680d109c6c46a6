"""The run that a command names: an ID, its last digits, `best`, or a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sweeper.errors import UserError, format_names
from sweeper.files import exists
from sweeper.runs.directory import RunDirectory
from sweeper.runs.provenance import command_of
from sweeper.runs.states import State, state_of
from sweeper.summary.best import best_run
from sweeper.summary.columns import FINGERPRINT, format_value
from sweeper.summary.gather import is_old
from sweeper.summary.table import read_runs
from sweeper.summary.table import where as select
from sweeper.sweep.saved import ids_of

BEST = "best"


def find_run(name: str, output_dir: Path, sweep: str | None = None, where: Sequence[str] = ()) -> RunDirectory:
    """Return the directory of a run.

    Args:
        name: a run ID, its last digits, a run directory, or `best` for the best run of the best configuration.
        output_dir: the folder that has runs/.
        sweep, where: the runs among which `best` is chosen: those of a sweep, and those with every COLUMN=VALUE.

    Raises:
        UserError: there is no such run, several have these last digits, version 0.1 trained it, or see `best_record`.
    """
    if not name:
        raise UserError(f"a run without a name: give a run ID, its last digits, {BEST} or a run directory")
    if name == BEST:
        return best_record(output_dir, sweep, where)
    if sweep is not None or where:
        raise UserError(f"--sweep and --where choose among runs for {BEST}; {name} is a run")
    folder = Path(name)
    if len(folder.parts) < 2 and not exists(folder / "run.json"):  # a name with folders is a path
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
    if exists(folder):
        raise UserError(f"{folder} has no readable run.json")
    raise UserError(f"{name} not found: give a run ID, its last digits, {BEST} or a run directory")


def find_finished(name: str, output_dir: Path, sweep: str | None = None, where: Sequence[str] = ()) -> RunDirectory:
    """Return the directory of a finished run, see `find_run`.

    Raises:
        UserError: it is not finished, or see `find_run`.
    """
    record = find_run(name, output_dir, sweep, where)
    if record.result() is None:
        state = state_of(record)
        advice = "" if state in (State.RUNNING, State.DIVERGED) else f"; to finish it: {command_of(record)}"
        raise UserError(f"{record.run_id} has no result (state: {state}){advice}")
    return record


def find_ensemble(
    names: str, output_dir: Path, sweep: str | None = None, where: Sequence[str] = ()
) -> list[RunDirectory]:
    """Return the directories of finished runs, see `find_run`.

    Args:
        names: of one run, or of several separated by commas.
        output_dir: the folder that has runs/.
        sweep, where: see `find_run`.

    Raises:
        UserError: a run is named twice, or see `find_finished`.
    """
    separate = [names] if exists(Path(names)) else names.split(",")
    records = find_each(separate, output_dir, sweep, where, find_finished)
    if len({record.run_id for record in records}) < len(records):
        raise UserError(f"{names}: a run is named twice; an ensemble needs different runs")
    return records


def find_each(
    names: Sequence[str],
    output_dir: Path,
    sweep: str | None = None,
    where: Sequence[str] = (),
    find: Callable[..., RunDirectory] = find_run,
) -> list[RunDirectory]:
    """Return the directories of several runs, see `find_run`; `sweep` and `where` choose among the best of them alone.

    Raises:
        UserError: see `find`; `sweep` or `where` is given and no run is `best`.
    """
    return [
        find(name, output_dir, *((sweep, where) if name == BEST or BEST not in names else (None, ()))) for name in names
    ]


def best_record(output_dir: Path, sweep: str | None = None, where: Sequence[str] = ()) -> RunDirectory:
    """Return the directory of the best run of the best configuration, see sweeper.summary.best.

    Raises:
        UserError: no run is finished, or those that are have several datasets, whose accuracies are not comparable.
    """
    found = best_records(output_dir, sweep, where)
    if len(found) > 1:
        first = next(iter(found))
        raise UserError(
            f"{BEST}: the finished runs have several datasets, {format_names(found)}; choose one with --where {first}"
        )
    return next(iter(found.values()))


def best_records(output_dir: Path, sweep: str | None = None, where: Sequence[str] = ()) -> dict[str, RunDirectory]:
    """Return the best run of the best configuration of each dataset, by the condition that selects the dataset.

    Raises:
        UserError: no run is finished.
    """
    frame, _ = read_runs(output_dir, ids_of(output_dir, sweep))
    frame = select(frame, where)
    finished = frame[frame["state"] == "finished"]
    found = {}
    for _, runs in finished.groupby(FINGERPRINT, dropna=False, sort=False):
        name, fingerprint = runs["data"].iloc[0], format_value(FINGERPRINT, runs[FINGERPRINT].iloc[0])
        is_unique = finished[finished["data"] == name][FINGERPRINT].nunique() <= 1
        condition = f"data={name}" if is_unique else f"{FINGERPRINT}={fingerprint}"
        if (run_id := best_run(runs)) is not None:
            found[condition] = RunDirectory(output_dir / "runs" / str(run_id))
    if not found:
        of_sweep = f" of sweep {sweep}" if sweep else f" in {output_dir / 'runs'}"
        chosen = f" with {' '.join(where)}" if where else ""
        raise UserError(f"no run{of_sweep}{chosen} is finished")
    return found

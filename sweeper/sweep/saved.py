"""The plans that sweeps leave in <output_dir>/sweeps/<name>/sweep.json, found and read. No torch here."""

from pathlib import Path
from typing import Any

from sweeper.errors import UserError, format_names
from sweeper.files import number, read_json
from sweeper.runs.states import Action, Reason

JOBS = "jobs.json"  # beside a plan: what Slurm has of it
ACTIONS, REASONS = {action.value for action in Action}, {reason.value for reason in Reason}
MANY = 10**6  # more epochs or places than anybody has


def find_sweep(output_dir: Path, name: str | None) -> Path:
    """The folder of a sweep, by default the one that was started last.

    Raises:
        UserError: there is none.
    """
    files = sorted((output_dir / "sweeps").glob("*/sweep.json"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name for path in files]
    if not files:
        raise UserError(f"there is no sweep in {output_dir / 'sweeps'}; start one: python train.py -m model=mlp,cnn")
    if name is not None and name not in names:
        raise UserError(f"there is no sweep {name} in {output_dir / 'sweeps'}; there is {format_names(names)}")
    return files[names.index(name) if name is not None else -1].parent


def read_plan(folder: Path) -> dict[str, Any]:
    """What a sweep's sweep.json says.

    Raises:
        UserError: another version wrote it, or it is damaged.
    """
    plan = read_json(folder / "sweep.json")
    if plan is None or not is_whole(plan):
        raise UserError(
            f"{folder / 'sweep.json'} is damaged or of another version: remove {folder}, or give the sweep another "
            "name with sweep.name=NAME; runs are kept elsewhere and stay"
        )
    return plan


def is_whole(plan: dict[str, Any]) -> bool:
    """Whether a plan has what this version writes, in its kinds."""
    try:
        return (
            isinstance(plan["command"], str)
            and is_number(plan["created"])
            and (plan["concurrency"] is None or is_count(plan["concurrency"]))
            and all(
                isinstance(job["run_id"], str)
                and job["action"] in ACTIONS
                and job["reason"] in REASONS
                and all(job[key] is None or is_number(job[key]) for key in ("seconds", "heartbeat"))
                and is_count(job["epochs"])
                and isinstance(job["overrides"], list)
                and all(isinstance(override, str) for override in job["overrides"])
                for job in plan["jobs"]
            )
        )
    except (KeyError, TypeError):
        return False


def is_number(value: Any) -> bool:
    return number(value) is not None


def is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 < value < MANY


def own_jobs(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The combinations of a plan that have runs of their own: neither excluded nor equal to an earlier one."""
    return [job for job in plan["jobs"] if job["action"] not in (Action.DUPLICATE, Action.EXCLUDED)]


def queued_runs(folder: Path) -> dict[str, float]:
    """The runs of a sweep that Slurm was given, and when: as far as files say, for their jobs may be over by now."""
    submissions = (read_json(folder / JOBS) or {}).get("submissions", [])
    return {run_id: one.get("made", 0.0) for one in submissions for pack in one["packs"] for run_id in pack}


def ids_of(output_dir: Path, name: str | None) -> set[str] | None:
    """The run ids of a sweep; None, which stands for all runs, where no sweep is named.

    Raises:
        UserError: there is no such sweep, or its plan is damaged.
    """
    return None if name is None else {job["run_id"] for job in own_jobs(read_plan(find_sweep(output_dir, name)))}

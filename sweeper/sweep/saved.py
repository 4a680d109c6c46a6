"""Saved plans: find and read <output_dir>/sweeps/<name>/sweep.json. No torch here: readers start fast."""

import json
from pathlib import Path
from typing import Any

from sweeper.errors import UserError, format_names
from sweeper.files import SCHEMA, number, read_json
from sweeper.runs.naming import short_name
from sweeper.runs.provenance import in_folder
from sweeper.runs.states import Action, Reason
from sweeper.sweep.notation import swept_overrides

JOBS = "jobs.json"  # next to a plan: its jobs in Slurm
ACTIONS, REASONS = {action.value for action in Action}, {reason.value for reason in Reason}
MAX_CONCURRENCY = 10**6  # a file with that many runs at a time is damaged


def plans_of(output_dir: Path) -> list[Path]:
    """Return the files of the sweeps' plans, that of the sweep that was started last at the end."""
    files = (output_dir / "sweeps").glob("*/sweep.json")
    return sorted(files, key=lambda path: (path.stat().st_mtime, path))


def find_sweep(output_dir: Path, name: str | None) -> Path:
    """Return the folder of a sweep, by default of the sweep that was started last.

    Raises:
        UserError: there is none.
    """
    files = plans_of(output_dir)
    names = [path.parent.name for path in files]
    if not files:
        example = "python train.py -m model=mlp,cnn"
        raise UserError(f"no sweeps in {output_dir / 'sweeps'}; start one: {example}")
    if name is not None and name not in names:
        raise UserError(f"sweep {name} not found in {output_dir / 'sweeps'}; choose from {format_names(names)}")
    return files[names.index(name) if name is not None else -1].parent


def read_plan(folder: Path) -> dict[str, Any]:
    """Read a sweep's sweep.json; its command names the output folder where that has moved.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    plan = read_json(folder / "sweep.json")
    if plan is None or not is_whole(plan):
        raise UserError(
            f"{folder / 'sweep.json'} is damaged or was written by another version: remove {folder}, or choose another "
            "name with sweep.name=NAME; the runs are stored elsewhere and are kept"
        )
    if isinstance(recorded := plan.get("outputs"), str):
        plan["command"] = in_folder(plan["command"], recorded, folder.parent.parent)
    return plan


def earlier_plan(folder: Path) -> dict[str, Any] | None:
    """Return the plan that a sweep's folder has; None where there is none, or an earlier version wrote it.

    Raises:
        UserError: the plan is damaged or of a later version.
    """
    file = folder / "sweep.json"
    try:
        schema = json.loads(file.read_text(encoding="utf-8")).get("schema")
    except (FileNotFoundError, NotADirectoryError):  # a file where the output folder should be is reported later
        return None
    except (OSError, ValueError, AttributeError):
        schema = None
    return None if isinstance(schema, int) and schema < SCHEMA else read_plan(folder)


def is_whole(plan: dict[str, Any]) -> bool:
    """Return whether a plan has the fields and types that this version writes."""
    try:
        return (
            isinstance(plan["command"], str)
            and is_number(plan["created"])
            and (
                plan["concurrency"] is None or (is_count(plan["concurrency"]) and plan["concurrency"] < MAX_CONCURRENCY)
            )
            and all(
                isinstance(job["run_id"], str)
                and job["action"] in ACTIONS
                and job["reason"] in REASONS
                and all(job[key] is None or is_number(job[key]) for key in ("seconds", "heartbeat"))
                and is_count(job["epochs"])
                and (job["epoch"] is None or is_count(job["epoch"]))
                and all(is_list_of_strings(job[key]) for key in ("overrides", "changed"))
                for job in plan["jobs"]
            )
        )
    except (KeyError, TypeError):
        return False


def is_number(value: Any) -> bool:
    return number(value) is not None


def is_count(value: Any) -> bool:
    return isinstance(value, int) and is_number(value) and value > 0


def is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def own_jobs(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the jobs of a plan that have their own run: neither excluded nor duplicates of earlier jobs."""
    return [job for job in plan["jobs"] if job["action"] not in (Action.DUPLICATE, Action.EXCLUDED)]


def swept_in_plan(plan: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return each job of a plan that has its own run, with what distinguishes it from the others.

    Those that sweeper.sweep.statuses.select_jobs left out count as others.
    """
    jobs = own_jobs(plan | {"jobs": plan.get("all_jobs", plan["jobs"])})
    searched = plan["searched"] if is_list_of_strings(plan.get("searched")) else []
    texts = swept_overrides([job["overrides"] for job in jobs], str(plan.get("design")), searched)
    selected = {job["run_id"] for job in own_jobs(plan)}
    return [(job, text) for job, text in zip(jobs, texts, strict=True) if job["run_id"] in selected]


def names_in_plan(plan: dict[str, Any]) -> dict[str, str]:
    """Return the name of each run of a plan: what was swept and the end of its ID."""
    return {job["run_id"]: short_name(swept, job["run_id"]) for job, swept in swept_in_plan(plan)}


def queued_runs(folder: Path) -> dict[str, float]:
    """Return the runs of a sweep that were submitted to Slurm, and when. Their jobs may have ended since."""
    submissions = (read_json(folder / JOBS) or {}).get("submissions", [])
    return {run_id: item.get("made", 0.0) for item in submissions for pack in item["packs"] for run_id in pack}


def ids_of(output_dir: Path, name: str | None) -> set[str] | None:
    """Return the run ids of a sweep; None, which stands for all runs, where no sweep is named.

    Raises:
        UserError: there is no such sweep, or its plan is damaged.
    """
    return None if name is None else {job["run_id"] for job in own_jobs(read_plan(find_sweep(output_dir, name)))}


def precision_of(output_dir: Path, name: str | None) -> float | None:
    """Return the sweep.precision that a sweep was run with; None where it had none, or no sweep is named.

    Raises:
        UserError: there is no such sweep, or its plan is damaged.
    """
    return None if name is None else number(read_plan(find_sweep(output_dir, name)).get("precision"))


def sweeps_with_precision(output_dir: Path) -> list[str]:
    """Return the names of the sweeps that were run with sweep.precision, in order."""
    files = sorted((output_dir / "sweeps").glob("*/sweep.json"))
    return [file.parent.name for file in files if number((read_json(file) or {}).get("precision")) is not None]

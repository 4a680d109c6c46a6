"""A sweep from its overrides to its end: plan, launch, and judge by what the runs recorded."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn

from sweeper.config import Config
from sweeper.errors import SENTENCES, UserError
from sweeper.record import Record
from sweeper.run import reread
from sweeper.summary.table import lay_out, print_table, read_runs
from sweeper.sweep.expand import Job, expand
from sweeper.sweep.plan import Planned, describe, make_plan, save_plan

log = logging.getLogger(__name__)

Launch = Callable[[list[Job]], Sequence[JobReturn]]


def run_sweep(overrides: list[Override], compose: Callable[[Job], Config], launch: Launch) -> Sequence[JobReturn]:
    """Run what a sweep asks for and is not finished; print its table.

    Args:
        overrides: the command's, parsed by Hydra.
        compose: makes the config of a job.
        launch: hands jobs to the Hydra launcher and waits for them.

    Raises:
        UserError: a job cannot run, in which case none was started, or some did not finish.
    """
    fixed = expand(override for override in overrides if not override.is_sweep_override())
    base = compose(fixed[0])
    jobs = expand(overrides, base.sweep.zip)
    if not jobs:
        raise UserError("nothing matches what is swept: a glob or a range has no values")
    plan = make_plan(jobs, compose)
    folder = Path(base.output_dir) / "sweeps" / (base.sweep.name or derived_name(overrides))
    log.info("sweep %s\n%s", folder.name, describe(plan))
    if base.sweep.dry_run:
        return []
    save_plan(folder, plan, [override.input_line or "" for override in overrides])
    for one in plan:
        if one.fate == "finished":
            reread(Record(Path(base.output_dir) / "runs" / one.run_id), one.config)
    to_run = [one for one in plan if one.fate == "run"]
    returns = launch([one.overrides for one in to_run]) if to_run else []
    for one, returned in zip(to_run, returns, strict=True):
        report(one, returned)
    frame, _ = read_runs(Path(base.output_dir), {one.run_id for one in plan if one.run_id})
    print_table(*lay_out(frame, []))
    states = {one.run_id: run_state(base, one) for one in plan if one.run_id}
    unfinished = [one for one in plan if one.fate != "equal" and states.get(one.run_id, "finished") != "finished"]
    if unfinished:
        shown = "; ".join(f"{one.run_id} ({states[one.run_id]})" for one in unfinished)
        raise UserError(f"{len(unfinished)} of {len(states)} runs did not finish: {shown}")
    return returns


def derived_name(overrides: Sequence[Override]) -> str:
    """A name that follows from what is swept and with what: the same command finds the same sweep."""
    axes = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    lines = sorted(
        str(override.input_line) for override in overrides if not str(override.input_line).startswith("sweep.")
    )
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:8]
    return "-".join([*(axis.replace("/", "_") for axis in axes), digest])


def report(one: Planned, returned: JobReturn) -> None:
    """Say why a job raised; Hydra prints its overrides."""
    try:
        _ = returned.return_value
    except Exception as error:
        log.error("error: %s (%s)", error, one.run_id, exc_info=SENTENCES not in os.environ)


def run_state(base: Config, one: Planned) -> str:
    status = Record(Path(base.output_dir) / "runs" / one.run_id).status()
    return "not started" if status is None else str(status.get("state"))

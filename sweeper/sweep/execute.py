"""A sweep from its overrides to its end: plan, launch, launch again, and judge by what the runs recorded."""

import hashlib
import json
import logging
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn

from sweeper.config import LONGEST_NAME, Config
from sweeper.errors import UserError
from sweeper.runs.directory import RunDirectory
from sweeper.runs.provenance import command_as_typed
from sweeper.runs.run import reread, state_after
from sweeper.sweep.compose import Composer
from sweeper.sweep.expand import expand
from sweeper.sweep.plan import DONE, Planned, describe, make_plan, save_plan
from sweeper.sweep.saved import queued_runs, read_plan

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Planned], Path], Sequence[JobReturn] | None]
PrintTable = Callable[[Path, set[str]], None]
UNKNOWN = "its process ended without a word: it was killed, perhaps for lack of memory"
LISTED = 10  # unfinished runs in the last sentence


def run_sweep(
    overrides: list[Override], compose: Composer, launch: Launch, concurrency: int | None, print_table: PrintTable
) -> Sequence[JobReturn]:
    """Run what a sweep asks for and is not finished; print its table.

    Args:
        overrides: the command's, parsed by Hydra.
        compose: makes the config of a job.
        launch: hands runs to the Hydra launcher and waits for them, or returns None where it does not wait; may keep
            what it knows of them in the sweep's folder.
        concurrency: how many jobs the launcher runs at a time, None where that is not known.
        print_table: prints the table of the runs in an output folder that have these ids.

    Raises:
        UserError: a job cannot run, in which case none was started, or some did not finish.
        SystemExit: a signal stopped the sweep; the same command goes on.
    """
    fixed = expand(override for override in overrides if not override.is_sweep_override())
    base = compose(fixed[0])
    jobs = expand(overrides, base.sweep.zip)
    if not jobs:
        raise UserError("nothing matches what is swept: a glob or a range has no values")
    folder = Path(base.output_dir) / "sweeps" / (base.sweep.name or derived_name(overrides))
    before = read_plan(folder) if (folder / "sweep.json").exists() else None
    compose.remember(folder / CONFIGS)
    compose.compose_groups(jobs)
    plan = make_plan(jobs, compose, concurrency or 1)
    axes = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    log.info("sweep %s\n%s", folder.name, describe(plan, axes, concurrency, all_of_it=base.sweep.dry_run))
    if base.sweep.dry_run:
        return []
    save_plan(folder, plan, command_as_typed(), concurrency)
    compose.save(folder / CONFIGS)
    if before is not None and {job["run_id"] for job in before["jobs"]} - {one.run_id for one in plan}:
        log.warning("sweep %s had other runs before, which stay: %s", folder.name, before["command"])
    for one in plan:
        if one.fate == "finished":
            reread(one.record, one.config)
    to_run = sorted((one for one in plan if one.fate == "run"), key=lambda one: -(one.seconds or math.inf))
    with stopping_tidily(plan, folder):
        returns = launch_all(to_run, base, launch, folder) if to_run else []
    if returns is None:
        log.info("not waiting; `make watch` follows the runs, and this command again waits or goes on:\n%s", waiting())
        return []
    conclude(plan, base, print_table)
    return returns


CONFIGS = "configs.json"
NO_WAIT = "sweep.wait=false"
AGAIN = "sweep.reuse=none"  # which would train anew what this sweep has just finished


def waiting() -> str:
    return command_as_typed(without=NO_WAIT)


def launch_all(to_run: Sequence[Planned], base: Config, launch: Launch, folder: Path) -> list[JobReturn] | None:
    """Launch runs, and those again that did not finish, up to sweep.max_retries times.

    Returns:
        What they returned; None where the launcher does not wait for them.

    Raises:
        Exception: the launcher's own error, where it stopped before any run was touched.
    """
    returns: list[JobReturn] = []
    for retries_left in range(base.sweep.max_retries, -1, -1):
        before = [one.record.status() for one in to_run]
        launched: Sequence[JobReturn] | None = []
        try:
            launched = launch(to_run, folder)
        except Exception as error:
            if not returns and [one.record.status() for one in to_run] == before:
                raise
            log.error("the launcher stopped: %s: %s", type(error).__name__, error)
            while "running" in states_after(to_run, folder):
                time.sleep(1)  # what it had started goes on without it
        if launched is None:
            return None
        returns += launched
        reasons = {tuple(one.overrides or ()): str(one._return_value) for one in launched}
        states = [state_after(one.record, reasons.get(tuple(one.overrides), UNKNOWN)) for one in to_run]
        if base.sweep.fail_fast and set(states) != {"finished"}:
            sys.exit(1)
        to_run = [one for one, state in zip(to_run, states, strict=True) if state not in (*DONE, "cancelled")]
        if not to_run:
            break
        if retries_left:
            log.warning("%d not finished; launching again", len(to_run))
    return returns


def states_after(runs: Sequence[Planned], folder: Path) -> list[str]:
    """The states of runs whose launcher was stopped. Those that Slurm still has are its to end, or to start again."""
    elsewhere = queued_runs(folder)
    return [recorded_state(one.record) if one.run_id in elsewhere else state_after(one.record, UNKNOWN) for one in runs]


def recorded_state(record: RunDirectory) -> str:
    return str((record.status() or {}).get("state", "not started"))


@contextmanager
def stopping_tidily(plan: Sequence[Planned], folder: Path) -> Iterator[None]:
    """Where a signal or sweep.fail_fast ends the sweep, let runs save, and end with the command that goes on."""

    def stop(signum: int, _: Any) -> None:
        sys.exit(128 + signum)

    before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        counts = Counter(states_after([one for one in plan if is_kept(one)], folder))
        shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        code = stopped.code if isinstance(stopped, SystemExit) else 128 + signal.SIGINT
        why = "stopped at the first failure" if code == 1 else "stopped"
        note = "finished runs are not trained again by it; " if AGAIN in sys.argv else ""
        print(f"{why}: {shown}; {note}to go on:\n{command_as_typed(without=AGAIN)}", file=sys.stderr)
        sys.exit(code)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def is_kept(one: Planned) -> bool:
    """Whether a combination has a run of its own."""
    return one.fate not in ("equal", "excluded")


def conclude(plan: Sequence[Planned], base: Config, print_table: PrintTable) -> None:
    """Print the sweep's table.

    Raises:
        UserError: runs are not finished.
    """
    states = {one.run_id: recorded_state(one.record) for one in plan if is_kept(one)}
    if set(states.values()) - {"not started"}:
        print_table(Path(base.output_dir), {one.run_id for one in plan if one.run_id})
    unfinished = [f"{name} ({state})" for name, state in states.items() if state != "finished"]
    if unfinished:
        more = f" and {len(unfinished) - LISTED} more" if len(unfinished) > LISTED else ""
        raise UserError(
            f"{len(unfinished)} of {len(states)} runs did not finish: {'; '.join(unfinished[:LISTED])}{more}"
        )


def derived_name(overrides: Sequence[Override]) -> str:
    """A name that follows from what is swept and with what: the same command finds the same sweep."""
    axes = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    lines = sorted(
        str(override.input_line) for override in overrides if not str(override.input_line).startswith("sweep.")
    )
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:8]
    return f"{'-'.join(axis.replace('/', '_') for axis in axes)[:LONGEST_NAME] or 'one'}-{digest}"

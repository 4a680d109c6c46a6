"""Execution of a sweep: plan, launch, retry, and conclude from the records of its runs."""

import hashlib
import json
import logging
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from hydra.core.utils import JobReturn

from sweeper.config import LONGEST_NAME, NOT_IDENTITY, Config, SweepConfig, validate
from sweeper.errors import UserError, WriteError
from sweeper.files import number
from sweeper.runs.naming import named, positioned
from sweeper.runs.provenance import command_as_typed
from sweeper.runs.signals import handled_stops
from sweeper.runs.states import STATES, State, reconcile_state, state_of
from sweeper.sweep.compose import Composer
from sweeper.sweep.designs import describe_design
from sweeper.sweep.expand import axes_of, expand
from sweeper.sweep.plan import Planned, describe, save_plan
from sweeper.sweep.planner import Planner
from sweeper.sweep.rounds import Rounds
from sweeper.sweep.saved import earlier_plan, names_in_plan, queued_runs, read_plan

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Planned], Path], Sequence[JobReturn] | None]
PrintTable = Callable[[Path, set[str]], None]
PrintConclusion = Callable[[Path, set[str], str], None]
CONFIGS = "configs.json"
DESIGN = "sweep.design"  # the only sweep setting that is part of the derived name
UNNAMED = {*NOT_IDENTITY} - {"output_dir"}  # not part of it: the same sweep is run again with verbose=true
RETRAIN = "none"  # a value of sweep.reuse
NO_STATUS = "process exited without reporting a status (killed, possibly out of memory)"
LISTED = 10  # unfinished runs in the final message


def run_sweep(
    overrides: list[Override],
    compose: Composer,
    launch: Launch,
    concurrency: int | None,
    print_conclusion: PrintConclusion,
    on_planned: Callable[[Path], None] = lambda folder: None,
) -> Sequence[JobReturn]:
    """Run the combinations of a sweep that are not finished, and print its table and its answer.

    Args:
        overrides: the command's, parsed by Hydra.
        compose: composes the config of a job.
        launch: hands runs to the Hydra launcher and waits for them, or returns None where it does not wait; it may keep
            files in the sweep's folder.
        concurrency: how many jobs the launcher runs at a time; None where that is unknown.
        print_conclusion: prints the results of the runs with given ids in an output folder, and of a sweep's name.
        on_planned: called with the sweep's folder when a plan has been saved.

    Raises:
        UserError: a setting or a job is invalid, in which case none was started, or some runs did not finish.
        SystemExit: a signal stopped the sweep; the same command resumes it.
    """
    (fixed,) = expand(override for override in overrides if not override.is_sweep_override())
    base = compose(fixed).config
    check_sweep_settings(overrides, base)
    rounds = Rounds(overrides, base.sweep, base.seed, compose.parse)
    folder = Path(base.output_dir) / "sweeps" / (base.sweep.name or derived_name(overrides))
    before = earlier_plan(folder)
    compose.remember(folder / CONFIGS)
    axes = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    design = describe_sweep(overrides, base)
    planner = Planner(compose, concurrency or 1, base)
    plan: list[Planned] = []
    returns: list[JobReturn] = []
    while True:
        jobs = expand(rounds.overrides, base.sweep.zip, base.sweep.design)
        if not jobs:
            raise UserError("a swept parameter expands to no values")
        new = planner.plan(jobs)
        plan += new
        to_run = sorted((planned for planned in new if planned.is_to_run), key=running_order(base.sweep.order, plan))
        if not to_run and rounds.extend(plan):
            continue  # the round was already finished
        lines = [
            f"sweep {folder.name}",
            describe(
                new if any(planned.is_to_run for planned in plan) else plan,
                axes,
                concurrency,
                list_all=base.sweep.dry_run,
            ),
            design,
            rounds.outlook(plan, concurrency) if to_run else "",
        ]
        log.info("\n".join(filter(None, lines)))
        if base.sweep.dry_run:
            log.info("next: the same command without sweep.dry_run=true")
            return []
        make_output_dir(Path(base.output_dir))
        save_plan(folder, plan, resuming_command(base), concurrency)
        on_planned(folder)
        compose.save(folder / CONFIGS)
        if before is not None and rounds.runs_so_far(before["jobs"]) - {planned.run_id for planned in plan}:
            log.warning("sweep %s previously contained other runs; they are kept: %s", folder.name, before["command"])
        before = None
        with clean_stop(plan, base, folder):
            launched = launch_all(to_run, base, launch, folder) if to_run else []
        if launched is None:
            command = resuming_command(base, wait="true")
            log.info("submitted. Monitor: make watch. Rerun to wait or resume:\n%s", command)
            return []
        returns += launched
        has_ended = all(STATES[recorded_state(planned)].is_done for planned in new if planned.has_own_run)
        if not (has_ended and rounds.extend(plan)):
            break

    def print_table(output_dir: Path, only: set[str]) -> None:
        print_conclusion(output_dir, only, folder.name)

    conclude(plan, base, print_table, rounds.answer(plan))
    return returns


def make_output_dir(output_dir: Path) -> None:
    """Make the output folder.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"output_dir={output_dir} cannot be written: {error.strerror}") from error


def check_sweep_settings(overrides: Sequence[Override], base: Config) -> None:
    """Check the sweep's own settings, before they are used.

    Raises:
        UserError: one is out of its range, or swept; or a swept range has no step.
    """
    validate(base.sweep, "sweep.")
    for override in overrides:
        key, value = override.get_key_element(), override.value()
        if isinstance(value, RangeSweep) and value.step == 0:
            raise UserError(f"{override.input_line}: the step of a range must not be 0")
        if override.is_sweep_override() and key.lstrip("+").startswith("sweep."):
            raise UserError(f"{override.input_line}: a setting of the sweep itself cannot be swept; choose one value")


def describe_sweep(overrides: Sequence[Override], base: Config) -> str:
    """Return what the sweep's design estimates and what it does not; empty for the product."""
    factors = [axis for axis in axes_of(overrides, base.sweep.zip) if axis.is_factor]
    return describe_design(base.sweep.design, [len(axis.values) for axis in factors])


def running_order(order: str, plan: Sequence[Planned]) -> Callable[[Planned], tuple[float, float]]:
    """Return a key that sorts runs: the longest first, with sweep.order=seeds after those of earlier seeds."""
    seeds = list(dict.fromkeys(planned.config.seed for planned in plan)) if order == "seeds" else []

    def key(planned: Planned) -> tuple[float, float]:
        return seeds.index(planned.config.seed) if seeds else 0, -(planned.seconds or math.inf)

    return key


def launch_all(to_run: Sequence[Planned], base: Config, launch: Launch, folder: Path) -> list[JobReturn] | None:
    """Launch runs, and retry those that did not finish, up to sweep.max_retries times.

    Returns:
        Their job returns; None where the launcher does not wait for them.

    Raises:
        Exception: the launcher's error, where it stopped before any run changed.
    """
    returns: list[JobReturn] = []
    names = names_in_plan(read_plan(folder))
    for retries_left in range(base.sweep.max_retries, -1, -1):
        before = [planned.record.status() for planned in to_run]
        launched: Sequence[JobReturn] | None = []
        try:
            with named(positioned(names, [planned.run_id for planned in to_run])):
                launched = launch(to_run, folder)
        except Exception as error:
            if not returns and [planned.record.status() for planned in to_run] == before:
                raise
            log.error("the launcher stopped: %s: %s", type(error).__name__, error)
            while State.RUNNING in states_after(to_run, folder):
                time.sleep(1)  # the runs that it started continue
        if launched is None:
            return None
        returns += launched
        reasons = {tuple(returned.overrides or ()): str(returned._return_value) for returned in launched}
        states = [ended_state(planned, reasons.get(tuple(planned.overrides), NO_STATUS)) for planned in to_run]
        if base.sweep.fail_fast and set(states) != {State.FINISHED}:
            sys.exit(1)
        over = [STATES[state].is_done or state is State.CANCELLED for state in states]
        to_run = [planned for planned, is_over in zip(to_run, over, strict=True) if not is_over]
        if not to_run:
            break
        if retries_left:
            log.warning("%d run%s did not finish; retrying", len(to_run), "" if len(to_run) == 1 else "s")
    return returns


def states_after(runs: Sequence[Planned], folder: Path) -> list[State]:
    """Return the states of runs whose launcher was stopped. Slurm ends or restarts the runs in its queue."""
    queued = queued_runs(folder)
    return [
        recorded_state(planned) if planned.run_id in queued else ended_state(planned, NO_STATUS) for planned in runs
    ]


def recorded_state(planned: Planned) -> State:
    """Return a run's state; waiting while the record is of the attempt that the plan replaces."""
    status = planned.record.status()
    heartbeat = None if status is None else number(status.get("heartbeat"))
    is_replaced = planned.decision.starts_over and heartbeat is not None and heartbeat == planned.heartbeat
    return State.WAITING if status is None or is_replaced else state_of(planned.record)


def ended_state(planned: Planned, reason: str) -> State:
    """Return the state of a run whose process has ended, see `reconcile_state`."""
    state = recorded_state(planned)
    return state if state is State.WAITING else reconcile_state(planned.record, reason)


def resuming_command(base: Config, **instead: str) -> str:
    """Return the command that resumes a sweep, without sweep.reuse=none: it does not retrain what has just finished.

    Args:
        instead: see `command_as_typed`.
    """
    reuse = {"reuse": SweepConfig().reuse} if base.sweep.reuse == RETRAIN else {}
    return command_as_typed(**reuse, **instead)


@contextmanager
def clean_stop(plan: Sequence[Planned], base: Config, folder: Path) -> Iterator[None]:
    """Where a signal or sweep.fail_fast ends the sweep, let runs save, and print the command that resumes it."""

    def stop(signum: int, _: Any) -> None:
        sys.exit(128 + signum)

    before = {which: signal.signal(which, stop) for which in handled_stops()}
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        counts = Counter(states_after([planned for planned in plan if planned.has_own_run], folder))
        shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        code = stopped.code if isinstance(stopped, SystemExit) else 128 + signal.SIGINT
        why = "stopped at the first failure" if code == 1 else "stopped"
        note = " without retraining the others" if base.sweep.reuse == RETRAIN else ""
        print(f"{why}: {shown}; to resume{note}:\n{resuming_command(base)}", file=sys.stderr)
        sys.exit(code)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def conclude(
    plan: Sequence[Planned],
    base: Config,
    print_table: PrintTable,
    answer: str = "",
    expected: Collection[State] = (State.FINISHED,),
) -> None:
    """Print the sweep's table and the answer below it.

    Args:
        expected: the states that are no failure of the sweep.

    Raises:
        UserError: runs are in other states.
    """
    states = {planned.run_id: recorded_state(planned) for planned in plan if planned.has_own_run}
    if any(planned.record.run() for planned in plan if planned.has_own_run):
        print_table(Path(base.output_dir), {planned.run_id for planned in plan if planned.run_id})
    if answer:
        log.info(answer)
    unfinished = [f"{name} ({state})" for name, state in states.items() if state not in expected]
    if unfinished:
        more = f" and {len(unfinished) - LISTED} more" if len(unfinished) > LISTED else ""
        listed = f"{len(unfinished)} of {len(states)} runs did not finish: {'; '.join(unfinished[:LISTED])}{more}"
        raise UserError(f"{listed}\nto finish them: {advice(set(states.values()) - set(expected))}")


def advice(states: Collection[State]) -> str:
    """Return what to do about runs that ended in these states."""
    if State.DIVERGED not in states:
        return "rerun the same command to train them again"
    lower = "a smaller optimizer.lr, or gradient clipping (grad_clip=1), for runs that diverged"
    return lower + ("; rerun the same command to train the others again" if len({*states}) > 1 else "")


def derived_name(overrides: Sequence[Override]) -> str:
    """Derive a sweep's name from its overrides: the same command finds the same sweep, wherever its files are."""
    axes = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    lines = sorted(
        str(override.input_line)
        for override, key in ((override, override.get_key_element().lstrip("+")) for override in overrides)
        if override.is_sweep_override() or key == DESIGN or key.partition(".")[0] not in UNNAMED
    )
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:8]
    return f"{'-'.join(axis.replace('/', '_') for axis in axes)[:LONGEST_NAME] or 'run'}-{digest}"

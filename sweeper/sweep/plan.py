"""The plan of a sweep, made before its first run starts: the action for every combination."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import Config
from sweeper.data.cache import Cached
from sweeper.errors import UnusedSetting, UserError
from sweeper.files import number, write_json, writing
from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import RunSpec, resolve
from sweeper.runs.states import Action, Decision, Reason, decide
from sweeper.sweep.compose import Composed
from sweeper.sweep.durations import format_duration, makespan
from sweeper.sweep.estimate import Estimator
from sweeper.sweep.exclude import check_exclusions, format_value, matches
from sweeper.sweep.expand import Job, is_crossed
from sweeper.training.build import check

LISTED = 20  # combinations with the same action that a printed plan lists


@dataclass
class Planned:
    """A combination.

    Attributes:
        spec: its run; None where it is excluded.
        detail: printed instead of the decision: for a duplicate its run, for an excluded combination the rule.
        seconds: estimate of the time left to train; None where there is none.
        heartbeat: the run's last heartbeat at planning; None where it had none.
    """

    overrides: Job
    config: Config
    spec: RunSpec | None
    decision: Decision
    detail: str = ""
    seconds: float | None = None
    heartbeat: float | None = None

    @property
    def run_id(self) -> str:
        return "" if self.spec is None else self.spec.run_id

    @property
    def record(self) -> RunDirectory:
        assert self.spec is not None
        return self.spec.record

    @property
    def has_own_run(self) -> bool:
        return self.decision.action not in (Action.DUPLICATE, Action.EXCLUDED)

    @property
    def is_to_run(self) -> bool:
        return self.decision.action in (Action.TRAIN, Action.RESUME)

    @property
    def text(self) -> str:
        """Its action, as printed."""
        return self.detail or self.decision.text


def make_plan(jobs: Sequence[Job], compose: Callable[[Job], Composed], concurrency: int = 1) -> list[Planned]:
    """Compose and check every job and decide its action; a shared dataset is prepared once.

    Args:
        concurrency: runs at a time, which share the cores, for the estimates.

    Raises:
        UserError: a job cannot run, or an exclusion matches no combination or all of them.
    """
    combinations = []
    for job in jobs:
        with error_context(job, jobs):
            combinations.append(compose(job))
    check_exclusions(combinations)
    prepared: dict[str, Cached] = {}
    parameters: dict[str, int] = {}
    checked: dict[str, int] = {}
    seen: set[str] = set()
    plan: list[Planned] = []

    def add(job: Job, composed: Composed) -> Planned:
        config = composed.config
        if matching := [rule for rule in config.sweep.exclude if matches(composed, rule)]:
            rule = ",".join(f"{key}={format_value(value)}" for key, value in matching[0].items())
            return Planned(job, config, None, Decision(Action.EXCLUDED, Reason.NEW), f"excluded ({rule})")
        key = repr(config.data)
        spec = resolve(config, cached=prepared.get(key))
        prepared[key] = spec.cached
        if spec.run_id in seen:
            return Planned(job, config, spec, Decision(Action.DUPLICATE, Reason.NEW), f"duplicate of {spec.run_id}")
        heartbeat = number((spec.record.status() or {}).get("heartbeat"))
        planned = Planned(job, config, spec, decide(spec.record, spec.code, config.sweep.reuse), heartbeat=heartbeat)
        seen.add(spec.run_id)
        if planned.is_to_run:
            but_seed = repr(replace(spec.config, seed=0))  # draws no weights here
            if but_seed not in checked:
                model = check(spec.config, spec.choices, spec.cached)
                checked[but_seed] = sum(parameter.numel() for parameter in model.parameters())
            parameters[spec.run_id] = checked[but_seed]
        return planned

    for job, composed in zip(jobs, combinations, strict=True):
        with error_context(job, jobs):
            plan.append(add(job, composed))
    check_design(plan)
    if not seen:
        raise UserError(f"sweep.exclude: all {len(jobs)} combinations are excluded")
    to_run = [planned for planned in plan if planned.is_to_run]
    if to_run:
        estimator = Estimator(to_run[0].record.folder.parent, concurrency)
        for planned in to_run:
            assert planned.spec is not None
            done = len(planned.record.metrics()) if planned.decision.action is Action.RESUME else 0
            planned.seconds = estimator.seconds(planned.spec, parameters[planned.run_id], done)
    return plan


def check_design(plan: Sequence[Planned]) -> None:
    """Check that a plan has every run that its design compares others with.

    Raises:
        UserError: two combinations are the same run, a screened trick has no effect for a model, or a combination that
            is needed is excluded.
    """
    design = plan[0].config.sweep.design
    if design == "product":
        return
    common = set.intersection(*(set(planned.overrides) for planned in plan))
    references: dict[tuple[str, ...], Planned] = {}  # the first combination of each seed and dataset, see `expand`
    for planned in plan:
        block = tuple(filter(is_crossed, planned.overrides))
        reference = references.setdefault(block, planned)
        if planned.decision.action is Action.DUPLICATE:
            other = next(other for other in plan if other.run_id == planned.run_id)
            one, another = (
                " ".join(text for text in texts if text not in common)
                for texts, common in ((planned.overrides, other.overrides), (other.overrides, planned.overrides))
            )
            raise UserError(
                f"sweep.design={design}: {one} and {another} are the same run, {planned.run_id}; "
                "remove values without effect"
            )
        if planned.spec is None and (design == "screen" or planned is reference):
            needed = "every combination" if design == "screen" else "the combination that the others are compared with"
            raise UserError(f"sweep.exclude: sweep.design={design} needs {needed}: {' '.join(planned.overrides)}")
        if (
            planned.spec is not None and design == "screen"
        ):  # its rows differ in many factors, so duplicates need not reveal this
            slots = [slot for slot in SLOTS if slot not in keyword_only(planned.spec.choices.model)]
            idle = [text for text in planned.overrides if text not in common and re.split("[.=]", text)[0] in slots]
            if idle:
                model = planned.config.model.name
                raise UserError(
                    f"sweep.design=screen: {idle[0]} has no effect with model={model}, which has no such slot"
                )


@contextmanager
def error_context(job: Job, jobs: Sequence[Job]) -> Iterator[None]:
    """Add the job to the message of an error in it, and what to write where only other jobs use a setting."""
    try:
        yield
    except UserError as error:
        instead = ""
        group = error.choice.partition("=")[0] if isinstance(error, UnusedSetting) else ""
        if isinstance(error, UnusedSetting) and any(
            text.startswith(f"{group}=") and text not in job for other in jobs for text in other
        ):
            preset = f"a preset of your own, DIR/{group}/NAME.yaml, and add --config-dir DIR {group}=NAME"
            instead = f"; sweep {error.choice} by itself, or write {error.key} into {preset}"
        raise UserError(f"{error}{instead} (in {' '.join(job)}; nothing was started)") from error


def no_effect_axes(plan: Sequence[Planned], axes: Sequence[str]) -> Iterator[str]:
    """Yield the swept keys without effect: combinations that differ in such a key alone share a run."""
    for axis in axes:

        def others(planned: Planned, axis: str = axis) -> list[str]:
            return [override for override in planned.overrides if not override.startswith(f"{axis}=")]

        runs = sorted((planned for planned in plan if planned.run_id), key=others)
        groups = [[planned.run_id for planned in group] for _, group in groupby(runs, others)]
        if any(len(group) > 1 for group in groups) and all(len(set(group)) == 1 for group in groups):
            yield axis


def describe(plan: Sequence[Planned], axes: Sequence[str], concurrency: int | None, *, list_all: bool = False) -> str:
    """Format the plan: every combination that is not new, then the counts and the estimated time.

    Args:
        plan: all combinations.
        axes: the swept keys.
        concurrency: runs at a time; None where the launcher decides.
        list_all: list new runs as well.
    """
    common = set.intersection(*(set(planned.overrides) for planned in plan))
    lines = []
    for (_, is_new), group in groupby(sorted(plan, key=listing_order), listing_order):
        if is_new and not list_all:
            continue
        listed = list(group)
        for planned in listed[:LISTED]:
            swept = " ".join(override for override in planned.overrides if override not in common)
            lines.append(f"  {swept or 'the run'}: {planned.text}")
        if len(listed) > LISTED:
            lines.append(f"  and {len(listed) - LISTED} more: {kind_of(listed[0])}")
    lines += [f"{axis} has no effect: all values map to the same runs" for axis in no_effect_axes(plan, axes)]
    counts = Counter(kind_of(planned) for planned in plan)
    parts = [f"{counts[kind]} {plural(kind, counts[kind])}" for kind in KINDS if counts[kind]]
    to_run = [planned for planned in plan if planned.is_to_run]
    reasons = Counter(planned.decision.reason.value for planned in to_run)
    if to_run and reasons != {Reason.NEW.value: len(to_run)}:
        parts[0] += f" ({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"
    whole = f"{len(plan)} combination{'s' if len(plan) > 1 else ''}"
    return "\n".join([*lines, f"{whole}: {', '.join(parts)}{duration(to_run, concurrency)}"])


def duration(to_run: Sequence[Planned], concurrency: int | None) -> str:
    """Format the estimate as part of a sentence; empty where there is nothing to run or no estimate."""
    known = [planned.seconds for planned in to_run if planned.seconds is not None]
    if not known:
        return ""
    rest = f" and {len(to_run) - len(known)} of unknown duration" if len(known) < len(to_run) else ""
    if concurrency is None:
        return f"; {format_duration(sum(known))} of training in total{rest}"
    at_a_time = f", {concurrency} at a time" if concurrency > 1 else ""
    return f"; {format_duration(makespan(known, concurrency))}{at_a_time}{rest}"


def plural(kind: str, count: int) -> str:
    """Return a kind of combinations as it follows their number; all but `duplicate` are adjectives."""
    return f"{kind}s" if kind == Action.DUPLICATE and count > 1 else kind


TO_RUN = "to run"
KINDS = (TO_RUN, Reason.FINISHED, Reason.DIVERGED, Action.DUPLICATE, Action.EXCLUDED)


def kind_of(planned: Planned) -> str:
    """Return the count in the plan's last line that a combination belongs to."""
    if planned.is_to_run:
        return TO_RUN
    return planned.decision.reason.value if planned.decision.action is Action.SKIP else planned.decision.action.value


def listing_order(planned: Planned) -> tuple[int, bool]:
    return KINDS.index(kind_of(planned)), planned.is_to_run and planned.decision.reason is Reason.NEW


def save_plan(folder: Path, plan: Sequence[Planned], command: str, concurrency: int | None) -> None:
    """Write sweep.json: the sweep's combinations, the run and the action of each, and what it asks for."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        {
            "overrides": planned.overrides,
            "run_id": planned.run_id,
            "action": planned.decision.action.value,
            "reason": planned.decision.reason.value,
            "epoch": planned.decision.epoch,
            "changed": list(planned.decision.changed),
            "epochs": planned.config.epochs,
            "seconds": planned.seconds,
            "heartbeat": planned.heartbeat,
        }
        for planned in plan
    ]
    content = {"name": folder.name, "created": time.time(), "command": command, "concurrency": concurrency}
    asked = {"design": plan[0].config.sweep.design, "precision": plan[0].config.sweep.precision}
    where = {"outputs": plan[0].config.output_dir}
    write_json(folder / "sweep.json", content | where | asked | {"jobs": jobs})

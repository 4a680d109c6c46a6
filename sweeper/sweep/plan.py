"""The plan of a sweep: the action for every combination, its text, and its file. No torch here."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.config import Config
from sweeper.files import number, read_json, write_json, writing
from sweeper.runs.directory import RunDirectory
from sweeper.runs.known import KnownRun
from sweeper.runs.states import Action, Decision, Reason
from sweeper.sweep.durations import format_range, makespan
from sweeper.sweep.expand import Job
from sweeper.sweep.notation import swept_overrides

if TYPE_CHECKING:
    from sweeper.runs.spec import RunSpec

LISTED = 20  # combinations with the same action that a printed plan lists


@dataclass
class Planned:
    """A combination.

    Attributes:
        spec: its run, without the parts that training needs where it is not trained; None where it is excluded.
        detail: printed instead of the decision: for a duplicate its run, for an excluded combination the rule.
        seconds: estimate of the time left to train; None where there is none.
        range: the seconds between which it is expected.
        heartbeat: the run's last heartbeat at planning; None where it had none.
    """

    overrides: Job
    config: Config
    spec: "RunSpec | KnownRun | None"
    decision: Decision
    detail: str = ""
    seconds: float | None = None
    range: tuple[float, float] | None = None
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
    swept = swept_overrides([planned.overrides for planned in plan], plan[0].config.sweep.design)
    called = {id(planned): name or "the run" for planned, name in zip(plan, swept, strict=True)}
    lines = []
    for (_, is_new), group in groupby(sorted(plan, key=listing_order), listing_order):
        if is_new and not list_all:
            continue
        listed = list(group)
        for planned in listed[:LISTED]:
            lines.append(f"  {called[id(planned)]}: {planned.text}")
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
    known = [planned for planned in to_run if planned.seconds is not None]
    if not known:
        return ""
    rest = f" and {len(to_run) - len(known)} of unknown duration" if len(known) < len(to_run) else ""
    ends = list(zip(*(planned.range or (planned.seconds or 0.0,) * 2 for planned in known), strict=True))
    if concurrency is None:
        return f"; {format_range(*map(sum, ends))} of training in total{rest}"
    at_a_time = f", {concurrency} at a time" if concurrency > 1 else ""
    return f"; {format_range(*(makespan(end, concurrency) for end in ends))}{at_a_time}{rest}"


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


def save_plan(
    folder: Path, plan: Sequence[Planned], command: str, concurrency: int | None, searched: Collection[str] = ()
) -> None:
    """Write sweep.json: the sweep's combinations, the run and the action of each, and what it asks for.

    Args:
        searched: the keys whose values a search chooses, trial by trial.
    """
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
    created = number((read_json(folder / "sweep.json") or {}).get("created")) or time.time()
    content = {"name": folder.name, "created": created, "command": command, "concurrency": concurrency}
    asked: dict[str, Any] = {"design": plan[0].config.sweep.design, "precision": plan[0].config.sweep.precision}
    asked |= {"searched": sorted(searched)} if searched else {}
    where = {"outputs": plan[0].config.output_dir}
    write_json(folder / "sweep.json", content | where | asked | {"jobs": jobs})

"""What a sweep will do, known before its first run starts: every combination, and what becomes of it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from sweeper.config import Config, validate
from sweeper.data.cache import Cached, prepare, settle_val_size
from sweeper.errors import UserError, choices
from sweeper.files import number, write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import changed_modules, code_fingerprint
from sweeper.runs.spec import effective_config, run_id
from sweeper.sweep.estimate import Estimator, about, makespan
from sweeper.sweep.expand import Job
from sweeper.sweep.saved import GOES_ON
from sweeper.training.build import Choices, check, choose_all

DONE = ("finished", "diverged")  # states that another attempt would not change
SHOWN = 20  # combinations of one fate that a plan lists


@dataclass
class Planned:
    """One combination.

    Attributes:
        fate: "run", "finished", "diverged", "equal" (to an earlier combination) or "excluded".
        detail: why, or from where it goes on.
        seconds: estimate of what is left to do; None where there is none.
        heartbeat: the run's last one when this was planned; None where it had none.
    """

    overrides: Job
    config: Config
    run_id: str
    fate: str
    detail: str = ""
    seconds: float | None = None
    heartbeat: float | None = None

    @property
    def record(self) -> RunDirectory:
        return RunDirectory(Path(self.config.output_dir) / "runs" / self.run_id)


def make_plan(jobs: Sequence[Job], compose: Callable[[Job], Config], concurrency: int = 1) -> list[Planned]:
    """Compose and check every job, and look up what became of its run; a shared dataset is prepared once.

    Times are estimated for so many runs at a time, which share the cores.

    Raises:
        UserError: a job cannot run, or an exclusion leaves nothing or names what is not swept.
    """
    configs = []
    for job in jobs:
        with naming(job):
            configs.append(compose(job))
    check_exclusions(configs)
    code = code_fingerprint()
    prepared: dict[str, Cached] = {}
    to_run: list[tuple[Planned, Choices, Cached, int]] = []
    seen: set[str] = set()
    plan: list[Planned] = []

    def add(job: Job, config: Config) -> Planned:
        if matching := [rule for rule in config.sweep.exclude if matches(config, rule)]:
            rule = ",".join(f"{key}={written(value)}" for key, value in matching[0].items())
            return Planned(job, config, "", "excluded", rule)
        validate(config)
        chosen = choose_all(config)
        key = repr(config.data)
        prepared[key] = cached = prepared.get(key) or prepare(config.data)
        settle_val_size(config.data, cached)
        name = run_id(effective_config(config, chosen, cached.fingerprint))
        one = Planned(job, config, name, "equal", f"to {name}")
        if name not in seen:
            seen.add(name)
            one.heartbeat = number((one.record.status() or {}).get("heartbeat"))
            one.fate, one.detail = look_up(one.record, code, config.sweep.reuse)
        if one.fate == "run":
            model = check(config, chosen, cached)
            to_run.append((one, chosen, cached, sum(parameter.numel() for parameter in model.parameters())))
        return one

    for job, config in zip(jobs, configs, strict=True):
        with naming(job):
            plan.append(add(job, config))
    if not seen:
        raise UserError(f"sweep.exclude leaves none of the {len(jobs)} combinations")
    if to_run:
        estimator = Estimator(plan[0].record.folder.parent, concurrency)
        for one, chosen, cached, parameters in to_run:
            done = len(one.record.metrics()) if GOES_ON in one.detail else 0
            one.seconds = estimator.seconds(one.config, chosen, cached, parameters, done)
    return plan


@contextmanager
def naming(job: Job) -> Iterator[None]:
    """Add to a complaint which job it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error} (in {' '.join(job)}; nothing was started)") from error


def look_up(record: RunDirectory, code: dict[str, str], reuse: str) -> tuple[str, str]:
    """The fate of a run and its reason, as sweeper.run will see it."""
    status = record.status()
    if status is None:
        return "run", "new"
    if reuse != "any" and (changed := changed_modules(record, code)):
        return "run", f"stale, since {', '.join(changed)} changed"
    state = status.get("state")
    if not isinstance(state, str):
        return "run", "damaged"
    if state in DONE and reuse != "none" and (state != "finished" or record.is_finished()):
        return state, ""
    if state in DONE:
        return "run", f"{state} before, but sweep.reuse={reuse}" if reuse == "none" else "damaged"
    return "run", f"{state}, {GOES_ON} {status.get('epoch')}"


def value_of(config: Config, key: str) -> Any:
    """The value that an exclusion compares: a group's choice, or a setting.

    Raises:
        UserError: there is no such group or setting.
    """
    try:
        value = attrgetter(key)(config)
    except AttributeError as error:
        raise UserError(f"sweep.exclude names {key}, which is neither a group nor a setting") from error
    return getattr(value, "name", value)


def matches(config: Config, rule: dict[str, Any]) -> bool:
    return all(value_of(config, str(key)) == value for key, value in rule.items())


def written(value: Any) -> str:
    """A value of an exclusion as one writes it, such as null and true."""
    return value if isinstance(value, str) else json.dumps(value)


def check_exclusions(configs: Sequence[Config]) -> None:
    """Refuse an exclusion whose key or value no combination has: it is a slip, and would exclude nothing."""
    for rule in configs[0].sweep.exclude:
        for key, value in rule.items():
            found = [value_of(config, str(key)) for config in configs]
            if value not in found:
                has = choices(set(map(written, found)))
                raise UserError(f"sweep.exclude names {key}={written(value)}, but the sweep has {has}")


def idle_axes(plan: Sequence[Planned], axes: Sequence[str]) -> Iterator[str]:
    """The swept keys that change nothing: wherever two combinations differ in that key alone, they are one run."""
    for axis in axes:

        def others(one: Planned, axis: str = axis) -> list[str]:
            return [override for override in one.overrides if not override.startswith(f"{axis}=")]

        kept = sorted((one for one in plan if one.run_id), key=others)
        groups = [[one.run_id for one in group] for _, group in groupby(kept, others)]
        if any(len(group) > 1 for group in groups) and all(len(set(group)) == 1 for group in groups):
            yield axis


def describe(plan: Sequence[Planned], axes: Sequence[str], concurrency: int | None, *, all_of_it: bool = False) -> str:
    """The plan as it is printed: what is not simply new, then the counts and the time that it takes.

    Args:
        plan: all combinations.
        axes: the swept keys.
        concurrency: runs at a time, None where the launcher decides.
        all_of_it: list those as well of which nothing is there yet.
    """
    common = set.intersection(*(set(one.overrides) for one in plan))
    lines = []
    for (fate, known), group in groupby(sorted(plan, key=place), place):
        if (fate, known) == (list(FATES).index("run"), False) and not all_of_it:
            continue
        listed = list(group)
        for one in listed[:SHOWN]:
            swept = " ".join(override for override in one.overrides if override not in common)
            lines.append(f"  {swept or 'the run'}: {one.fate}{f' ({one.detail})' if one.detail else ''}")
        if len(listed) > SHOWN:
            lines.append(f"  and {len(listed) - SHOWN} more: {listed[0].fate}")
    lines += [f"{axis} changes nothing here: its values are the same runs" for axis in idle_axes(plan, axes)]
    counts = Counter(one.fate for one in plan)
    parts = [f"{counts[fate]} {text}" for fate, text in FATES.items() if counts[fate]]
    to_run = [one for one in plan if one.fate == "run"]
    kinds = Counter(one.detail.partition(",")[0] for one in to_run)
    if to_run and kinds != {"new": len(to_run)}:
        parts[0] += f" ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"
    whole = f"{len(plan)} combination{'s' if len(plan) > 1 else ''}"
    return "\n".join([*lines, f"{whole}: {', '.join(parts)}{duration(to_run, concurrency)}"])


def duration(to_run: Sequence[Planned], concurrency: int | None) -> str:
    """The estimate as a part of a sentence; empty where there is nothing to run or none was possible."""
    known = [one.seconds for one in to_run if one.seconds is not None]
    if not known:
        return ""
    rest = f" and {len(to_run) - len(known)} of unknown length" if len(known) < len(to_run) else ""
    if concurrency is None:
        return f"; {about(sum(known))} of training in all{rest}"
    at_a_time = f", {concurrency} at a time" if concurrency > 1 else ""
    return f"; {about(makespan(known, concurrency))}{at_a_time}{rest}"


def place(one: Planned) -> tuple[int, bool]:
    return list(FATES).index(one.fate), one.detail != "new"


FATES = {
    "run": "to run",
    "finished": "finished",
    "diverged": "diverged before",
    "equal": "equal to another",
    "excluded": "excluded",
}


def save_plan(folder: Path, plan: Sequence[Planned], command: str, concurrency: int | None) -> None:
    """Write sweep.json: which combinations the sweep has, and which run each one is."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        {"overrides": one.overrides, "run_id": one.run_id, "fate": one.fate, "detail": one.detail}
        | {"epochs": one.config.epochs, "seconds": one.seconds, "heartbeat": one.heartbeat}
        for one in plan
    ]
    content = {"name": folder.name, "created": time.time(), "command": command, "concurrency": concurrency}
    write_json(folder / "sweep.json", content | {"jobs": jobs})

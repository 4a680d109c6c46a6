"""What a sweep will do, known before its first run starts: every combination, and what becomes of it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from sweeper.build import check
from sweeper.config import Config, validate
from sweeper.data import Cached, prepare, settle_val_size
from sweeper.errors import UserError, choices
from sweeper.identity import choose_all, code_fingerprint, effective_config, run_id
from sweeper.record import Record, write_json
from sweeper.run import changed_modules
from sweeper.sweep.expand import Job

DONE = ("finished", "diverged")  # states that another attempt would not change


@dataclass
class Planned:
    """One combination.

    Attributes:
        fate: "run", "finished", "diverged", "equal" (to an earlier combination) or "excluded".
        detail: why, or from where it goes on.
    """

    overrides: Job
    config: Config
    run_id: str
    fate: str
    detail: str = ""


def make_plan(jobs: Sequence[Job], compose: Callable[[Job], Config]) -> list[Planned]:
    """Compose and check every job, and look up what became of its run; a shared dataset is prepared once.

    Raises:
        UserError: a job cannot run, or an exclusion leaves nothing or names what is not swept.
    """
    configs = [compose_named(job, compose) for job in jobs]
    check_exclusions(configs)
    code = code_fingerprint()
    prepared: dict[str, Cached] = {}
    seen: set[str] = set()
    plan: list[Planned] = []
    for job, config in zip(jobs, configs, strict=True):
        if matching := [rule for rule in config.sweep.exclude if matches(config, rule)]:
            plan.append(Planned(job, config, "", "excluded", str(matching[0])))
            continue
        try:
            validate(config)
            chosen = choose_all(config)
            key = repr(config.data)
            prepared[key] = prepared.get(key) or prepare(config.data)
            settle_val_size(config.data, prepared[key])
            check(config, chosen, prepared[key])
        except UserError as error:
            raise UserError(f"{error} (in {' '.join(job)}; nothing was started)") from error
        name = run_id(effective_config(config, chosen, prepared[key].fingerprint))
        if name in seen:
            plan.append(Planned(job, config, name, "equal", f"to {name}"))
            continue
        seen.add(name)
        fate, detail = look_up(Record(Path(config.output_dir) / "runs" / name), code, config.sweep.reuse)
        plan.append(Planned(job, config, name, fate, detail))
    if not seen:
        raise UserError(f"sweep.exclude leaves none of the {len(jobs)} combinations")
    return plan


def compose_named(job: Job, compose: Callable[[Job], Config]) -> Config:
    try:
        return compose(job)
    except UserError as error:
        raise UserError(f"{error} (in {' '.join(job)}; nothing was started)") from error


def look_up(record: Record, code: dict[str, str], reuse: str) -> tuple[str, str]:
    """The fate of a run and its reason, as sweeper.run will see it."""
    status = record.status()
    if status is None:
        return "run", "new"
    if reuse != "any" and (changed := changed_modules(record, code)):
        return "run", f"stale, since {', '.join(changed)} changed"
    state = str(status.get("state"))
    if state in DONE and reuse != "none" and (state != "finished" or record.is_finished()):
        return state, ""
    return "run", f"{state}, from epoch {status.get('epoch')}"


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


def check_exclusions(configs: Sequence[Config]) -> None:
    """Refuse an exclusion whose key or value no combination has: it is a slip, and would exclude nothing."""
    for rule in configs[0].sweep.exclude:
        for key, value in rule.items():
            found = {value_of(config, str(key)) for config in configs}
            if value not in found:
                raise UserError(f"sweep.exclude names {key}={value}, but the sweep has {choices(map(str, found))}")


def describe(plan: Sequence[Planned]) -> str:
    """The plan as it is printed: a line for each combination that is not simply new, then the counts."""
    common = set.intersection(*(set(one.overrides) for one in plan))
    lines = []
    for one in plan:
        if (one.fate, one.detail) != ("run", "new"):
            swept = " ".join(override for override in one.overrides if override not in common)
            lines.append(f"  {swept or 'the run'}: {one.fate}{f' ({one.detail})' if one.detail else ''}")
    counts = Counter(one.fate for one in plan)
    parts = [f"{counts[fate]} {text}" for fate, text in FATES.items() if counts[fate]]
    return "\n".join([*lines, f"{len(plan)} combinations: {', '.join(parts)}"])


FATES = {
    "run": "to run",
    "finished": "finished",
    "diverged": "diverged before",
    "equal": "equal to another",
    "excluded": "excluded",
}


def save_plan(folder: Path, plan: Sequence[Planned], command: list[str]) -> None:
    """Write sweep.json: which combinations the sweep has, and which run each one is."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [{"overrides": one.overrides, "run_id": one.run_id, "fate": one.fate, "detail": one.detail} for one in plan]
    write_json(folder / "sweep.json", {"name": folder.name, "created": time.time(), "command": command, "jobs": jobs})

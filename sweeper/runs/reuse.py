"""A run that needs no further attempt: its result is reported. No torch here."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.config import Config
from sweeper.errors import Diverged
from sweeper.runs.directory import RunDirectory
from sweeper.runs.job import Job
from sweeper.runs.known import KnownRuns
from sweeper.runs.naming import ID_DIGITS, check_planned, name_of
from sweeper.runs.provenance import next_command
from sweeper.runs.scores import best_val_of, score_in
from sweeper.runs.states import Decision, Reason

log = logging.getLogger(__name__)


def reuse_known(config: Config, job: Job) -> float | None:
    """Return the result of the run that a config describes, if an equal command resolved it before and it is done.

    Returns:
        What `sweeper.runs.run.run` returns; None where the run has to be resolved, and perhaps trained.

    Raises:
        Diverged: it diverged.
        UserError: the sweep has not planned this run.
    """
    found = KnownRuns().to_skip(config)
    if found is None:
        return None
    known, decision = found
    check_planned(known.run_id)
    warn_of_missing_slots(config, known.missing_slots, job)
    return reuse(known.record, decision)


def reuse(record: RunDirectory, decision: Decision) -> float:
    """Return the result of a run that needs no further attempt.

    Raises:
        Diverged: it diverged.
    """
    if decision.reason is Reason.DIVERGED:
        error = (record.status() or {}).get("error")
        raise Diverged(f"{record.run_id} already diverged: {error}; sweep.reuse=none retrains it")
    result = record.result() or {}
    log.info("%s: already finished, %s", name_of(record.run_id).text, describe_result(result))
    log_next(record)
    return best_val_of(result)


def log_next(record: RunDirectory) -> None:
    """Say what to do next with a run that is finished, unless it is one of a sweep."""
    name = name_of(record.run_id)
    if not name.position:
        log.info(next_command(f"errors {record.run_id[-ID_DIGITS:]}", record.folder.parent.parent))


def describe_result(result: Mapping[str, Any], *, short: bool = False) -> str:
    score = score_in(result)
    val, test = f"val_{score} {best_val_of(result):.4f}", f"test_{score} {result[f'test_{score}']:.4f}"
    return f"{val}, {test}" if short else f"best {val} in epoch {result['best_epoch']}, {test}"


def warn_of_missing_slots(config: Config, missing: Sequence[str], job: Job) -> None:
    """Warn of choices in the command for slots that the model lacks."""
    for slot in missing:
        if f" {slot}" in job.command:
            log.warning("model=%s has no %s slot; %s=... is ignored", config.model.name, slot, slot)

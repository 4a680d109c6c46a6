"""Run a config: resolve it, lock its run, and reuse the result or make an attempt."""

import logging
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sweeper.choice import SLOTS, keyword_only
from sweeper.config import Config
from sweeper.data.cache import load
from sweeper.errors import Diverged, WriteError
from sweeper.runs import fingerprint
from sweeper.runs.attempt import Attempt
from sweeper.runs.directory import RunDirectory
from sweeper.runs.provenance import describe
from sweeper.runs.scores import best_val_of, score_in
from sweeper.runs.spec import RunSpec, resolve
from sweeper.runs.states import Action, Decision, Reason, archive, decide, run_lock
from sweeper.runs.teacher import load_teacher
from sweeper.training.build import build, check, trained_parameters
from sweeper.training.device import describe_device, set_up_process

log = logging.getLogger(__name__)

fingerprint.modules()  # parse the code as imported now: it may be edited while runs train


@dataclass(frozen=True)
class Job:
    """A job that requests a run.

    Attributes:
        command: the command that repeats the run.
        hydra_files: the files that Hydra would write into .hydra/, by name.
        labels: the preset of each group, see sweeper.runs.spec.RunSpec.
    """

    command: str
    hydra_files: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def run(config: Config, job: Job) -> float:
    """Train the run that the config describes, resume it, or reuse it where it is finished.

    Returns:
        The validation accuracy of its best epoch, or the metric that ranks the runs of its task.

    Raises:
        UserError: a setting is wrong; nothing was started.
        Diverged: the loss is not finite, now or in an earlier attempt.
        WriteError: a checkpoint or a record cannot be written, now or in the middle of training.
        SystemExit: a signal stopped it; the same command resumes it.
    """
    spec = resolve(config, labels=job.labels)
    for slot in SLOTS:
        if slot not in keyword_only(spec.choices.model) and f" {slot}" in job.command:
            log.warning("model=%s has no %s slot; %s=... is ignored", spec.config.model.name, slot, slot)
    record = spec.record
    with run_lock(record):
        try:
            decision = decide(record, spec.code, spec.config.sweep.reuse, is_owned=lambda _: False)  # but by this one
            return reuse(record, decision) if decision.action is Action.SKIP else train(spec, decision, job)
        except Exception as error:
            error.add_note(record.run_id)
            if record.folder.exists() and record.status() is None:  # it failed before its attempt started
                with suppress(WriteError):
                    record.write_status(state="failed", attempt=0, epoch=1, step=0, error=traceback.format_exc())
            raise


def reuse(record: RunDirectory, decision: Decision) -> float:
    """Return the result of a run that needs no further attempt.

    Raises:
        Diverged: it diverged.
    """
    if decision.reason is Reason.DIVERGED:
        error = (record.status() or {}).get("error")
        raise Diverged(f"{record.run_id} already diverged: {error}; sweep.reuse=none retrains it")
    result = record.result() or {}
    log.info("%s: already finished, %s", record.run_id, summary_of(result))
    return best_val_of(result)


def train(spec: RunSpec, decision: Decision, job: Job) -> float:
    """Make an attempt at a run that this process owns, and return what `run` returns."""
    record = spec.record
    device = set_up_process(spec.config.device, spec.config.threads)
    model = check(spec.config, spec.choices, spec.cached)
    if decision.starts_over:
        log.warning("%s: %s; retraining", record.run_id, decision.text)
        archive(record)
    elif decision.reason is Reason.LOST:
        log.warning("%s: %s", record.run_id, decision.text)
    described = describe(
        spec,
        command=job.command,
        device=describe_device(device),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained=sum(parameter.numel() for _, parameter in trained_parameters(model)),
    )
    status = record.status() or {}
    attempt = Attempt(spec, record.create(described, dict(job.hydra_files)), number=int(status.get("attempt", 0)) + 1)
    teacher = load_teacher(spec.config, spec.cached)
    result = attempt.run(lambda: build(spec.config, spec.choices, load(spec.cached), device, teacher=teacher))
    log.info("%s: finished, %s", record.run_id, summary_of(result))
    return best_val_of(result)


def summary_of(result: dict[str, Any]) -> str:
    score = score_in(result)
    return (
        f"best val_{score} {best_val_of(result):.4f} in epoch {result['best_epoch']}, "
        f"test_{score} {result[f'test_{score}']:.4f}"
    )

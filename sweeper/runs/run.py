"""Run a config: resolve it, lock its run, and reuse the result or make an attempt."""

import logging
import traceback
from contextlib import suppress

from sweeper.config import Config
from sweeper.data.cache import load
from sweeper.errors import WriteError
from sweeper.runs import fingerprint
from sweeper.runs.attempt import Attempt
from sweeper.runs.early import check_before_decoding
from sweeper.runs.job import Job
from sweeper.runs.known import remember
from sweeper.runs.naming import check_planned, name_of
from sweeper.runs.provenance import describe
from sweeper.runs.reuse import describe_result, log_next, reuse, warn_of_missing_slots
from sweeper.runs.scores import best_val_of
from sweeper.runs.spec import RunSpec, resolve
from sweeper.runs.states import Action, Decision, Reason, archive, decide, run_lock
from sweeper.runs.teacher import load_teacher
from sweeper.training.build import build, check, trained_parameters
from sweeper.training.device import describe_device, set_up_process

log = logging.getLogger(__name__)

fingerprint.modules()  # parse the code as imported now: it may be edited while runs train


def run(config: Config, job: Job) -> float:
    """Train the run that the config describes, resume it, or reuse it where it is finished.

    Returns:
        The validation accuracy of its best epoch, or the metric that ranks the runs of its task.

    Raises:
        UserError: a setting is wrong, or the sweep has not planned this run; nothing was started.
        Diverged: the loss is not finite, now or in an earlier attempt.
        WriteError: a checkpoint or a record cannot be written, now or in the middle of training.
        SystemExit: a signal stopped it; the same command resumes it.
    """
    spec = resolve(config, labels=job.labels, cached=check_before_decoding(config))
    check_planned(spec.run_id)
    warn_of_missing_slots(spec.config, spec.missing_slots, job)
    record = spec.record
    with run_lock(record):
        try:
            decision = decide(record, spec.code, spec.config.sweep.reuse, is_owned=lambda _: False)  # but by this one
            best = reuse(record, decision) if decision.action is Action.SKIP else train(spec, decision, job)
            remember(config, spec)
            return best
        except Exception as error:
            error.add_note(record.run_id)
            if record.folder.exists() and record.status() is None:  # it failed before its attempt started
                with suppress(WriteError):
                    record.write_status(state="failed", attempt=0, epoch=1, step=0, error=traceback.format_exc())
            raise


def train(spec: RunSpec, decision: Decision, job: Job) -> float:
    """Make an attempt at a run that this process owns, and return what `run` returns."""
    record = spec.record
    device = set_up_process(spec.config.device, spec.config.threads)
    model = check(spec.config, spec.choices, spec.cached)
    if decision.starts_over:
        log.warning("%s: %s; retraining", name_of(record.run_id).text, decision.text)
        archive(record)
    elif decision.reason is Reason.LOST:
        log.warning("%s: %s", name_of(record.run_id).text, decision.text)
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
    name = name_of(record.run_id)
    found = describe_result(result, short=bool(name.position))
    log.log(name.level, "%s: %s", name.titled, found)
    log_next(record)
    return best_val_of(result)

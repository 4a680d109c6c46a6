"""What is decided for a run, planned and then done, and the time that it is expected to take."""

import copy
import functools
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from support import composed

from sweeper.config import Config
from sweeper.files import write_json
from sweeper.runs import run as run_module
from sweeper.runs import spec as spec_module
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import Code
from sweeper.runs.job import Job
from sweeper.runs.run import run
from sweeper.runs.states import Action, Decision, Reason, State, archive, lock_of
from sweeper.sweep import estimate
from sweeper.sweep.compose import Composed
from sweeper.sweep.estimate import PER_RUN
from sweeper.sweep.plan import Planned
from sweeper.sweep.planner import Planner

CODE: Code = {"core": {"training/loop.fit": "1"}, "optimizer": {"training/optimizers.adam": "2"}}
OTHER_CODE: Code = CODE | {"optimizer": {"training/optimizers.adam": "3"}}
known = functools.cache(composed)
PARAMETERS = 3 * (3 * 16 * 16 + 1)  # of softmax on the small images

NEW = Decision(Action.TRAIN, Reason.NEW)


def resumed(epoch: int, reason: Reason) -> Decision:
    return Decision(Action.RESUME, reason, epoch)


@pytest.fixture
def config(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of 10 epochs of 96 images, each of which takes a quarter of a second."""
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.25)
    monkeypatch.setattr(spec_module, "code_of", lambda *_: CODE)
    return replace(copy.deepcopy(known(*small, "model=softmax", "epochs=10")), output_dir=str(tmp_path))


def plan_of(config: Config) -> Planned:
    (planned,) = Planner(lambda _: Composed(config, {})).plan([["the run"]])
    return planned


def leave(config: Config, state: State, epochs: int, code: Code = CODE) -> RunDirectory:
    """Write the record of a run of a config that ended in a state after so many epochs."""
    record = plan_of(config).record
    record.create({"effective": {}, "config": {}, "code": code}, {})
    record.write_metrics([{"epoch": 1 + epoch} for epoch in range(epochs)])
    if state is State.FINISHED:
        record.predictions.touch()
        record.write_result({"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5})
    record.write_status(state="running" if state is State.LOST else state.value, epoch=epochs, error="why")
    if state is State.LOST:
        write_json(record.folder / "status.json", (record.status() or {}) | {"state": "running", "heartbeat": 1e9})
    return record


RECORDED = [State.RUNNING, State.LOST, State.FAILED, State.INTERRUPTED, State.CANCELLED]


def test_an_interrupted_run_is_estimated_from_where_it_resumes(config: Config) -> None:
    before = plan_of(config)
    assert (before.decision, before.seconds) == (NEW, PER_RUN + 10 * 96 * 0.25)
    leave(config, State.INTERRUPTED, 4)
    after = plan_of(config)
    assert (after.decision, after.seconds) == (resumed(4, Reason.INTERRUPTED), PER_RUN + 6 * 96 * 0.25)


@pytest.mark.parametrize("state", RECORDED)
def test_every_resumed_run_is_estimated_from_where_it_resumes(state: State, config: Config) -> None:
    record = leave(config, state, 4)
    with lock_of(record) if state is State.RUNNING else nullcontext():
        planned = plan_of(config)
    assert (planned.decision, planned.seconds) == (resumed(4, Reason(state)), PER_RUN + 6 * 96 * 0.25)


@pytest.mark.parametrize(
    ("state", "reuse", "code"),
    [
        (State.FINISHED, "none", CODE),
        (State.FINISHED, "same_code", OTHER_CODE),
        (State.DIVERGED, "none", CODE),
        (State.DIVERGED, "same_code", OTHER_CODE),
        *((state, reuse, OTHER_CODE) for state in RECORDED for reuse in ("same_code", "none")),
    ],
)
def test_a_run_that_starts_over_is_estimated_whole(state: State, reuse: str, code: Code, config: Config) -> None:
    record = leave(config, state, 10 if state is State.FINISHED else 4, code)
    config.sweep.reuse = reuse
    planned = plan_of(config)
    assert planned.decision.starts_over
    assert planned.seconds == PER_RUN + 10 * 96 * 0.25
    archive(record)
    again = plan_of(config)
    assert (again.decision, again.seconds) == (NEW, planned.seconds)


@pytest.mark.parametrize("reuse", ["same_code", "any", "none"])
@pytest.mark.parametrize("code", [CODE, OTHER_CODE], ids=["same code", "other code"])
@pytest.mark.parametrize("state", [*State, None])
def test_the_run_takes_the_decision_that_was_planned(
    state: State | None, code: Code, reuse: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    if state is not None:
        leave(config, state, 4, code)
    config.sweep.reuse = reuse
    decision = plan_of(config).decision
    taken: list[Decision] = []

    def take(decision: Decision) -> float:
        taken.append(decision)
        return 0.5

    monkeypatch.setattr(run_module, "train", lambda spec, decision, job: take(decision))
    monkeypatch.setattr(run_module, "reuse", lambda record, decision: take(decision))
    run(config, Job("python train.py"))
    assert taken == [decision]


@pytest.mark.parametrize("state", [State.FINISHED, State.DIVERGED, *RECORDED])
def test_a_stale_run_names_the_definition_that_changed(state: State, config: Config) -> None:
    leave(config, state, 4, OTHER_CODE)
    assert plan_of(config).text == "stale (training/optimizers.adam changed)"


@pytest.mark.parametrize(("limit", "seconds"), [(PARAMETERS, PER_RUN + 10 * 96 * 0.25), (PARAMETERS - 1, None)])
def test_a_model_with_too_many_parameters_for_a_probe_has_no_estimate(
    limit: int, seconds: float | None, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "PROBED_PARAMETERS", limit)
    planned = plan_of(config)
    assert (planned.decision, planned.seconds) == (NEW, seconds)


def test_two_jobs_of_the_same_run_are_planned_once(config: Config) -> None:
    threads = replace(config, threads=2)
    first, second = Planner(lambda job: Composed(config if job == ["a"] else threads, {})).plan([["a"], ["b"]])
    assert (first.decision, second.decision.action) == (NEW, Action.DUPLICATE)
    assert second.text == f"duplicate of {first.run_id}"
    assert not second.has_own_run

"""States of runs, and the decision for a run that is asked for: every state, every reuse, every damage."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.fingerprint import Code
from sweeper.runs.states import STATES, Action, Decision, Reason, State, decide, parse_state

CODE: Code = {"core": {"training/loop.fit": "1"}, "model": {"models/mlp.mlp": "2"}}
LOOP = "training/loop.fit"
DAMAGED = Decision(Action.TRAIN, Reason.DAMAGED)
NEW = Decision(Action.TRAIN, Reason.NEW)
REUSES = ("same_code", "any", "none")


def stale(*changed: str) -> Decision:
    return Decision(Action.TRAIN, Reason.STALE, changed=changed)


def make(folder: Path, state: str, code: Any) -> RunDirectory:
    """Write the record of a run in its third epoch, or at its end; without code where that is None."""
    record = RunDirectory(folder / "runs" / "a-run")
    record.create({"effective": {}, "config": {}} | ({} if code is None else {"code": code}), {})
    record.write_status(state="running" if state == "lost" else state, epoch=3)
    if state == "lost":
        write_json(record.folder / "status.json", (record.status() or {}) | {"state": "running", "heartbeat": 1e9})
    if state == "finished":
        record.write_result({"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5})
    return record


def test_every_state_has_properties_and_a_position_of_its_own() -> None:
    assert set(STATES) == set(State)
    assert len({properties.order for properties in STATES.values()}) == len(State)
    for properties in STATES.values():
        assert not properties.is_done or (properties.is_terminal and not properties.is_resumable)
        assert not properties.is_terminal or properties.has_ended


@pytest.mark.parametrize("state", State)
def test_a_states_text_is_parsed(state: State) -> None:
    assert parse_state(state.value) is state


@pytest.mark.parametrize("text", ["", "Finished", "done", None, 3, ["finished"], {"state": "finished"}], ids=str)
def test_any_other_text_is_unknown(text: Any) -> None:
    assert parse_state(text) is State.UNKNOWN


@pytest.mark.parametrize(
    ("state", "changed", "expected"),
    [
        *(
            case
            for state in (State.FINISHED, State.DIVERGED)
            for skip in [Decision(Action.SKIP, Reason(state))]
            for forced in [Decision(Action.TRAIN, Reason.FORCED)]
            for case in ((state, False, (skip, skip, forced)), (state, True, (stale(LOOP), skip, forced)))
        ),
        *(
            (state, changed, (stale(LOOP) if changed else resumes, resumes, stale(LOOP) if changed else resumes))
            for state in (State.RUNNING, State.LOST, State.FAILED, State.CANCELLED, State.INTERRUPTED)
            for resumes in [Decision(Action.RESUME, Reason(state), 3)]
            for changed in (False, True)
        ),
    ],
)
@pytest.mark.parametrize("reuse", REUSES)
def test_the_decision_follows_from_state_code_and_reuse(
    state: State, changed: bool, expected: tuple[Decision, ...], reuse: str, tmp_path: Path
) -> None:
    record = make(tmp_path, state, CODE | {"core": {LOOP: "0"}} if changed else CODE)
    assert decide(record, CODE, reuse) == expected[REUSES.index(reuse)]


@pytest.mark.parametrize("reuse", REUSES)
def test_a_run_that_never_started_is_new(reuse: str, tmp_path: Path) -> None:
    assert decide(RunDirectory(tmp_path / "runs/nothing"), CODE, reuse) == NEW
    (make(tmp_path, "finished", CODE).folder / "status.json").write_text('{"schema": 2, "sta')
    assert decide(RunDirectory(tmp_path / "runs/a-run"), CODE, reuse) == NEW


STRIPPED = '{"schema": 2}'
FOREIGN = '{"schema": 1, "effective": 1, "config": 1, "test_acc": 1}'


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        *((file, content, DAMAGED) for file in ("run.json", "result.json") for content in ("", FOREIGN)),
        ("result.json", STRIPPED, DAMAGED),
        ("run.json", json.dumps({"schema": 2, "code": CODE}), DAMAGED),
        ("run.json", STRIPPED, stale("run.json")),
        ("run.json", '{"schema": 2, "code": {}}', stale("models/mlp.mlp", LOOP)),
    ],
)
def test_a_finished_run_with_damaged_files_is_trained_again(
    file: str, content: str, expected: Decision, tmp_path: Path
) -> None:
    record = make(tmp_path, "finished", CODE)
    (record.folder / file).write_text(content)
    assert decide(record, CODE, "any") == DAMAGED
    assert decide(record, CODE, "same_code") == expected


@pytest.mark.parametrize("status", [{}, {"epoch": 3}, {"state": None}, {"state": 3}, {"state": ["finished"]}], ids=str)
@pytest.mark.parametrize("reuse", REUSES)
def test_a_status_without_a_state_is_damaged(reuse: str, status: dict[str, Any], tmp_path: Path) -> None:
    record = make(tmp_path, "finished", CODE)
    write_json(record.folder / "status.json", status)
    assert decide(record, CODE, reuse) == DAMAGED
    if reuse != "any":
        assert decide(record, {}, reuse) == stale("models/mlp.mlp", LOOP)
        assert decide(record, CODE | {"core": {LOOP: "0"}}, reuse) == stale(LOOP)


@pytest.mark.parametrize("code", [None, 3, "loop.py", ["loop.py"], {"core": 3}, {"core": None}], ids=str)
def test_a_run_without_its_code_is_stale(code: Any, tmp_path: Path) -> None:
    record = make(tmp_path, "finished", code)
    for today in (CODE, {}):
        assert decide(record, today, "same_code") == stale("run.json")
        assert decide(record, today, "any") == Decision(Action.SKIP, Reason.FINISHED)


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({"core": {"a": "1"}}, {"core": {"a": "1"}}, ()),
        ({"core": {"b": "1", "a": "1"}}, {"core": {"b": "2", "a": "2"}}, ("a", "b")),
        ({"core": {"a": "1"}}, {"core": {"a": "1", "b": "1"}}, ("b",)),
        ({"core": {"a": "1", "b": "1"}}, {"core": {"a": "1"}}, ("b",)),
        ({"core": {"a": "1"}, "model": {"b": "1"}}, {"core": {"a": "1"}, "model": {"b": "2"}}, ("b",)),
        ({"core": {"a": "1"}}, {"core": {"a": "1"}, "model": {"b": "2"}}, ("b",)),
        (None, {"core": {"a": "1"}}, ("run.json",)),
    ],
)
def test_a_stale_run_names_every_definition_that_differs(
    before: Code | None, after: Code, names: tuple[str, ...], tmp_path: Path
) -> None:
    decision = decide(make(tmp_path, "interrupted", before), after, "same_code")
    assert decision == (stale(*names) if names else Decision(Action.RESUME, Reason.INTERRUPTED, 3))
    assert decision.text == (f"stale ({', '.join(names)} changed)" if names else decision.text)

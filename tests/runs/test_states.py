"""Every record and its decision, in one table that plans and runs share; states of runs whose process is gone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from processes import REPOSITORY, environment
from support import TINY, composed, finish, start, the_run

from sweeper.errors import UserError
from sweeper.files import read_json, write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.spec import resolve
from sweeper.runs.states import (
    STATES,
    Action,
    Decision,
    Reason,
    State,
    archive,
    decide,
    lock_of,
    parse_state,
    reconcile_state,
    run_lock,
    state_of,
)
from sweeper.sweep.compose import Composed
from sweeper.sweep.planner import Planner

CODE = {"core": {"training/loop.fit": "1"}, "optimizer": {"training/optimizers.adam": "2"}}
OTHER_CODE = CODE | {"optimizer": {"training/optimizers.adam": "3"}}
CHANGED = ("training/optimizers.adam",)
RUN = {"effective": {}, "config": {}, "code": CODE}
RESULT = {"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5}

NEW = Decision(Action.TRAIN, Reason.NEW)
DAMAGED = Decision(Action.TRAIN, Reason.DAMAGED)
FORCED = Decision(Action.TRAIN, Reason.FORCED)
STALE = Decision(Action.TRAIN, Reason.STALE, changed=CHANGED)
FINISHED = Decision(Action.SKIP, Reason.FINISHED)
DIVERGED = Decision(Action.SKIP, Reason.DIVERGED)


def resume(reason: Reason, epoch: int | None = 3) -> Decision:
    return Decision(Action.RESUME, reason, epoch)


@pytest.fixture
def record(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "a-run")


def leave(record: RunDirectory, state: str | None, *, result: bool = True, **run: Any) -> None:
    """Leave what an attempt that ended in this state leaves; `lost` is running without a heartbeat."""
    record.create(RUN | run, {})
    if state is not None:
        record.write_status(state="running" if state == "lost" else state, attempt=2, epoch=3, step=4, error=None)
    if state == "lost":
        status = record.folder / "status.json"
        write_json(status, (read_json(status) or {}) | {"heartbeat": time.time() - 1e6})
    if state == "finished" and result:
        record.predictions.touch()
        record.write_result(RESULT)


# What an attempt left -> the decision by sweep.reuse, with the same code and, where that differs, with other code.
TABLE = {
    "finished": {"same_code": FINISHED, "any": FINISHED, "none": FORCED},
    "diverged": {"same_code": DIVERGED, "any": DIVERGED, "none": FORCED},
    **{
        state: dict.fromkeys(("same_code", "any", "none"), resume(Reason(state)))
        for state in ("running", "lost", "failed", "cancelled", "interrupted")
    },
    # never in status.json, but for the last, of another program
    **{state: dict.fromkeys(("same_code", "any", "none"), DAMAGED) for state in ("queued", "waiting", "unknown")},
}


def test_the_table_has_every_state() -> None:
    assert TABLE.keys() == {state.value for state in State} == {state.value for state in STATES}


@pytest.mark.parametrize("reuse", ["same_code", "any", "none"])
@pytest.mark.parametrize("state", TABLE)
def test_a_decision_follows_from_state_code_and_reuse(state: str, reuse: str, record: RunDirectory) -> None:
    assert decide(record, CODE, reuse) == NEW
    leave(record, state)
    expected = TABLE[state][reuse]
    stays = expected == FORCED or (reuse == "any" and STATES[State(state)].is_done)
    with lock_of(record) if state == "running" else nullcontext():
        assert decide(record, CODE, reuse) == expected
        assert decide(record, OTHER_CODE, reuse) == (expected if stays else STALE)


def test_a_run_that_says_running_and_has_no_owner_is_lost(record: RunDirectory) -> None:
    """As after a memory limit that ended the whole sweep at once."""
    leave(record, "running")
    decision = decide(record, CODE, "same_code")
    assert decision == resume(Reason.LOST)
    assert decision.text == "lost (its process was killed, possibly out of memory), resumes at epoch 3"
    with lock_of(record):  # this process owns it
        assert decide(record, CODE, "same_code", is_owned=lambda _: False) == decision


def test_a_run_that_is_created_and_not_started_is_new(record: RunDirectory) -> None:
    leave(record, None)
    assert [decide(record, CODE, reuse) for reuse in ("same_code", "any", "none")] == [NEW] * 3
    assert decide(record, OTHER_CODE, "same_code") == STALE


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("result.json", None, DAMAGED),
        ("result.json", "", DAMAGED),
        ("result.json", '{"schema": 2}', DAMAGED),
        ("result.json", '{"schema": 1, "best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5}', DAMAGED),
        ("run.json", None, DAMAGED),
        ("run.json", '{"schema": 2, "code"', DAMAGED),
        ("run.json", json.dumps({"schema": 2, "code": CODE}), DAMAGED),
        ("run.json", json.dumps({"schema": 1, **RUN}), DAMAGED),
        ("run.json", '{"schema": 2}', Decision(Action.TRAIN, Reason.STALE, changed=("run.json",))),
        ("run.json", '{"schema": 2, "code": {"a": 1}}', Decision(Action.TRAIN, Reason.STALE, changed=("run.json",))),
        ("status.json", None, NEW),
        ("status.json", '{"schema": 2}', DAMAGED),
        ("status.json", '{"schema": 2, "state": ["finished"]}', DAMAGED),
        ("status.json", '{"schema": 2, "state": "failed", "epoch": "x"}', resume(Reason.FAILED, None)),
    ],
)
def test_a_finished_run_whose_files_are_damaged(
    name: str, content: str | None, expected: Decision, record: RunDirectory
) -> None:
    leave(record, "finished")
    (record.folder / name).unlink() if content is None else (record.folder / name).write_text(content)
    assert decide(record, CODE, "same_code") == expected


def test_a_finished_run_without_its_predictions_is_damaged(record: RunDirectory) -> None:
    leave(record, "finished")
    record.predictions.unlink()
    assert decide(record, CODE, "same_code") == DAMAGED


def test_weights_without_run_json_are_of_unknown_code(record: RunDirectory) -> None:
    leave(record, "interrupted")
    record.last.touch()
    (record.folder / "run.json").unlink()
    unknown = Decision(Action.TRAIN, Reason.STALE, changed=("run.json",))
    assert [decide(record, CODE, reuse) for reuse in ("same_code", "any", "none")] == [unknown] * 3


def test_a_directory_of_schema_1_holds_no_run(record: RunDirectory) -> None:
    leave(record, "finished")
    for name in ("run.json", "status.json", "result.json"):
        content = json.loads((record.folder / name).read_text())
        (record.folder / name).write_text(json.dumps(content | {"schema": 1, "code": {"loop.py": "1"}}))
    assert [decide(record, CODE, reuse) for reuse in ("same_code", "any", "none")] == [NEW] * 3
    assert state_of(record) is State.UNKNOWN


@pytest.mark.parametrize(
    ("decision", "text", "starts_over"),
    [
        (NEW, "new", False),
        (DAMAGED, "damaged", False),
        (FORCED, "forced by sweep.reuse=none", True),
        (STALE, "stale (training/optimizers.adam changed)", True),
        (Decision(Action.TRAIN, Reason.STALE, changed=("a", "b")), "stale (a, b changed)", True),
        (resume(Reason.INTERRUPTED), "interrupted, resumes at epoch 3", False),
        (resume(Reason.FAILED, None), "failed", False),
        (FINISHED, "finished", False),
        (DIVERGED, "diverged", False),
    ],
)
def test_the_text_of_a_decision(decision: Decision, text: str, starts_over: bool) -> None:
    assert (decision.text, decision.starts_over) == (text, starts_over)


def test_properties_of_states_agree() -> None:
    assert sorted(properties.order for properties in STATES.values()) == list(range(len(STATES)))
    for state, properties in STATES.items():
        assert not properties.is_done or properties.is_terminal
        assert not properties.is_terminal or properties.has_ended
        assert not (properties.is_done and properties.is_resumable)
        if properties.is_done or properties.is_resumable:
            assert Reason(state.value)


@pytest.mark.parametrize("text", ["", "done", None, 3, ["finished"], {}, "FINISHED"])
def test_an_unrecognized_state_is_unknown(text: Any) -> None:
    assert parse_state(text) is State.UNKNOWN


@pytest.mark.parametrize("state", TABLE)
def test_reconciling_the_state_of_a_run_without_a_process(state: str, record: RunDirectory) -> None:
    assert reconcile_state(record, "killed") is State.WAITING
    leave(record, state)
    before = record.status()
    if state in ("running", "lost"):
        assert reconcile_state(record, "killed", State.CANCELLED) is State.CANCELLED
        status = record.status() or {}
        position = [status[key] for key in ("state", "error", "attempt", "epoch", "step")]
        assert position == ["cancelled", "killed", 2, 3, 4]
    else:
        assert reconcile_state(record, "killed") is State(state)
        assert record.status() == before


HOLD = """import pathlib, sys
from sweeper.runs.directory import RunDirectory
from sweeper.runs.states import run_lock
with run_lock(RunDirectory(pathlib.Path(sys.argv[1]))):
    print("locked", flush=True)
    sys.stdin.read()"""


def hold_lock(record: RunDirectory) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(record.folder)],
        cwd=REPOSITORY, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_run_that_a_process_owns_is_running(record: RunDirectory) -> None:
    leave(record, "lost")
    before = record.status()
    with hold_lock(record) as owner:
        assert reconcile_state(record, "killed") is State.RUNNING
        assert record.status() == before
        owner.kill()
    assert reconcile_state(record, "killed") is State.FAILED  # the system freed the dead owner's lock


def test_a_second_process_waits_for_the_run(record: RunDirectory) -> None:
    with hold_lock(record) as owner, hold_in_background(record) as waiting:
        assert waiting.stdout is not None and owner.stdin is not None
        time.sleep(0.5)
        assert waiting.poll() is None
        owner.stdin.close()
        assert waiting.stdout.readline() == "locked\n"
        waiting.kill()


def hold_in_background(record: RunDirectory) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(record.folder)],
        cwd=REPOSITORY, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    record = RunDirectory(tmp_path / "outputs" / "runs" / "a-run")
    with pytest.raises(UserError, match=r"^output_dir=.*outputs cannot be written"), run_lock(record):
        pass


def test_an_output_folder_that_cannot_be_written_is_named_where_a_run_is_recorded_as_running(
    record: RunDirectory,
) -> None:
    leave(record, "running")
    (record.folder.parent.parent / ".locks").touch()
    with pytest.raises(UserError, match=r"^output_dir=.* cannot be written"):
        decide(record, CODE, "same_code")
    with pytest.raises(UserError, match=r"^output_dir=.* cannot be written"):
        reconcile_state(record, "killed")


def test_archived_runs_are_numbered(record: RunDirectory) -> None:
    outputs = record.folder.parent.parent
    for number in (1, 2):
        leave(record, "finished", number=number)
        archive(record)
        assert not record.folder.exists()
    shutil.rmtree(outputs / "stale" / "a-run.1")
    leave(record, "failed", number=3)
    archive(record)
    found = {path.name: (read_json(path / "run.json") or {})["number"] for path in (outputs / "stale").iterdir()}
    assert found == {"a-run.2": 2, "a-run.3": 3}


@pytest.fixture(scope="module")
def finished(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a finished run of 2 epochs."""
    folder = tmp_path_factory.mktemp("finished")
    finish(start([*small, *TINY, "epochs=2"], folder))
    return folder


@pytest.mark.parametrize(
    ("state", "changes", "reuse", "text", "printed"),
    [
        ("finished", {}, "same_code", "finished", "already finished"),
        ("finished", {}, "none", "forced by sweep.reuse=none", "sweep.reuse=none; retraining"),
        ("finished", {"code": CODE}, "same_code", "stale (", "changed); retraining"),
        ("finished", {"code": CODE}, "any", "finished", "already finished"),
        ("interrupted", {}, "same_code", "interrupted, resumes at epoch 3", "resuming at epoch 3, step 0"),
        ("failed", {}, "none", "failed, resumes at epoch 3", "resuming at epoch 3, step 0"),
        ("running", {}, "none", "lost (its process", "lost (its process was killed, possibly out of memory), resumes"),
        ("diverged", {}, "same_code", "diverged", "already diverged: None"),
    ],
)
def test_a_run_does_what_its_plan_says(
    state: str, changes: dict[str, Any], reuse: str, text: str, printed: str, finished: Path, small: list[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    shutil.copytree(finished, tmp_path / "copy")
    run = the_run(tmp_path / "copy")
    write_json(run / "run.json", (read_json(run / "run.json") or {}) | changes)
    RunDirectory(run).write_status(state=state, attempt=1, epoch=3, step=0, error=None)
    overrides = [*small, *TINY, "epochs=2", f"sweep.reuse={reuse}"]
    config = composed(*overrides, f"output_dir={tmp_path / 'copy' / 'outputs'}")
    (planned,) = Planner(lambda job: Composed(config, {})).plan([overrides])
    spec = resolve(config)
    assert planned.decision == decide(spec.record, spec.code, reuse)
    assert planned.run_id == run.name
    assert planned.text.startswith(text)
    process = start(overrides, tmp_path / "copy")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == (1 if state == "diverged" else 0), output
    assert printed in output
    owner = {"pid": process.pid, "host": socket.gethostname()} if planned.is_to_run else {"pid": os.getpid()}
    status = read_json(run / "status.json") or {}
    assert {key: status[key] for key in owner} == owner

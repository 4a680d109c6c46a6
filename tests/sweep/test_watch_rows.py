"""The rows of `watch`: states in order, the time left, and records whose content must not mislead it."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
from watching import PLAN, cells, change_status, collected, job, make, row, save, shown

from sweeper.files import write_json
from sweeper.runs.states import State
from sweeper.sweep.saved import read_plan
from sweeper.sweep.statuses import RunStatus, collect
from sweeper.sweep.watch import watch
from sweeper.sweep.watch_table import format_progress


def test_a_run_that_is_queued_again_keeps_its_epochs(tmp_path: Path) -> None:
    folder = save(tmp_path, [job("a"), job("b", heartbeat=5.0)])
    for name, heartbeat in (("a", 6.0), ("b", 5.0)):  # b is as it was at planning: its epochs will be trained again
        change_status(make(tmp_path, name, "interrupted", [row(0.5), row(0.6)]), heartbeat=heartbeat)
    packs = [["a"], ["b"]]
    write_json(folder / "jobs.json", {"submissions": [{"token": "t", "job": "12", "made": 2e9, "packs": packs}]})
    found = {status.run_id: (status.state, status.epoch) for status in collect(folder, read_plan(folder))}
    assert found == {"a": ("queued", 2), "b": ("queued", 0)}


def test_submitted_runs_are_queued_until_they_run(tmp_path: Path) -> None:
    rows = [row(0.5, 2.0, 10)]
    for name, state in (("a", "running"), ("b", "interrupted"), ("c", "cancelled"), ("d", "interrupted")):
        make(tmp_path, name, state, rows)
    for name, heartbeat in (("g", 3e9), ("h", 1e9)):  # stopped after the submission, and before it
        change_status(make(tmp_path, name, "interrupted", rows), error="timed out too often", heartbeat=heartbeat)
    jobs = [job(name, f"model={name}") for name in "abcdefgh"]
    folder = save(tmp_path, jobs)
    packs = [["a", "b"], ["c", "e"], ["g", "h"]]
    write_json(folder / "jobs.json", {"submissions": [{"token": "t", "job": "12", "made": 2e9, "packs": packs}]})
    statuses = collect(folder, read_plan(folder))
    states = {status.run_id: status.state for status in statuses}
    assert states == {
        "a": "running",
        "b": "queued",
        "c": "cancelled",
        "d": "interrupted",
        "e": "queued",
        "f": "waiting",
        "g": "interrupted",
        "h": "queued",
    }
    assert "nothing is running" not in format_progress(PLAN, statuses[1:])
    waiting = [status for status in statuses if status.run_id == "f"]
    assert format_progress(PLAN, waiting) == f"1 run: 1 waiting; nothing is running; to resume: {PLAN['command']}"
    assert format_progress(PLAN | {"command": None}, waiting) == "1 run: 1 waiting"


def test_every_state_has_its_position_and_its_numbers(tmp_path: Path) -> None:
    rows = [row(0.5, 2.0, 10), row(0.75, 4.0, 20), row(0.625, 9.0, 30)]
    for name, state in (("h", "strange"), ("g", "finished"), ("f", "interrupted"), ("d", "failed"), ("e", "diverged")):
        make(tmp_path, name, state, rows)
    for name, state in (("c", "lost"), ("b", "running"), ("a", "running")):
        make(tmp_path, name, state, rows[:2])
    jobs = [job(name, f"model={name}", seconds=60.0) for name in "ihgfedcba"]
    assert collected(tmp_path, jobs) == [
        RunStatus("model=a", "a", State.RUNNING, 2, 10, 0.75, 20, 8 * 3.0),
        RunStatus("model=b", "b", State.RUNNING, 2, 10, 0.75, 20, 8 * 3.0),
        RunStatus("model=h", "h", State.UNKNOWN, 3, 10, 0.75, 30, 7 * 4.0),
        RunStatus("model=c", "c", State.LOST, 2, 10, 0.75, 20, 8 * 3.0),
        RunStatus("model=d", "d", State.FAILED, 3, 10, 0.75, 30, 0.0),
        RunStatus("model=e", "e", State.DIVERGED, 3, 10, 0.75, 30, 0.0),
        RunStatus("model=f", "f", State.INTERRUPTED, 3, 10, 0.75, 30, 7 * 4.0),
        RunStatus("model=i", "i", State.WAITING, 0, 10, None, None, 60.0),
        RunStatus("model=g", "g", State.FINISHED, 3, 3, 0.75, 30, 0.0),  # early stopping
    ]


@pytest.mark.parametrize(
    ("overrides", "swept"),
    [
        ([("a=1", "b=1"), ("a=1", "b=2")], ["b=1", "b=2"]),
        ([("a=1", "b=1", "c=3"), ("a=2", "b=2", "c=3")], ["a=1 b=1", "a=2 b=2"]),
        ([("a=1", "b=1"), ("a=1",)], ["b=1", ""]),
        ([("a=1", "b=1")], [""]),
        ([], []),
    ],
)
def test_a_run_is_named_by_its_distinguishing_overrides(
    overrides: list[tuple[str, ...]], swept: list[str], tmp_path: Path
) -> None:
    jobs = [job(f"run-{number}", *texts) for number, texts in enumerate(overrides)]
    assert [status.swept for status in collected(tmp_path, jobs)] == swept


def test_a_run_without_swept_values_is_named_by_its_id() -> None:
    assert cells(shown([RunStatus("", "the-id", State.WAITING, 0, 1, None, None, None)]))[0][0] == "the-id"


@pytest.mark.parametrize(
    ("rows", "more", "seconds"),
    [
        ([], {"seconds": None}, None),
        ([], {"seconds": 7.5}, 7.5),
        ([row(0.5, 2.0)], {"seconds": 7.5}, 18.0),
        ([row(0.5, 30.0), *[row(0.5, 2.0)] * 4], {}, 10.0),  # the first epoch was slow
        ([row(0.5, 2.0)] * 10, {}, 0.0),
        ([{"val_acc": 0.5}], {"seconds": 7.5}, 7.5),
        ([{"val_acc": 0.5}, row(0.5, 3.0)], {"seconds": 7.5}, 27.0),  # only readable rows count
    ],
)
def test_time_left(rows: list[dict[str, Any]], more: dict[str, Any], seconds: float | None, tmp_path: Path) -> None:
    make(tmp_path, "a", "running", rows)
    (found,) = collected(tmp_path, [job("a", **more)])
    assert found.seconds == seconds


@pytest.mark.parametrize("reason", ["stale", "forced", "damaged"])
@pytest.mark.parametrize("state", ["finished", "failed", "diverged", "interrupted", "lost"])
def test_a_run_that_is_retrained_waits_until_it_starts(state: str, reason: str, tmp_path: Path) -> None:
    record = make(tmp_path, "a", state, [row(0.5)] * 2)
    change_status(record, heartbeat=1000.0)
    jobs = [job("a", "seed=1", reason=reason, seconds=60.0, heartbeat=1000.0)]
    assert collected(tmp_path, jobs) == [RunStatus("", "a", State.WAITING, 0, 10, None, None, 60.0)]
    record.write_status(state="running")
    assert collect(tmp_path / "sweeps/a-sweep", read_plan(tmp_path / "sweeps/a-sweep"))[0].state == "running"


@pytest.mark.parametrize("state", ["finished", "failed", "diverged"])
@pytest.mark.parametrize(
    ("decision", "heartbeat"),
    [
        ({"action": "resume", "reason": "running", "epoch": 2}, 999.5),
        ({"action": "resume", "reason": "running", "epoch": 2}, None),
        ({"action": "skip", "reason": "finished"}, 1000.0),
        ({"action": "skip", "reason": "diverged"}, 1000.0),
    ],
    ids=str,
)
def test_a_run_that_ended_since_the_plan_or_is_skipped_has_ended(
    decision: dict[str, Any], heartbeat: float | None, state: str, tmp_path: Path
) -> None:
    change_status(make(tmp_path, "a", state, [row(0.5)] * 2), heartbeat=1000.0)
    (found,) = collected(tmp_path, [job("a", **decision, heartbeat=heartbeat)])
    assert (found.state, found.epoch, found.best_val, found.seconds) == (state, 2, 0.5, 0.0)


@pytest.mark.parametrize("heartbeat", [None, "x", [], math.nan, math.inf, 10**400], ids=lambda value: str(value)[:9])
def test_an_end_at_an_unknown_time_was_before_the_plan(heartbeat: Any, tmp_path: Path) -> None:
    change_status(make(tmp_path, "a", "failed"), heartbeat=heartbeat)
    (found,) = collected(tmp_path, [job("a")])
    assert found.state == "waiting"


@pytest.mark.parametrize(("before", "state"), [("interrupted",) * 2, ("lost",) * 2, ("failed", "waiting")])
def test_a_resumed_run_keeps_its_epochs(before: str, state: str, tmp_path: Path) -> None:
    change_status(make(tmp_path, "a", before, [row(0.5, 2.0)] * 4), heartbeat=1e9)
    (found,) = collected(tmp_path, [job("a", action="resume", reason=before, epoch=4, seconds=60.0, heartbeat=1e9)])
    assert (found.state, found.epoch, found.seconds) == (state, 4, 12.0)


@pytest.mark.parametrize(
    ("content", "epoch"),
    [
        ('{"epoch": 2, "val', 1),
        ("\x00\x00", 1),
        ("7\n", 1),
        ("[]\n", 1),
        ("{}\n" + json.dumps(row(0.9)), 2),
        (json.dumps({"epoch": 2, "val_acc": 0.9}), 1),
        (json.dumps(row(0.9)) + "\n\xff", 2),
    ],
)
def test_a_torn_metrics_file_counts_up_to_the_tear(content: str, epoch: int, tmp_path: Path) -> None:
    record = make(tmp_path, "a", "running", [row(0.5)])
    with (record.folder / "metrics.jsonl").open("a", encoding="latin-1") as file:
        file.write(content)
    (found,) = collected(tmp_path, [job("a")])
    assert (found.epoch, found.best_val) == (epoch, 0.5 if epoch == 1 else 0.9)


@pytest.mark.parametrize(
    ("content", "state"),
    [("", "waiting"), ('{"schema": 2, "sta', "waiting"), ('{"schema": 1, "state": "finished"}', "waiting"),
     ('{"schema": 2, "state": 3}', "waiting"),
     ('{"schema": 2}', "waiting")],
)  # fmt: skip
def test_an_unreadable_status_is_no_status(content: str, state: str, tmp_path: Path) -> None:
    (make(tmp_path, "a", "finished").folder / "status.json").write_text(content)
    (found,) = collected(tmp_path, [job("a")])
    assert found.state == state


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *itertools.product(
            ("val_acc", "train_seconds", "eval_seconds", "images_per_second"),
            ("x", {}, 10**400, None, math.inf, -math.inf, math.nan),
        ),
    ],
    ids=lambda value: str(value)[:17],
)
def test_bad_metrics_of_a_run_do_not_stop_the_watch_of_others(
    key: str, bad: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "bad", "running", [row(0.5), row(0.5) | {key: bad}])
    make(tmp_path, "good", "running", [row(0.625)])
    save(tmp_path, [job("bad", "seed=1"), job("good", "seed=2")])
    watch(tmp_path, None, once=True)
    assert cells(capsys.readouterr().out) == [
        ["seed=1 bad", "running", "1/10", "0.5000", "100", "0:00:18"],
        ["seed=2 good", "running", "1/10", "0.6250", "100", "0:00:18"],
    ]


@pytest.mark.parametrize(
    "change",
    [{"heartbeat": 10**400}, {"state": "\ud800"}, {"state": ["running"]}, {"state": {}}],
    ids=["heartbeat", "text", "list", "dict"],
)
def test_a_bad_status_of_a_run_does_not_stop_the_watch_of_others(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_status(make(tmp_path, "bad", "running"), **change)
    make(tmp_path, "good", "running", [row(0.625)])
    save(tmp_path, [job("bad", "seed=1"), job("good", "seed=2")])
    watch(tmp_path, None, once=True)
    assert "0.6250" in capsys.readouterr().out

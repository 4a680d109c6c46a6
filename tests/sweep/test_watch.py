"""Watching a sweep: the order of states, the time left, and files whose content must not stop or mislead it."""

import io
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import REPOSITORY, environment
from rich.console import Console, Group

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.states import STATES, State
from sweeper.sweep import watch as module
from sweeper.sweep.saved import find_sweep, own_jobs, read_plan
from sweeper.sweep.watch import RunStatus, collect, draw, draw_fitting, format_hms, format_progress, watch


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rich see no terminal in a file, whatever the tests run in."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)


def row(val_acc: float, seconds: float = 2.0, speed: float = 100.0) -> dict[str, Any]:
    """An epoch, a quarter of whose seconds went into validation."""
    return {
        "epoch": 1,
        "val_acc": val_acc,
        "train_seconds": 0.75 * seconds,
        "eval_seconds": 0.25 * seconds,
        "images_per_second": speed,
    }


def make(output_dir: Path, run_id: str, state: str, rows: Sequence[dict[str, Any]] = ()) -> RunDirectory:
    """A run's directory as a run leaves it, readable as a whole."""
    record = RunDirectory(output_dir / "runs" / run_id)
    record.create({"effective": {"model": {"name": run_id}, "seed": 0}, "config": {}}, {})
    record.write_metrics(list(rows))
    record.write_status(state="running" if state == "lost" else state)
    if state == "lost":
        change_status(record, heartbeat=1e9)
    return record


def change_status(record: RunDirectory, **changes: Any) -> None:
    write_json(record.folder / "status.json", (record.status() or {}) | changes)


def job(run_id: str, *overrides: str, **more: Any) -> dict[str, Any]:
    """A job of sweep.json, by default of a new run."""
    decision: dict[str, Any] = {"action": "train", "reason": "new", "epoch": None, "changed": []}
    fields = {"epochs": 10, "seconds": None, "heartbeat": None}
    return {"overrides": list(overrides), "run_id": run_id, **decision, **fields, **more}


def save(output_dir: Path, jobs: Sequence[dict[str, Any]], name: str = "a-sweep", **more: Any) -> Path:
    """The sweep's folder."""
    folder = output_dir / "sweeps" / name
    folder.mkdir(parents=True)
    content = {"name": name, "created": 1.0, "command": "python train.py -m seed=1,2", "concurrency": 1, "jobs": jobs}
    write_json(folder / "sweep.json", content | more)
    return folder


def collected(output_dir: Path, jobs: Sequence[dict[str, Any]], **more: Any) -> list[RunStatus]:
    """The statuses of the runs of a sweep of these jobs."""
    folder = save(output_dir, jobs, **more)
    return collect(folder, read_plan(folder))


PLAN = {"created": 1.0, "command": "c", "concurrency": 1, "jobs": []}


def shown(
    statuses: Sequence[RunStatus], *, name: str = "a-sweep", rows: int | None = None, width: int = 200, **plan: Any
) -> str:
    file = io.StringIO()
    parts = draw(name, PLAN | plan, statuses, len(statuses) if rows is None else rows)
    Console(width=width, file=file).print(Group(*parts))
    return file.getvalue()


def fitted(statuses: Sequence[RunStatus], height: int, width: int = 200, **plan: Any) -> list[str]:
    """The lines drawn in a terminal of that size."""
    file = io.StringIO()
    console = Console(width=width, height=height, file=file)
    console.print(draw_fitting("a-sweep", PLAN | plan, statuses, console))
    return file.getvalue().splitlines()


def status_of(state: str, run_id: str = "", **more: Any) -> RunStatus:
    fields = {"epoch": 0, "epochs": 10, "best_val_acc": None, "images_per_second": None, "seconds": None}
    return RunStatus(run_id, run_id, State(state), **{**fields, **more})


def cells(text: str) -> list[list[str]]:
    """The table's rows."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


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
        ([("a=1", "b=1")], ["a=1 b=1"]),
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
    assert collected(tmp_path, jobs) == [RunStatus("seed=1", "a", State.WAITING, 0, 10, None, None, 60.0)]
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
    assert (found.state, found.epoch, found.best_val_acc, found.seconds) == (state, 2, 0.5, 0.0)


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
    assert (found.epoch, found.best_val_acc) == (epoch, 0.5 if epoch == 1 else 0.9)


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
def test_no_metrics_of_a_run_stop_the_watch_of_other_runs(
    key: str, bad: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "bad", "running", [row(0.5), row(0.5) | {key: bad}])
    make(tmp_path, "good", "running", [row(0.625)])
    save(tmp_path, [job("bad", "seed=1"), job("good", "seed=2")])
    watch(tmp_path, None, once=True)
    assert cells(capsys.readouterr().out) == [
        ["seed=1", "running", "1/10", "0.5000", "100", "0:00:18"],
        ["seed=2", "running", "1/10", "0.6250", "100", "0:00:18"],
    ]


@pytest.mark.parametrize(
    "change",
    [{"heartbeat": 10**400}, {"state": "\ud800"}, {"state": ["running"]}, {"state": {}}],
    ids=["heartbeat", "text", "list", "dict"],
)
def test_no_status_of_a_run_stops_the_watch_of_other_runs(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_status(make(tmp_path, "bad", "running"), **change)
    make(tmp_path, "good", "running", [row(0.625)])
    save(tmp_path, [job("bad", "seed=1"), job("good", "seed=2")])
    watch(tmp_path, None, once=True)
    assert "0.6250" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["waiting", "0/10", "-", "-", "-"]),
        ({"seconds": 3661.4}, ["waiting", "0/10", "-", "-", "1:01:01"]),
        (
            {"epoch": 3, "best_val_acc": 2 / 3, "images_per_second": 12345.6, "seconds": 9.0},
            ["waiting", "3/10", "0.6667", "12,346", "0:00:09"],
        ),
        ({"best_val_acc": 0.0, "seconds": 0.0}, ["waiting", "0/10", "0.0000", "-", "0:00:00"]),
        ({"images_per_second": 0.2}, ["waiting", "0/10", "-", "0", "-"]),
    ],
)
def test_a_row_shows_the_known_values(more: dict[str, Any], expected: list[str]) -> None:
    assert cells(shown([status_of("waiting", "a", **more)])) == [["a", *expected]]


@pytest.mark.parametrize("state", ["finished", "failed", "diverged"])
def test_an_ended_run_has_no_eta(state: str) -> None:
    assert cells(shown([status_of(state, "a", seconds=0.0)]))[0][-1] == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (0.6, "0:00:01"), (59.6, "0:01:00"), (3599.7, "1:00:00"), (360_000, "100:00:00")],
)
def test_format_hms(seconds: float, text: str) -> None:
    assert format_hms(seconds) == text


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[bold", ":smile:", "a│b", "[link=file:///x]y[/link]", "1/2"])
def test_texts_are_shown_verbatim(text: str, tmp_path: Path) -> None:
    jobs = [job("a", f"data.root={text}", "seed=1"), job(text, "data.root=x", "seed=1")]
    printed = shown(collected(tmp_path, jobs))
    assert f"data.root={text}" in printed
    lines = [line.rstrip() for line in shown([status_of("waiting", seconds=1.0)], name=text, command=text).splitlines()]
    assert lines[0] == f"sweep {text}"
    assert lines[-1] == f"1 run: 1 waiting; nothing is running; to resume: {text}"


@pytest.mark.parametrize("state", ["strange", "[red]x[/red]", "Finished", "", 3, None, ["finished"], {}], ids=str)
def test_a_foreign_state_is_shown_as_unknown(state: Any, tmp_path: Path) -> None:
    change_status(make(tmp_path, "a", "running", [row(0.5)]), state=state)
    (status,) = collected(tmp_path, [job("a", heartbeat=1.0)])
    assert (status.state, status.epoch, status.seconds) == (State.UNKNOWN, 1, 18.0)
    assert "1 run: 1 unknown" in shown([status])


@pytest.mark.parametrize("state", State)
def test_every_state_is_drawn_and_ends_the_watch_where_it_is_terminal(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = status_of(state, "a", seconds=0.0 if STATES[state].is_terminal else 9.0)
    assert cells(shown([status])) == [["a", state.value, "0/10", "-", "-", "-" if status.is_terminal else "0:00:09"]]
    monkeypatch.setattr(module, "collect", lambda *_: [status])
    save(tmp_path, [job("a")])

    def interrupt(_: float) -> None:
        waits.append(state)
        raise KeyboardInterrupt

    waits: list[State] = []
    watched_live(tmp_path, monkeypatch, interrupt)
    assert waits == ([] if STATES[state].is_terminal else [state])


def test_a_newline_in_an_override_stays_in_its_cell() -> None:
    text = shown([status_of("waiting", "data.root=x\ny"), status_of("finished", "seed=2")])
    assert [line[:2] for line in cells(text)] == [["data.root=x", "waiting"], ["y", ""], ["seed=2", "finished"]]


STATUSES = [
    status_of(state, run_id)
    for run_id, state in zip(
        "abcdefg", ("running", "lost", "failed", "interrupted", "waiting", "waiting", "finished"), strict=True
    )
]


MORE = {
    "abcdef": ["and 1 more: 1 finished"],
    "abcde": ["and 2 more: 1 waiting, 1 finished"],
    "abc": ["and 4 more: 1 interrupted, 2 waiting, 1 finished"],
    "a": ["and 6 more: 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished"],
}


@pytest.mark.parametrize(("rows", "names"), [(7, "abcdefg"), (100, "abcdefg"), (6, "abcdef"), (3, "abc"), (1, "a")])
def test_the_runs_that_are_not_shown_are_counted(rows: int, names: str) -> None:
    text = shown(STATUSES, rows=rows)
    assert [cell[0] for cell in cells(text)] == list(names)
    assert [line for line in text.splitlines() if " more: " in line] == MORE.get(names, [])
    assert "7 runs: 1 running, 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished" in text


@pytest.mark.parametrize(
    ("height", "names"),
    [(100, "abcdefg"), (14, "abcdefg"), (13, "abcde"), (11, "abc"), (9, "a"), (8, "a"), (3, "a"), (1, "a")],
)
def test_a_low_terminal_shows_the_first_runs_and_counts_the_rest(height: int, names: str) -> None:
    lines = fitted(STATUSES, height)
    assert [cell[0] for cell in cells("\n".join(lines))] == list(names)
    assert [line for line in lines if " more: " in line] == MORE.get(names, [])
    assert lines[-1] == "7 runs: 1 running, 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished"
    assert len(lines) < max(height, 9)  # at least one run is shown


def test_a_sweep_without_runs_fits_any_terminal() -> None:
    assert fitted([], 1)[-1].strip() == "0 runs:"


LONG = [status_of("waiting", f"{number:02}{'x' * 148}") for number in range(20)]


@pytest.mark.parametrize("height", [16, 40, 60, 80, 200])
@pytest.mark.parametrize("command", ["c", "python " * 40])
def test_names_and_commands_that_are_wrapped_count_with_all_their_lines(height: int, command: str) -> None:
    lines = fitted(LONG, height, 100, command=command)
    rows = cells("\n".join(lines))
    assert len(lines) < height
    names = "".join(row[0] for row in rows)
    assert names == "".join(status.swept for status in LONG[: names.count("x") // 148])
    assert names


@pytest.mark.parametrize(
    "height",
    [
        40,
        60,
        80,
    ],
)
def test_as_many_wrapped_names_are_shown_as_the_terminal_has_lines_for(height: int) -> None:
    number = sum(row[1] == "waiting" for row in cells("\n".join(fitted(LONG, height, 100))))
    assert len(shown(LONG, rows=number + 1, width=100).splitlines()) >= height


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_wraps_the_names_and_not_the_numbers(width: int) -> None:
    name = "model=mlp_deep optimizer=momentum scheduler=cosine activation=leaky_relu norm=batch dropout.rate=0.25"
    text = shown(
        [status_of("running", name, epoch=3, best_val_acc=0.5, images_per_second=1234.0, seconds=9.0)], width=width
    )
    assert max(map(len, text.splitlines())) <= width
    first, *others = cells(text)
    assert first[1:] == ["running", "3/10", "0.5000", "1,234", "0:00:09"]
    assert others
    assert not any(cell for row in others for cell in row[1:])
    assert "".join(row[0] for row in (first, *others)).replace(" ", "") == name.replace(" ", "")
    header = next(line for line in text.splitlines() if "state" in line)
    assert [cell.strip() for cell in header.split("┃")[2:-1]] == ["state", "epoch", "best val acc", "images/s", "ETA"]


LEFT = [status_of("waiting", seconds=60.0), status_of("waiting", seconds=60.0), status_of("running", seconds=30.0)]


@pytest.mark.parametrize(
    ("statuses", "plan", "line"),
    [
        ([], {}, "0 runs: "),
        ([status_of("finished", seconds=0.0)], {}, "1 run: 1 finished"),
        ([status_of("failed", seconds=0.0), status_of("finished")], {"command": "c"}, "2 runs: 1 failed, 1 finished"),
        ([status_of("running")], {}, "1 run: 1 running"),
        ([status_of("running"), status_of("waiting")], {}, "2 runs: 1 running, 1 waiting"),
        (
            [status_of("running", seconds=30.0), status_of("waiting")],
            {},
            "2 runs: 1 running, 1 waiting; about 30 s left",
        ),
        (LEFT, {}, "3 runs: 1 running, 2 waiting; about 2 min left"),  # 150 s, one at a time
        (LEFT, {"concurrency": None}, "3 runs: 1 running, 2 waiting; about 2 min left"),
        (LEFT, {"concurrency": 3}, "3 runs: 1 running, 2 waiting; about 60 s left"),
        ([*LEFT, status_of("running", seconds=30.0)], {}, "4 runs: 2 running, 2 waiting; about 2 min left"),  # 90 s
        ([*LEFT[1:], status_of("running", seconds=3.0)], {}, "3 runs: 2 running, 1 waiting; about 60 s left"),
        ([*LEFT, status_of("finished", seconds=9e9)], {}, "4 runs: 1 running, 2 waiting, 1 finished; about 2 min left"),
        (LEFT[:2], {"command": "python x"}, "2 runs: 2 waiting; nothing is running; to resume: python x"),
        ([status_of("waiting")], {"command": "c"}, "1 run: 1 waiting; nothing is running; to resume: c"),
        ([status_of("lost", seconds=1.0)], {"command": "c"}, "1 run: 1 lost; nothing is running; to resume: c"),
        (
            [status_of("interrupted", seconds=1.0)],
            {"command": "c"},
            "1 run: 1 interrupted; nothing is running; to resume: c",
        ),
    ],
)
def test_format_progress(statuses: list[RunStatus], plan: dict[str, Any], line: str) -> None:
    assert format_progress(PLAN | plan, statuses) == line
    assert line.strip() in shown(statuses, **plan)


def test_the_sweep_that_was_started_last_is_found(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "c", "a")):
        os.utime(save(tmp_path, [], name) / "sweep.json", (number, number))
    (tmp_path / "sweeps/empty").mkdir()
    (tmp_path / "sweeps/sweep.json").touch()
    assert find_sweep(tmp_path, None).name == "a"
    os.utime(tmp_path / "sweeps/c/sweep.json", (9, 9))
    assert find_sweep(tmp_path, None) == tmp_path / "sweeps/c"
    assert find_sweep(tmp_path, "b") == tmp_path / "sweeps/b"
    with pytest.raises(UserError, match=f"^sweep empty not found in {tmp_path}/sweeps; choose from a, b, c$"):
        find_sweep(tmp_path, "empty")


@pytest.mark.parametrize("name", [None, "a"])
def test_a_folder_without_sweeps_is_reported(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^no sweeps in {tmp_path}/sweeps; start one: "):
        find_sweep(tmp_path, name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"schema": 2, "jobs": [',
        "[]",
        '{"schema": 1, "jobs": []}',
        '{"jobs": []}',
        '{"schema": 2}',
        '{"schema": 2, "jobs": null}',
        '{"schema": 2, "jobs": [3]}',
        '{"schema": 2, "jobs": ["a"]}',
        '{"schema": 2, "jobs": []}',
    ],
)
def test_a_damaged_plan_is_a_sentence_with_the_remedy(content: str, tmp_path: Path) -> None:
    folder = save(tmp_path, [])
    (folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="is damaged or of another version"):
        read_plan(folder)
    with pytest.raises(UserError) as error:
        watch(tmp_path, None, once=True)
    assert str(error.value).startswith(f"{folder}/sweep.json is damaged or of another version: remove {folder}, ")
    assert "\n" not in str(error.value)


def test_a_missing_plan_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}/sweep.json is damaged or of another version: "):
        read_plan(tmp_path)


ABSENT = object()


def put(content: dict[str, Any], key: str, value: Any) -> None:
    content[key] = value
    if value is ABSENT:
        del content[key]


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("jobs", ABSENT), ("jobs", None), ("jobs", 3), ("jobs", [3]), ("jobs", ["a"]), ("jobs", [[]]), ("jobs", [None]),
        ("created", ABSENT), ("created", None), ("created", "x"), ("created", []),
        ("command", ABSENT), ("command", None), ("command", 3), ("command", ["python"]),
        ("concurrency", ABSENT), ("concurrency", "x"), ("concurrency", 1.5), ("concurrency", [1]),
        ("concurrency", 10**12),
    ],
)  # fmt: skip
def test_a_plan_with_values_of_wrong_types_is_a_sentence(key: str, bad: Any, tmp_path: Path) -> None:
    assert_refused(tmp_path, lambda plan: put(plan, key, bad))


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *itertools.product(("run_id", "action", "reason"), (ABSENT, None, 1, ["a"])),
        *itertools.product(("action", "reason"), ("run", "resumed", "")),
        *itertools.product(("epoch",), (ABSENT, "x", 1.5, [1], 0, -1, 10**400)),
        *itertools.product(("epochs",), (ABSENT, None, "x", 1.5, [1], 0, 10**400)),
        *itertools.product(("seconds", "heartbeat"), (ABSENT, "x", [1.0], {}, math.inf, 10**400)),
        *itertools.product(("overrides", "changed"), (ABSENT, None, "a=1", [1], [{}], [None], {"a=1": 1})),
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_a_plan_with_a_job_of_wrong_types_is_a_sentence(index: int, key: str, bad: Any, tmp_path: Path) -> None:
    assert_refused(tmp_path, lambda plan: put(plan["jobs"][index], key, bad))


def assert_refused(output_dir: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Assert that a plan is readable, and refused after this change."""
    folder = save(output_dir, [job("a", "seed=1", seconds=1.5), job("b", "seed=2", seconds=2)], concurrency=None)
    plan = read_plan(folder)
    change(plan)
    write_json(folder / "sweep.json", plan)
    with pytest.raises(UserError, match="is damaged or of another version"):
        watch(output_dir, None, once=True)


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_an_estimate_that_is_no_number_stops_no_watch(seconds: float, tmp_path: Path) -> None:
    save(tmp_path, [job("a", seconds=seconds)])
    with suppress(UserError):  # or it is shown as unknown
        watch(tmp_path, None, once=True)


def test_duplicate_and_excluded_combinations_have_no_own_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actions = ("train", "resume", "skip", "duplicate", "excluded")
    reasons = ("new", "failed", "finished", "new", "new")
    jobs = [
        job("" if action == "excluded" else "a-run", f"seed={action}", action=action, reason=reason)
        for action, reason in zip(actions, reasons, strict=True)
    ]
    assert own_jobs({"jobs": jobs}) == jobs[:3]
    save(tmp_path, jobs)
    watch(tmp_path, "a-sweep", once=True)
    assert [line[0] for line in cells(capsys.readouterr().out)] == ["seed=train", "seed=resume", "seed=skip"]


def watched_live(output_dir: Path, monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> str:
    """The drawing of a watch in a terminal of 12 lines; `sleep` is called between two readings."""
    file = io.StringIO()
    terminal = Console(force_terminal=True, width=100, height=12, file=file, color_system=None)
    monkeypatch.setattr(module, "Console", lambda **_: terminal)
    monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(time, "sleep", sleep)
    watch(output_dir, None, once=False)
    return file.getvalue()


def test_in_a_terminal_the_table_is_redrawn_until_all_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, [job(f"run-{number:02}", f"seed={number}") for number in range(9)])
    states = iter([["running"] * 9, ["running", *["finished"] * 8], ["failed", "diverged", *["finished"] * 7]])

    def train(_: float) -> None:
        for number, state in enumerate(next(states)):
            make(tmp_path, f"run-{number:02}", state)

    drawn = watched_live(tmp_path, monkeypatch, train)
    lines = re.sub(r"\x1b\[[0-9?;]*\w|\r", "\n", drawn).splitlines()
    assert list(dict.fromkeys(line.rstrip() for line in lines if line.startswith("9 runs: "))) == [
        "9 runs: 9 waiting; nothing is running; to resume: python train.py -m seed=1,2",
        "9 runs: 9 running",
        "9 runs: 1 running, 8 finished",
        "9 runs: 1 failed, 1 diverged, 7 finished",
    ]
    assert "and 5 more: 5 finished" in drawn
    frames = re.split(r"sweep a-sweep", drawn)[1:]
    assert {len(cells(frame)) for frame in frames} == {4}  # 12 lines, less 7 around them and the cursor's
    assert next(states, None) is None


def test_a_sweep_that_has_ended_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job("a")])
    make(tmp_path, "a", "failed")

    def fail(_: float) -> None:
        pytest.fail("it waits for ended runs")

    assert "1 run: 1 failed" in watched_live(tmp_path, monkeypatch, fail)


def test_a_sweep_that_is_removed_ends_the_watching_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path, [job("a")])
    with pytest.raises(UserError, match="is damaged or of another version"):
        watched_live(tmp_path, monkeypatch, lambda _: shutil.rmtree(folder))


def test_runs_that_a_new_plan_adds_are_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path, [job("a")])

    def plan_again(_: float) -> None:
        shutil.rmtree(folder)
        save(tmp_path, [job("a"), job("b")])
        make(tmp_path, "a", "finished")
        make(tmp_path, "b", "failed")

    assert "2 runs: 1 failed, 1 finished" in watched_live(tmp_path, monkeypatch, plan_again)


@pytest.mark.parametrize("forced", [False, True])
def test_outside_of_a_terminal_the_table_is_printed_once(
    forced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, [job("a")])
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    watch(tmp_path, None, once=False)
    assert capsys.readouterr().out.count("1 run: 1 waiting") == 1


def test_a_long_command_stays_on_its_line_and_a_long_name_in_its_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, name = (
        f"python train.py -m {' '.join(f'model.hidden={[units] * 9}' for units in range(20))}",
        "seed=" + "1" * 600,
    )
    save(tmp_path, [job("a", name)], command=command)
    watch(tmp_path, None, once=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"1 run: 1 waiting; nothing is running; to resume: {command}"
    assert max(map(len, lines[:-1])) == module.WIDE
    rows = cells("\n".join(lines))
    assert "".join(row[0] for row in rows) == name
    assert rows[0][1:] == ["waiting", "0/10", "-", "-", "-"]


def test_ctrl_c_ends_the_watching_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job("a")])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert "1 run: 1 waiting" in watched_live(tmp_path, monkeypatch, interrupt)


def sweeper_command(*arguments: str, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "sweeper", *arguments],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_a_sweep_once_and_without_torch(tmp_path: Path) -> None:
    make(tmp_path, "a", "running", [row(0.5, 2.0)])
    make(tmp_path, "foreign", "running")
    name = f"{'long' * 20}[red]"
    save(tmp_path, [job("a", "seed=1"), job("b", f"seed={name}", seconds=9.0)])
    done = sweeper_command("watch", "--once", "--output-dir", str(tmp_path), flags=("-X", "importtime"))
    assert done.returncode == 0
    assert cells(done.stdout) == [
        ["seed=1", "running", "1/10", "0.5000", "100", "0:00:18"],
        [f"seed={name}", "waiting", "0/10", "-", "-", "0:00:09"],
    ]
    assert done.stdout.splitlines()[0].rstrip() == "sweep a-sweep"
    assert done.stdout.splitlines()[-1].rstrip() == "2 runs: 1 running, 1 waiting; about 27 s left"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sweeper.sweep.watch" in imported
    assert not {name.partition(".")[0] for name in imported} & {"torch", "pandas", "hydra", "omegaconf", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("watch", "--once", "zz"), "sweep zz not found in {}/sweeps; choose from a-sweep, damaged"),
        (("watch", "damaged"), "{}/sweeps/damaged/sweep.json is damaged"),
        (("summary", "zz"), "sweep zz not found in {}/sweeps; choose from a-sweep, damaged"),
        (("summary", "damaged"), "{}/sweeps/damaged/sweep.json is damaged"),
    ],
)
def test_a_wrong_sweep_is_one_sentence(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    save(tmp_path, [job("a")])
    (save(tmp_path, [], "damaged") / "sweep.json").write_text("{")
    done = sweeper_command(*arguments, "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence.format(tmp_path)}")
    assert done.stderr.count("\n") == 1


def test_the_summary_of_a_sweep_has_its_runs_alone(tmp_path: Path) -> None:
    for name in ("mine", "equal", "left-out", "foreign"):
        make(tmp_path, name, "finished", [row(0.5)])
    (tmp_path / "runs/unreadable").mkdir()
    jobs = [
        job("mine", action="skip", reason="finished"),
        job("late"),
        job("equal", action="duplicate"),
        job("", action="excluded"),
    ]
    save(tmp_path, jobs)
    done = sweeper_command("summary", "a-sweep", "--output-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    assert "1 run: 1 finished" in done.stdout
    assert not any(name in done.stdout for name in ("equal", "left-out", "foreign", "unreadable", "late"))
    done = sweeper_command("summary", "a-sweep", "--format", "csv", "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout.count("\n")) == (0, 2)
    assert not (tmp_path / "summary.csv").exists()  # which has all runs

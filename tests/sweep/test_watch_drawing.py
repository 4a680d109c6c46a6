"""The drawing of `watch`: cells, counts, and terminals of every size."""

from pathlib import Path
from typing import Any

import pytest
from watching import PLAN, cells, change_status, collected, fitted, job, make, row, save, shown, status_of, watched_live

from sweeper.display import format_clock
from sweeper.runs.states import STATES, State
from sweeper.sweep import watch as module
from sweeper.sweep.statuses import RunStatus
from sweeper.sweep.watch_table import format_progress


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ["running", "0/10", "-", "-", "-"]),
        ({"seconds": 3661.4}, ["running", "0/10", "-", "-", "1:01:01"]),
        (
            {"epoch": 3, "best_val": 2 / 3, "images_per_second": 12345.6, "seconds": 9.0},
            ["running", "3/10", "0.6667", "12,346", "0:00:09"],
        ),
        ({"best_val": 0.0, "seconds": 0.0}, ["running", "0/10", "0.0000", "-", "0:00:00"]),
        ({"images_per_second": 0.2}, ["running", "0/10", "-", "0", "-"]),
    ],
)
def test_a_row_shows_the_known_values(more: dict[str, Any], expected: list[str]) -> None:
    assert cells(shown([status_of("running", "a", **more)])) == [["a", *expected]]


@pytest.mark.parametrize(
    ("concurrency", "ends"),
    [
        (1, ["0:00:30", "0:02:30", "0:01:30", "-"]),  # the longest first
        (2, ["0:00:30", "0:01:30", "0:01:00", "-"]),
        (3, ["0:00:30", "0:01:00", "0:01:00", "-"]),
        (None, ["0:00:30", "0:02:30", "0:01:30", "-"]),
    ],
)
def test_a_waiting_run_ends_after_those_before_it(concurrency: int | None, ends: list[str]) -> None:
    statuses = [status_of("running", "a", seconds=30.0), status_of("waiting", "b", seconds=60.0)]
    statuses += [status_of("waiting", "c", seconds=60.5), status_of("finished", "d")]
    found = [row[-1] for row in cells(shown(statuses, concurrency=concurrency))]
    assert sorted(found) == sorted(ends)


def test_where_nothing_runs_nothing_ends() -> None:
    assert cells(shown([status_of("waiting", "a", seconds=60.0)]))[0][-1] == "-"


@pytest.mark.parametrize("state", ["finished", "failed", "diverged"])
def test_an_ended_run_has_no_eta(state: str) -> None:
    assert cells(shown([status_of(state, "a", seconds=0.0)]))[0][-1] == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (0.6, "0:00:01"), (59.6, "0:01:00"), (3599.7, "1:00:00"), (360_000, "100:00:00")],
)
def test_format_clock(seconds: float, text: str) -> None:
    assert format_clock(seconds) == text


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[bold", ":smile:", "a│b", "[link=file:///x]y[/link]", "1/2"])
def test_texts_are_shown_verbatim(text: str, tmp_path: Path) -> None:
    jobs = [job("a", f"data.root={text}", "seed=1"), job(text, "data.root=x", "seed=1")]
    printed = shown(collected(tmp_path, jobs))
    assert f"data.root={text}" in printed
    lines = [line.rstrip() for line in shown([status_of("waiting", seconds=1.0)], name=text, command=text).splitlines()]
    assert lines[0] == f"sweep {text}: 0 of 1 ended"
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
    assert cells(shown([status])) == [["a", state.value, "0/10", "-", "-", "0:00:09" if state == "running" else "-"]]
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
def test_a_short_terminal_shows_the_first_runs_and_counts_the_rest(height: int, names: str) -> None:
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
    assert names == "".join(status.run_id for status in LONG[: names.count("x") // 148])
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


@pytest.mark.parametrize(
    ("width", "headers"),
    [
        (60, ["state", "epoch", "best val acc"]),
        (80, ["state", "epoch", "best val acc", "ETA"]),
        (100, ["state", "epoch", "best val acc", "images/s", "ETA"]),
    ],
)
def test_a_narrow_terminal_leaves_columns_out_and_wraps_the_names(width: int, headers: list[str]) -> None:
    name = "model=mlp_deep optimizer=momentum scheduler=cosine activation=leaky_relu norm=batch dropout.rate=0.25"
    text = shown(
        [status_of("running", name, epoch=3, best_val=0.5, images_per_second=1234.0, seconds=9.0)], width=width
    )
    assert max(map(len, text.splitlines())) <= width
    first, *others = cells(text)
    numbers = ["running", "3/10", "0.5000", "1,234", "0:00:09"]
    kept = dict(zip(["state", "epoch", "best val acc", "images/s", "ETA"], numbers, strict=True))
    assert first[1:] == [kept[header] for header in headers]
    assert others
    assert not any(cell for row in others for cell in row[1:])
    assert "".join(row[0] for row in (first, *others)).replace(" ", "") == name.replace(" ", "")
    header = next(line for line in text.splitlines() if "state" in line)
    assert [cell.strip() for cell in header.split("┃")[2:-1]] == headers


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
        ([*LEFT[1:], status_of("running", seconds=3.0)], {}, "3 runs: 2 running, 1 waiting; about 63 s left"),
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

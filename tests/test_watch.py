"""Watching a sweep: every state in its place, what is left, and nothing in a file that stops or fools it."""

import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, environment
from rich.console import Console

from sweeper.errors import UserError
from sweeper.record import Record, write_json
from sweeper.sweep import watch as module
from sweeper.sweep.saved import find_sweep, own_jobs, read_plan
from sweeper.sweep.watch import Watched, clock, draw, look, progress_of, watch


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run in, a file is no terminal."""
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


def make(output_dir: Path, run_id: str, state: str, rows: Sequence[dict[str, Any]] = ()) -> Record:
    """A run's directory as a run leaves it, readable as a whole."""
    record = Record(output_dir / "runs" / run_id)
    record.create({"effective": {"model": {"name": run_id}}, "config": {}}, {})
    record.write_metrics(list(rows))
    record.write_status(state="running" if state == "lost" else state)
    if state == "lost":
        write_json(record.folder / "status.json", (record.status() or {}) | {"heartbeat": 1e9})
    return record


def job(run_id: str, *overrides: str, **more: Any) -> dict[str, Any]:
    return {"overrides": list(overrides), "run_id": run_id, "fate": "run", "detail": "new", "epochs": 10} | more


def save(output_dir: Path, jobs: Sequence[dict[str, Any]], name: str = "a-sweep", **more: Any) -> Path:
    """The sweep's folder."""
    folder = output_dir / "sweeps" / name
    folder.mkdir(parents=True)
    content = {"name": name, "created": 1.0, "command": "python train.py -m seed=1,2", "concurrency": 1, "jobs": jobs}
    write_json(folder / "sweep.json", content | more)
    return folder


def shown(
    watched: Sequence[Watched], *, name: str = "a-sweep", height: int | None = None, width: int = 200, **plan: Any
) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(draw(name, plan, watched, height))
    return file.getvalue()


def one(state: str, run_id: str = "", **more: Any) -> Watched:
    fields = {"epoch": 0, "epochs": 10, "best_val_acc": None, "images_per_second": None, "seconds": None}
    return Watched(run_id, run_id, state, **{**fields, **more})


def cells(text: str) -> list[list[str]]:
    """The table's rows."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_every_state_has_its_place_and_its_numbers(tmp_path: Path) -> None:
    rows = [row(0.5, 2.0, 10), row(0.75, 4.0, 20), row(0.625, 9.0, 30)]
    for name, state in (("h", "strange"), ("g", "finished"), ("f", "interrupted"), ("d", "failed"), ("e", "diverged")):
        make(tmp_path, name, state, rows)
    for name, state in (("c", "lost"), ("b", "running"), ("a", "running")):
        make(tmp_path, name, state, rows[:2])
    jobs = [job(name, f"model={name}", seconds=60.0) for name in "ihgfedcba"]
    assert look(save(tmp_path, jobs), jobs) == [
        Watched("model=a", "a", "running", 2, 10, 0.75, 20, 8 * 3.0),
        Watched("model=b", "b", "running", 2, 10, 0.75, 20, 8 * 3.0),
        Watched("model=c", "c", "lost", 2, 10, 0.75, 20, 8 * 3.0),
        Watched("model=h", "h", "strange", 3, 10, 0.75, 30, 7 * 4.0),
        Watched("model=d", "d", "failed", 3, 10, 0.75, 30, 0.0),
        Watched("model=e", "e", "diverged", 3, 10, 0.75, 30, 0.0),
        Watched("model=f", "f", "interrupted", 3, 10, 0.75, 30, 7 * 4.0),
        Watched("model=i", "i", "waiting", 0, 10, None, None, 60.0),
        Watched("model=g", "g", "finished", 3, 3, 0.75, 30, 0.0),  # early stopping
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
def test_a_run_is_named_by_what_tells_it_apart(
    overrides: list[tuple[str, ...]], swept: list[str], tmp_path: Path
) -> None:
    jobs = [job(f"run-{number}", *texts) for number, texts in enumerate(overrides)]
    assert [found.swept for found in look(save(tmp_path, jobs), jobs)] == swept


def test_a_run_without_swept_values_is_named_by_its_id() -> None:
    assert cells(shown([Watched("", "the-id", "waiting", 0, 1, None, None, None)]))[0][0] == "the-id"


@pytest.mark.parametrize(
    ("rows", "more", "seconds"),
    [
        ([], {}, None),
        ([], {"seconds": None}, None),
        ([], {"seconds": 7.5}, 7.5),
        ([row(0.5, 2.0)], {"seconds": 7.5}, 18.0),
        ([row(0.5, 30.0), *[row(0.5, 2.0)] * 4], {}, 10.0),  # the first epoch was slow
        ([row(0.5, 2.0)] * 10, {}, 0.0),
        ([{"val_acc": 0.5}], {"seconds": 7.5}, 7.5),
    ],
)
def test_what_is_left(rows: list[dict[str, Any]], more: dict[str, Any], seconds: float | None, tmp_path: Path) -> None:
    make(tmp_path, "a", "running", rows)
    (found,) = look(save(tmp_path, []), [job("a", **more)])
    assert found.seconds == seconds


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
    (found,) = look(save(tmp_path, []), [job("a")])
    assert (found.epoch, found.best_val_acc) == (epoch, 0.5 if epoch == 1 else 0.9)


@pytest.mark.parametrize(
    ("content", "state"),
    [("", "waiting"), ('{"schema": 1, "sta', "waiting"), ('{"schema": 2, "state": "finished"}', "waiting"),
     ('{"schema": 1}', "waiting"), ('{"schema": 1, "state": 3}', "3")],
)  # fmt: skip
def test_an_unreadable_status_is_none(content: str, state: str, tmp_path: Path) -> None:
    (make(tmp_path, "a", "finished").folder / "status.json").write_text(content)
    (found,) = look(save(tmp_path, []), [job("a")])
    assert found.state == state


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *itertools.product(("val_acc", "train_seconds", "images_per_second"), ("x", {}, 10**400)),
        *itertools.product(("val_acc", "train_seconds"), (None,)),
        ("train_seconds", math.inf),
    ],
    ids=lambda value: str(value)[:17],
)
@pytest.mark.xfail(strict=True, reason="a value of a kind that we never write stops the watch of all runs")
def test_no_content_of_a_runs_file_stops_the_watch_of_the_others(
    key: str, bad: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "bad", "running", [row(0.5), row(0.5) | {key: bad}])
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
def test_a_row_shows_what_is_known(more: dict[str, Any], expected: list[str]) -> None:
    assert cells(shown([one("waiting", "a", **more)])) == [["a", *expected]]


@pytest.mark.parametrize("state", ["finished", "failed", "diverged"])
def test_what_has_ended_has_no_eta(state: str) -> None:
    assert cells(shown([one(state, "a", seconds=0.0)]))[0][-1] == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (0.6, "0:00:01"), (59.6, "0:01:00"), (3599.7, "1:00:00"), (360_000, "100:00:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[bold", ":smile:", "a│b", "[link=file:///x]y[/link]", "1/2"])
def test_texts_are_shown_as_they_are(text: str, tmp_path: Path) -> None:
    jobs = [job("a", f"data.root={text}", "seed=1"), job(text, "data.root=x", "seed=1")]
    make(tmp_path, "a", text)
    printed = shown(look(save(tmp_path, jobs), jobs))
    assert f"data.root={text}" in printed
    assert f" {text} " in printed
    assert f"1 {text}, 1 waiting" in printed
    lines = [line.rstrip() for line in shown([one("waiting", seconds=1.0)], name=text, command=text).splitlines()]
    assert lines[0] == f"sweep {text}"
    assert lines[-1] == f"1 runs: 1 waiting; nothing runs; to go on: {text}"


def test_a_newline_in_an_override_stays_in_its_cell() -> None:
    text = shown([one("waiting", "data.root=x\ny"), one("finished", "seed=2")])
    assert [line[:2] for line in cells(text)] == [["data.root=x", "waiting"], ["y", ""], ["seed=2", "finished"]]


WATCHED = [
    one("running", "a"), one("lost", "b"), one("failed", "c"), one("interrupted", "d"), one("waiting", "e"),
    one("waiting", "f"), one("finished", "g"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "names", "line"),
    [
        (None, "abcdefg", None),
        (7, "abcdefg", None),
        (100, "abcdefg", None),
        (6, "abcdef", "and 1 more: 1 finished"),
        (3, "abc", "and 4 more: 1 interrupted, 2 waiting, 1 finished"),
        (1, "a", "and 6 more: 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished"),
        (0, "a", "and 6 more: 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished"),
        (-6, "a", "and 6 more: 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished"),
    ],
)
def test_a_low_terminal_shows_what_needs_a_look_and_counts_the_rest(
    height: int | None, names: str, line: str | None
) -> None:
    text = shown(WATCHED, height=height)
    assert [cell[0] for cell in cells(text)] == list(names)
    assert text.count(" more: ") == (line is not None)
    assert line is None or line in text.splitlines()
    assert "7 runs: 1 running, 1 lost, 1 failed, 1 interrupted, 2 waiting, 1 finished" in text
    assert len(text.splitlines()) == len(names) + module.LINES_AROUND - (line is None)


@pytest.mark.xfail(strict=True, reason="a long name leaves the other columns no width")
@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_shortens_the_names_and_not_the_numbers(width: int) -> None:
    name = "model=mlp_deep optimizer=momentum scheduler=cosine activation=leaky_relu norm=batch dropout.rate=0.25"
    text = shown([one("running", name, epoch=3, best_val_acc=0.5, images_per_second=1234.0, seconds=9.0)], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert cells(text)[0][1:] == ["running", "3/10", "0.5000", "1,234", "0:00:09"]
    assert cells(text)[0][0].startswith("model=mlp")


LEFT = [one("waiting", seconds=60.0), one("waiting", seconds=60.0), one("running", seconds=30.0)]


@pytest.mark.parametrize(
    ("watched", "plan", "line"),
    [
        ([], {}, "0 runs: "),
        ([one("finished", seconds=0.0)], {}, "1 runs: 1 finished"),
        ([one("failed", seconds=0.0), one("finished")], {"command": "c"}, "2 runs: 1 failed, 1 finished"),
        ([one("running")], {}, "1 runs: 1 running"),
        (LEFT, {}, "3 runs: 1 running, 2 waiting; about 2 min left"),  # 150 s, one after the other
        (LEFT, {"concurrency": None}, "3 runs: 1 running, 2 waiting; about 2 min left"),
        (LEFT, {"concurrency": 3}, "3 runs: 1 running, 2 waiting; about 60 s left"),
        ([*LEFT, one("running", seconds=30.0)], {}, "4 runs: 2 running, 2 waiting; about 2 min left"),  # 90 s
        ([*LEFT[1:], one("running", seconds=3.0)], {}, "3 runs: 2 running, 1 waiting; about 60 s left"),
        ([*LEFT, one("finished", seconds=9e9)], {}, "4 runs: 1 running, 2 waiting, 1 finished; about 2 min left"),
        (LEFT[:2], {"command": "python x"}, "2 runs: 2 waiting; nothing runs; to go on: python x"),
        ([one("lost", seconds=1.0)], {"command": "c"}, "1 runs: 1 lost; nothing runs; to go on: c"),
        ([one("interrupted", seconds=1.0)], {"command": "c"}, "1 runs: 1 interrupted; nothing runs; to go on: c"),
    ],
)
def test_progress_of(watched: list[Watched], plan: dict[str, Any], line: str) -> None:
    assert progress_of(plan, watched) == line
    assert line.strip() in shown(watched, **plan)


def test_the_sweep_that_was_started_last_is_found(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "c", "a")):
        os.utime(save(tmp_path, [], name) / "sweep.json", (number, number))
    (tmp_path / "sweeps/empty").mkdir()
    (tmp_path / "sweeps/sweep.json").touch()
    assert find_sweep(tmp_path, None).name == "a"
    os.utime(tmp_path / "sweeps/c/sweep.json", (9, 9))
    assert find_sweep(tmp_path, None) == tmp_path / "sweeps/c"
    assert find_sweep(tmp_path, "b") == tmp_path / "sweeps/b"
    with pytest.raises(UserError, match=f"^there is no sweep empty in {tmp_path}/sweeps; there is a, b, c$"):
        find_sweep(tmp_path, "empty")


@pytest.mark.parametrize("name", [None, "a"])
def test_no_sweep_is_a_sentence(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^there is no sweep in {tmp_path}/sweeps; start one: "):
        find_sweep(tmp_path, name)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"schema": 1, "jobs": [',
        "[]",
        '{"schema": 2, "jobs": []}',
        '{"jobs": []}',
        '{"schema": 1}',
        '{"schema": 1, "jobs": null}',
        '{"schema": 1, "jobs": [3]}',
        '{"schema": 1, "jobs": ["a"]}',
        '{"schema": 1, "jobs": [{"run_id": "a", "fate": "run"}]}',
        '{"schema": 1, "jobs": [{"run_id": "a", "overrides": []}]}',
        '{"schema": 1, "jobs": [{"fate": "run", "overrides": []}]}',
        '{"schema": 1, "jobs": [{"run_id": null, "fate": "run", "overrides": []}]}',
        '{"schema": 1, "jobs": [{"run_id": "a", "fate": 1, "overrides": []}]}',
        '{"schema": 1, "jobs": [{"run_id": "a", "fate": "run", "overrides": "a=1"}]}',
    ],
)
def test_a_damaged_plan_is_a_sentence_that_says_what_to_do(content: str, tmp_path: Path) -> None:
    folder = save(tmp_path, [])
    (folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="is damaged or of another version"):
        read_plan(folder)
    with pytest.raises(UserError) as error:
        watch(tmp_path, None, once=True)
    assert str(error.value).startswith(f"{folder}/sweep.json is damaged or of another version: remove {folder}, ")
    assert "\n" not in str(error.value)


def test_a_plan_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [{"epochs": "x"}, {"epochs": [1]}, {"seconds": "x"}, {"overrides": [1]}, {"overrides": [{}]}],
    ids=str,
)
@pytest.mark.xfail(strict=True, raises=(TypeError, ValueError), reason="only some keys of a plan are checked")
def test_a_plan_with_values_of_other_kinds_is_a_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path, [job("a", "seed=1") | change, job("b", "seed=2")])
    with pytest.raises(UserError, match="is damaged or of another version"):
        watch(tmp_path, None, once=True)


def test_equal_and_excluded_combinations_are_no_runs_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fates = ("run", "finished", "diverged", "equal", "excluded")
    jobs = [job("" if fate == "excluded" else "a-run", f"seed={fate}", fate=fate) for fate in fates]
    assert own_jobs({"jobs": jobs}) == jobs[:3]
    save(tmp_path, jobs)
    watch(tmp_path, "a-sweep", once=True)
    assert [line[0] for line in cells(capsys.readouterr().out)] == ["seed=run", "seed=finished", "seed=diverged"]


def watched_live(output_dir: Path, monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> str:
    """What watching in a terminal of 12 lines draws, `sleep` called between two looks."""
    file = io.StringIO()
    terminal = Console(force_terminal=True, width=100, height=12, file=file, color_system=None)
    monkeypatch.setattr(module, "Console", lambda **_: terminal)
    monkeypatch.setattr(time, "sleep", sleep)
    watch(output_dir, None, once=False)
    return file.getvalue()


def test_in_a_terminal_it_is_drawn_again_until_all_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job(f"run-{number:02}", f"seed={number}") for number in range(9)])
    states = iter([["running"] * 9, ["running", *["finished"] * 8], ["failed", "diverged", *["finished"] * 7]])

    def train(_: float) -> None:
        for number, state in enumerate(next(states)):
            make(tmp_path, f"run-{number:02}", state)

    drawn = watched_live(tmp_path, monkeypatch, train)
    lines = re.sub(r"\x1b\[[0-9?;]*\w|\r", "\n", drawn).splitlines()
    assert list(dict.fromkeys(line.rstrip() for line in lines if line.startswith("9 runs: "))) == [
        "9 runs: 9 waiting",
        "9 runs: 9 running",
        "9 runs: 1 running, 8 finished",
        "9 runs: 1 failed, 1 diverged, 7 finished",
    ]
    assert "and 4 more: 4 finished" in drawn
    assert next(states, None) is None


def test_a_sweep_that_has_ended_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job("a")])
    make(tmp_path, "a", "failed")

    def fail(_: float) -> None:
        pytest.fail("it waits for what has ended")

    assert "1 runs: 1 failed" in watched_live(tmp_path, monkeypatch, fail)


def test_where_the_output_is_no_terminal_it_is_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, [job("a")])
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    watch(tmp_path, None, once=False)
    assert capsys.readouterr().out.count("1 runs: 1 waiting") == 1


def test_ctrl_c_ends_the_watching_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job("a")])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert "1 runs: 1 waiting" in watched_live(tmp_path, monkeypatch, interrupt)


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
        (("watch", "--once", "zz"), "there is no sweep zz in {}/sweeps; there is a-sweep, damaged"),
        (("watch", "damaged"), "{}/sweeps/damaged/sweep.json is damaged"),
        (("summary", "zz"), "there is no sweep zz in {}/sweeps; there is a-sweep, damaged"),
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
    fates = {"mine": "finished", "late": "run", "equal": "equal"}
    save(tmp_path, [*(job(name, fate=fate) for name, fate in fates.items()), job("", fate="excluded")])
    done = sweeper_command("summary", "a-sweep", "--output-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    assert "1 run: 1 finished" in done.stdout
    assert not any(name in done.stdout for name in ("equal", "left-out", "foreign", "unreadable", "late"))
    assert (tmp_path / "summary.csv").read_text().count("\n") == 2

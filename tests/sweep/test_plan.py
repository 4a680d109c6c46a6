"""The plan of a sweep: what it says of every combination, how long it takes, and which runs it will start."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import composed

from sweeper.config import Config
from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.directory import RunDirectory
from sweeper.runs.run import is_stale, set_aside
from sweeper.summary.terminal import print_runs
from sweeper.sweep import estimate, plan
from sweeper.sweep.estimate import PER_RUN
from sweeper.sweep.execute import conclude
from sweeper.sweep.plan import Planned, describe, idle_axes, look_up, make_plan, save_plan
from sweeper.sweep.saved import own_jobs, read_plan

CODE = {"loop.py": "1", "data.py": "2"}
PARAMETERS = 3 * (3 * 16 * 16 + 1)  # of softmax on the small images


def planned(text: str, fate: str = "run", detail: str = "new", seconds: float | None = None) -> Planned:
    """A combination whose overrides are the words of a text."""
    return Planned(text.split(), Config(), f"id of {text}", fate, detail, seconds)


def runs(**ids: str) -> list[Planned]:
    """Combinations of `a` and `b` by their values, each with its run."""
    return [Planned([f"a={key[0]}", f"b={key[1]}", "c=0"], Config(), run, "run", "new") for key, run in ids.items()]


@pytest.mark.parametrize(
    ("combinations", "idle"),
    [
        (runs(xp="1", xq="2", yp="3", yq="4"), []),
        (runs(xp="1", xq="1", yp="2", yq="2"), ["b"]),
        (runs(xp="1", xq="2", yp="1", yq="2"), ["a"]),
        (runs(xp="1", xq="1", yp="1", yq="1"), ["a", "b"]),
        (runs(xp="1", xq="1", yp="2", yq="3"), []),  # it changes something with one value of the other
        (runs(xp="1", yq="1"), []),  # zipped: no two differ in one key alone
        (runs(xp="1", xq="1", yp="2"), ["b"]),
        (runs(xp="1", xq="1", yp="", yq=""), ["b"]),  # excluded ones say nothing
        (runs(xp="1", xq="", yp="2", yq=""), []),
        (runs(xp="", xq=""), []),
        (runs(xp="1"), []),
    ],
)
def test_an_axis_is_idle_when_it_tells_no_two_runs_apart(combinations: list[Planned], idle: list[str]) -> None:
    assert list(idle_axes(combinations, ["a", "b"])) == idle
    assert list(idle_axes(combinations[::-1], ["a", "b"])) == idle


def test_an_axis_is_not_taken_for_another_whose_name_begins_alike() -> None:
    overrides = [["a=1", "a.b=1"], ["a=1", "a.b=2"], ["a=2", "a.b=1"], ["a=2", "a.b=2"]]
    combinations = [Planned(one, Config(), one[1], "run") for one in overrides]
    assert list(idle_axes(combinations, ["a", "a.b"])) == ["a"]


NEW = [planned("seed=1 epochs=2"), planned("seed=2 epochs=2")]


@pytest.mark.parametrize(
    ("combinations", "text"),
    [
        (NEW[:1], "1 combination: 1 to run"),
        (NEW, "2 combinations: 2 to run"),
        (
            [*NEW, planned("seed=3 epochs=2", "finished", "")],
            "  seed=3: finished\n3 combinations: 2 to run, 1 finished",
        ),
        (
            [planned("seed=3 epochs=2", "diverged", ""), planned("seed=4 epochs=2", "finished", "")],
            "  seed=4: finished\n  seed=3: diverged\n2 combinations: 1 finished, 1 diverged before",
        ),
        ([planned("seed=3 epochs=2", "finished", "")], "  the run: finished\n1 combination: 1 finished"),
        (
            [planned("seed=1", "excluded", "seed=1"), planned("seed=2", "equal", "to x"), *NEW],
            "  seed=2: equal (to x)\n  seed=1: excluded (seed=1)\n"
            "4 combinations: 2 to run, 1 equal to another, 1 excluded",
        ),
        (
            [planned("a=1", detail="interrupted, from epoch 3"), planned("a=2"), planned("a=3", detail="damaged"),
             planned("a=4", detail="interrupted, from epoch 5"), planned("a=5", detail="stale, since loop.py changed")],
            "  a=1: run (interrupted, from epoch 3)\n  a=3: run (damaged)\n  a=4: run (interrupted, from epoch 5)\n"
            "  a=5: run (stale, since loop.py changed)\n"
            "5 combinations: 5 to run (2 interrupted, 1 new, 1 damaged, 1 stale)",
        ),
        (
            [planned("a=1", detail="finished before, but sweep.reuse=none"), planned("a=2", "finished", "")],
            "  a=1: run (finished before, but sweep.reuse=none)\n  a=2: finished\n"
            "2 combinations: 1 to run (1 finished before), 1 finished",
        ),
    ],
)  # fmt: skip
def test_a_plan_lists_what_is_not_new_and_counts_all(combinations: list[Planned], text: str) -> None:
    assert describe(combinations, [], 1) == text


def test_a_plan_names_idle_axes_before_the_counts() -> None:
    text = describe(runs(xp="1", xq="1", yp="2", yq="2"), ["a", "b"], None)
    assert text.splitlines()[-2:] == [
        "b changes nothing here: its values are the same runs",
        "4 combinations: 4 to run",
    ]


@pytest.mark.parametrize(("number", "listed", "more"), [(20, 20, 0), (21, 20, 1), (500, 20, 480)])
@pytest.mark.parametrize(
    ("fate", "detail", "heading"),
    [("finished", "", "finished"), ("equal", "to x", "equal"), ("run", "failed, from epoch 1", "run")],
)
def test_a_plan_lists_so_many_of_each_fate(
    fate: str, detail: str, heading: str, number: int, listed: int, more: int
) -> None:
    others = [planned(f"other={one}", "excluded", "x") for one in range(3)]
    many = [planned(f"a={one}", fate, detail) for one in range(number)]
    lines = describe([*many, *others, planned("new=1")], [], 1).splitlines()
    assert [line for line in lines if line.startswith("  a=")] == [
        f"  a={one}: {heading}{f' ({detail})' if detail else ''}" for one in range(listed)
    ]
    assert [line for line in lines if " more: " in line] == ([f"  and {more} more: {heading}"] if more else [])
    assert sum(line.startswith("  other=") for line in lines) == 3
    assert lines[-1].startswith(f"{number + 4} combinations: ")


@pytest.mark.parametrize(
    ("seconds", "concurrency", "text"),
    [
        ([40.0, 30.0, 20.0], 1, "3 to run; about 2 min"),
        ([40.0, 30.0, 20.0], 2, "3 to run; about 50 s, 2 at a time"),
        ([40.0, 30.0, 20.0], 9, "3 to run; about 40 s, 9 at a time"),
        ([40.0, 30.0, 20.0], None, "3 to run; about 2 min of training in all"),
        ([40.0, None, 20.0], 1, "3 to run; about 60 s and 1 of unknown length"),
        ([40.0, None, None], 2, "3 to run; about 40 s, 2 at a time and 2 of unknown length"),
        ([None, None, 7.0], None, "3 to run; about 7 s of training in all and 2 of unknown length"),
        ([None, None, None], 2, "3 to run"),
    ],
)
def test_the_time_that_a_plan_takes(seconds: Sequence[float | None], concurrency: int | None, text: str) -> None:
    to_run = [planned(f"seed={number}", seconds=one) for number, one in enumerate(seconds)]
    done = [planned("seed=8", "finished", ""), planned("seed=9", "equal", "to x", 1e9)]
    assert describe(to_run, [], concurrency) == f"3 combinations: {text}"
    expected = f"5 combinations: {text.replace('3 to run', '3 to run, 1 finished, 1 equal to another')}"
    assert describe([*to_run, *done], [], concurrency).splitlines()[-1] == expected


def make(folder: Path, state: str, code: dict[str, str] | None) -> RunDirectory:
    """What a run leaves in its third epoch, or at its end."""
    record = RunDirectory(folder / "runs" / "a-run")
    record.create({"effective": {}, "config": {}} | ({} if code is None else {"code": code}), {})
    record.write_status(state="running" if state == "lost" else state, epoch=3)
    if state == "lost":
        write_json(record.folder / "status.json", (record.status() or {}) | {"heartbeat": 1e9})
    if state == "finished":
        record.write_result({"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5})
    return record


STALE = ("run", "stale, since loop.py changed")


@pytest.mark.parametrize(
    ("state", "changed", "expected"),
    [
        ("finished", False, [("finished", ""), ("finished", ""), ("run", "finished before, but sweep.reuse=none")]),
        ("finished", True, [STALE, ("finished", ""), STALE]),
        ("diverged", False, [("diverged", ""), ("diverged", ""), ("run", "diverged before, but sweep.reuse=none")]),
        ("diverged", True, [STALE, ("diverged", ""), STALE]),
        *(
            (state, changed, [STALE if changed else goes_on, goes_on, STALE if changed else goes_on])
            for state in ("running", "lost", "failed", "interrupted")
            for goes_on in [("run", f"{state}, from epoch 3")]
            for changed in (False, True)
        ),
    ],
)
@pytest.mark.parametrize(("place", "reuse"), [(0, "same_code"), (1, "any"), (2, "none")])
def test_the_fate_of_a_run_follows_from_its_state_its_code_and_what_is_asked(
    state: str, changed: bool, expected: list[tuple[str, str]], place: int, reuse: str, tmp_path: Path
) -> None:
    record = make(tmp_path, state, CODE | {"loop.py": "0"} if changed else CODE)
    fate, detail = look_up(record, CODE, reuse)
    assert (fate, detail) == expected[place]
    assert is_stale(record, CODE, reuse) == (detail.startswith("stale") or "before, but" in detail)


@pytest.mark.parametrize("reuse", ["same_code", "any", "none"])
def test_a_run_that_never_started_is_new(reuse: str, tmp_path: Path) -> None:
    assert look_up(RunDirectory(tmp_path / "runs/nothing"), CODE, reuse) == ("run", "new")
    (make(tmp_path, "finished", CODE).folder / "status.json").write_text('{"schema": 1, "sta')
    assert look_up(RunDirectory(tmp_path / "runs/a-run"), CODE, reuse) == ("run", "new")


STRIPPED = '{"schema": 1}'
FOREIGN = '{"schema": 2, "effective": 1, "config": 1, "test_acc": 1}'


@pytest.mark.parametrize(
    ("file", "content", "detail"),
    [
        *((file, content, "damaged") for file in ("run.json", "result.json") for content in ("", FOREIGN)),
        ("result.json", STRIPPED, "damaged"),
        ("run.json", json.dumps({"schema": 1, "code": CODE}), "damaged"),
        ("run.json", STRIPPED, "stale, since run.json changed"),
        ("run.json", '{"schema": 1, "code": {}}', "stale, since data.py, loop.py changed"),
    ],
)
def test_a_finished_run_whose_files_do_not_say_so_is_damaged(
    file: str, content: str, detail: str, tmp_path: Path
) -> None:
    record = make(tmp_path, "finished", CODE)
    (record.folder / file).write_text(content)
    assert look_up(record, CODE, "any") == ("run", "damaged")
    assert look_up(record, CODE, "same_code") == ("run", detail)
    assert is_stale(record, CODE, "same_code") == detail.startswith("stale")


@pytest.mark.parametrize("status", [{}, {"epoch": 3}, {"state": None}, {"state": 3}, {"state": ["finished"]}], ids=str)
@pytest.mark.parametrize("reuse", ["same_code", "any", "none"])
def test_a_status_without_a_state_is_damaged(reuse: str, status: dict[str, Any], tmp_path: Path) -> None:
    record = make(tmp_path, "finished", CODE)
    write_json(record.folder / "status.json", status)
    assert look_up(record, CODE, reuse) == ("run", "damaged")
    assert not is_stale(record, CODE, reuse)
    if reuse != "any":
        assert look_up(record, {}, reuse) == ("run", "stale, since data.py, loop.py changed")


@pytest.mark.parametrize("code", [None, 3, "loop.py", ["loop.py"]], ids=str)
def test_a_run_that_does_not_say_what_trained_it_is_stale(code: Any, tmp_path: Path) -> None:
    record = make(tmp_path, "finished", CODE)
    write_json(record.folder / "run.json", (record.run() or {}) | {"code": code})
    for one in (CODE, {}):
        assert is_stale(record, one, "same_code")
        assert look_up(record, one, "same_code") == ("run", "stale, since run.json changed")
        assert look_up(record, one, "any") == ("finished", "")


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({"a.py": "1"}, {"a.py": "1"}, None),
        ({"b.py": "1", "a.py": "1"}, {"b.py": "2", "a.py": "2"}, "a.py, b.py"),
        ({"a.py": "1"}, {"a.py": "1", "b.py": "1"}, "b.py"),
        ({"a.py": "1", "b.py": "1"}, {"a.py": "1"}, "b.py"),
        (None, {"a.py": "1"}, "run.json"),  # it does not say what trained it
    ],
)
def test_a_stale_run_names_every_module_that_differs(
    before: dict[str, str] | None, after: dict[str, str], names: str | None, tmp_path: Path
) -> None:
    record = make(tmp_path, "interrupted", before)
    detail = "interrupted, from epoch 3" if names is None else f"stale, since {names} changed"
    assert look_up(record, after, "same_code") == ("run", detail)


def test_a_saved_plan_is_read_as_it_was(tmp_path: Path) -> None:
    fates = ("run", "finished", "diverged", "equal", "excluded")
    combinations = [Planned([f"seed={fate}"], Config(epochs=7), f"id-{fate}", fate, "why", 1.5) for fate in fates]
    combinations[0].seconds = None
    save_plan(tmp_path / "sweeps" / "a-sweep", combinations, "python train.py -m", 2)
    saved = read_plan(tmp_path / "sweeps/a-sweep")
    assert abs(saved.pop("created") - (tmp_path / "sweeps/a-sweep/sweep.json").stat().st_mtime) < 60
    jobs = [
        {"overrides": [f"seed={fate}"], "run_id": f"id-{fate}", "fate": fate, "detail": "why", "epochs": 7}
        | {"seconds": None if fate == "run" else 1.5, "heartbeat": None}
        for fate in fates
    ]
    expected = {"schema": 1, "name": "a-sweep", "command": "python train.py -m", "concurrency": 2, "jobs": jobs}
    assert saved == expected
    assert own_jobs(saved) == jobs[:3]


@pytest.fixture
def config(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of 10 epochs of 96 images, each of which takes a quarter of a second."""
    monkeypatch.setattr(estimate, "probe", lambda *_: 0.25)
    monkeypatch.setattr(plan, "code_fingerprint", lambda: CODE)
    return composed(*small, "model=softmax", "epochs=10", f"output_dir={tmp_path}")


def left(config: Config) -> tuple[str, float | None]:
    (one,) = make_plan([["the run"]], lambda _: config)
    return one.detail, one.seconds


def leave(config: Config, state: str, epochs: int) -> RunDirectory:
    """What a run of a config leaves that ended after so many epochs."""
    (one,) = make_plan([["the run"]], lambda _: config)
    one.record.create({"effective": {}, "config": {}, "code": CODE}, {})
    one.record.write_metrics([{"epoch": 1 + epoch} for epoch in range(epochs)])
    one.record.write_result({"best_val_acc": 0.5, "best_epoch": 1, "test_acc": 0.5})
    one.record.write_status(state=state, epoch=epochs)
    return one.record


def test_an_interrupted_run_is_estimated_from_where_it_goes_on(config: Config) -> None:
    assert left(config) == ("new", PER_RUN + 10 * 96 * 0.25)
    leave(config, "interrupted", 4)
    assert left(config) == ("interrupted, from epoch 4", PER_RUN + 6 * 96 * 0.25)


@pytest.mark.parametrize("state", ["running", "lost", "failed"])
def test_whatever_goes_on_is_estimated_from_where_it_goes_on(state: str, config: Config) -> None:
    record = leave(config, "running" if state == "lost" else state, 4)
    if state == "lost":
        write_json(record.folder / "status.json", (record.status() or {}) | {"heartbeat": 1e9})
    assert left(config) == (f"{state}, from epoch 4", PER_RUN + 6 * 96 * 0.25)


@pytest.mark.parametrize(
    ("state", "reuse", "code"),
    [
        ("finished", "none", CODE),
        ("finished", "same_code", {}),
        ("diverged", "none", CODE),
        ("diverged", "same_code", {}),
        *((state, reuse, {}) for state in ("interrupted", "failed", "running") for reuse in ("same_code", "none")),
    ],
)
def test_a_run_that_begins_again_is_estimated_whole(
    state: str, reuse: str, code: dict[str, str], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = leave(config, state, 10 if state == "finished" else 4)
    config.sweep.reuse = reuse
    monkeypatch.setattr(plan, "code_fingerprint", lambda: code)
    assert is_stale(record, code, reuse)
    detail, seconds = left(config)
    assert detail.startswith(("stale, since", f"{state} before, but"))
    assert seconds == PER_RUN + 10 * 96 * 0.25
    set_aside(record)
    assert left(config) == ("new", seconds)


@pytest.mark.parametrize(("limit", "seconds"), [(PARAMETERS, PER_RUN + 10 * 96 * 0.25), (PARAMETERS - 1, None)])
def test_a_model_with_more_parameters_than_are_tried_has_no_estimate(
    limit: int, seconds: float | None, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "PROBED_PARAMETERS", limit)
    assert left(config) == ("new", seconds)


def test_runs_that_were_lost_before_they_began_are_named(tmp_path: Path) -> None:
    config = Config(output_dir=str(tmp_path))
    lost = [Planned([f"seed={seed}"], config, f"run-{seed}", "run", "new") for seed in (1, 2)]
    sentence = r"2 of 2 runs did not finish: run-1 \(not started\); run-2 \(not started\)"
    with pytest.raises(UserError, match=sentence):
        conclude([*lost, Planned(["seed=3"], config, "", "excluded", "seed=3")], config, print_runs)

"""Saved plans: the last one is found, and a damaged one is a sentence."""

import itertools
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from watching import cells, job, save

from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.sweep.saved import find_sweep, own_jobs, read_plan
from sweeper.sweep.watch import watch


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
def test_a_damaged_plan_is_a_user_error_with_a_remedy(content: str, tmp_path: Path) -> None:
    folder = save(tmp_path, [])
    (folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="is damaged or was written by another version"):
        read_plan(folder)
    with pytest.raises(UserError) as error:
        watch(tmp_path, None, once=True)
    assert str(error.value).startswith(
        f"{folder}/sweep.json is damaged or was written by another version: remove {folder}, "
    )
    assert "\n" not in str(error.value)


def test_a_missing_plan_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}/sweep.json is damaged or was written by another version: "):
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
def test_a_plan_with_values_of_wrong_types_is_a_user_error(key: str, bad: Any, tmp_path: Path) -> None:
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
def test_a_plan_with_a_job_of_wrong_types_is_a_user_error(index: int, key: str, bad: Any, tmp_path: Path) -> None:
    assert_refused(tmp_path, lambda plan: put(plan["jobs"][index], key, bad))


def test_a_plan_of_as_many_epochs_as_a_run_may_have_is_whole(tmp_path: Path) -> None:
    folder = save(tmp_path, [job("a", epochs=10**9, epoch=10**8)])
    assert read_plan(folder)["jobs"][0]["epochs"] == 10**9


def assert_refused(output_dir: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Assert that a plan is readable, and refused after this change."""
    folder = save(output_dir, [job("a", "seed=1", seconds=1.5), job("b", "seed=2", seconds=2)], concurrency=None)
    plan = read_plan(folder)
    change(plan)
    write_json(folder / "sweep.json", plan)
    with pytest.raises(UserError, match="is damaged or was written by another version"):
        watch(output_dir, None, once=True)


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_an_estimate_that_is_not_a_number_does_not_stop_watch(seconds: float, tmp_path: Path) -> None:
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
    names = [line[0] for line in cells(capsys.readouterr().out)]
    assert names == ["seed=train a-run", "seed=resume a-run", "seed=skip a-run"]


def test_the_command_of_a_sweep_that_moved_names_its_folder(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "my outputs"
    folder = save(before, [job("a")], outputs=str(before))
    assert read_plan(folder)["command"] == "python train.py -m seed=1,2"
    before.rename(after)
    folder = after / "sweeps" / folder.name
    assert read_plan(folder)["command"] == f"python train.py -m seed=1,2 output_dir='{after}'"

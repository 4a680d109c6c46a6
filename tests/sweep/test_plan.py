"""Plans of sweeps: the action for every combination, and the duration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from sweeper.config import Config
from sweeper.errors import UserError
from sweeper.files import write_json
from sweeper.runs.spec import RunSpec
from sweeper.runs.states import Action, Decision, Reason
from sweeper.summary.terminal import print_runs
from sweeper.sweep.execute import conclude
from sweeper.sweep.plan import Planned, describe, no_effect_axes, save_plan
from sweeper.sweep.saved import own_jobs, read_plan

NEW = Decision(Action.TRAIN, Reason.NEW)
DAMAGED = Decision(Action.TRAIN, Reason.DAMAGED)
STALE = Decision(Action.TRAIN, Reason.STALE, changed=("training/loop.fit", "training/optimizers.adam"))
FORCED = Decision(Action.TRAIN, Reason.FORCED)
FINISHED = Decision(Action.SKIP, Reason.FINISHED)
DIVERGED = Decision(Action.SKIP, Reason.DIVERGED)
DUPLICATE = Decision(Action.DUPLICATE, Reason.NEW)
EXCLUDED = Decision(Action.EXCLUDED, Reason.NEW)


def resumed(epoch: int, reason: Reason = Reason.INTERRUPTED) -> Decision:
    return Decision(Action.RESUME, reason, epoch)


def spec_of(run_id: str, config: Config | None = None) -> RunSpec:
    """A resolved run of which the plan needs the id alone."""
    nothing = cast(Any, None)
    return RunSpec(config or Config(), nothing, nothing, {}, run_id, {}, {})


def planned(text: str, decision: Decision = NEW, detail: str = "", seconds: float | None = None) -> Planned:
    """A combination whose overrides are the words of a text."""
    return Planned(text.split(), Config(), spec_of(f"id of {text}"), decision, detail, seconds)


def combinations_of(**ids: str) -> list[Planned]:
    """Combinations of `a` and `b` by their values, each with its run; without an id it is excluded."""
    return [
        Planned([f"a={key[0]}", f"b={key[1]}", "c=0"], Config(), spec_of(run_id) if run_id else None, NEW)
        for key, run_id in ids.items()
    ]


@pytest.mark.parametrize(
    ("combinations", "axes"),
    [
        (combinations_of(xp="1", xq="2", yp="3", yq="4"), []),
        (combinations_of(xp="1", xq="1", yp="2", yq="2"), ["b"]),
        (combinations_of(xp="1", xq="2", yp="1", yq="2"), ["a"]),
        (combinations_of(xp="1", xq="1", yp="1", yq="1"), ["a", "b"]),
        (combinations_of(xp="1", xq="1", yp="2", yq="3"), []),  # it has an effect with a=y
        (combinations_of(xp="1", yq="1"), []),  # zipped: no two differ in one key alone
        (combinations_of(xp="1", xq="1", yp="2"), ["b"]),
        (combinations_of(xp="1", xq="1", yp="", yq=""), ["b"]),  # excluded combinations do not count
        (combinations_of(xp="1", xq="", yp="2", yq=""), []),
        (combinations_of(xp="", xq=""), []),
        (combinations_of(xp="1"), []),
    ],
)
def test_an_axis_has_no_effect_when_it_distinguishes_no_two_runs(combinations: list[Planned], axes: list[str]) -> None:
    assert list(no_effect_axes(combinations, ["a", "b"])) == axes
    assert list(no_effect_axes(combinations[::-1], ["a", "b"])) == axes


def test_an_axis_is_not_confused_with_another_whose_name_begins_alike() -> None:
    overrides = [["a=1", "a.b=1"], ["a=1", "a.b=2"], ["a=2", "a.b=1"], ["a=2", "a.b=2"]]
    combinations = [Planned(job, Config(), spec_of(job[1]), NEW) for job in overrides]
    assert list(no_effect_axes(combinations, ["a", "a.b"])) == ["a"]


TWO = [planned("seed=1 epochs=2"), planned("seed=2 epochs=2")]


@pytest.mark.parametrize(
    ("combinations", "text"),
    [
        (TWO[:1], "1 combination: 1 to run"),
        (TWO, "2 combinations: 2 to run"),
        ([*TWO, planned("seed=3 epochs=2", FINISHED)], "  seed=3: finished\n3 combinations: 2 to run, 1 finished"),
        (
            [planned("seed=3 epochs=2", DIVERGED), planned("seed=4 epochs=2", FINISHED)],
            "  seed=4: finished\n  seed=3: diverged\n2 combinations: 1 finished, 1 diverged",
        ),
        ([planned("seed=3 epochs=2", FINISHED)], "  the run: finished\n1 combination: 1 finished"),
        (
            [planned("seed=1", EXCLUDED, "excluded (seed=1)"), planned("seed=2", DUPLICATE, "duplicate of x"), *TWO],
            "  seed=2: duplicate of x\n  seed=1: excluded (seed=1)\n"
            "4 combinations: 2 to run, 1 duplicate, 1 excluded",
        ),
        (
            [planned("a=1", resumed(3)), planned("a=2"), planned("a=3", DAMAGED), planned("a=4", resumed(5)),
             planned("a=5", STALE)],
            f"  a=1: {resumed(3).text}\n  a=3: damaged\n  a=4: {resumed(5).text}\n"
            "  a=5: stale (training/loop.fit, training/optimizers.adam changed)\n"
            "5 combinations: 5 to run (2 interrupted, 1 new, 1 damaged, 1 stale)",
        ),
        (
            [planned("a=1", FORCED), planned("a=2", FINISHED)],
            f"  a=1: {FORCED.text}\n  a=2: finished\n2 combinations: 1 to run (1 forced), 1 finished",
        ),
    ],
)  # fmt: skip
def test_a_plan_lists_every_combination_that_is_not_new_and_counts_all(combinations: list[Planned], text: str) -> None:
    assert describe(combinations, [], 1) == text


def test_a_dry_run_lists_new_combinations_as_well() -> None:
    text = "  seed=1: new\n  seed=2: new\n2 combinations: 2 to run"
    assert describe(TWO, [], 1, list_all=True) == text


def test_a_plan_names_axes_without_effect_before_the_counts() -> None:
    text = describe(combinations_of(xp="1", xq="1", yp="2", yq="2"), ["a", "b"], None)
    assert text.splitlines()[-2:] == [
        "b has no effect: all values map to the same runs",
        "4 combinations: 4 to run",
    ]


@pytest.mark.parametrize(("number", "listed", "more"), [(20, 20, 0), (21, 20, 1), (500, 20, 480)])
@pytest.mark.parametrize(
    ("decision", "detail", "text", "kind"),
    [
        (FINISHED, "", "finished", "finished"),
        (DUPLICATE, "duplicate of x", "duplicate of x", "duplicate"),
        (resumed(1, Reason.FAILED), "", resumed(1, Reason.FAILED).text, "to run"),
    ],
    ids=("finished", "duplicate", "failed"),
)
def test_a_plan_lists_at_most_twenty_of_each_kind(
    decision: Decision, detail: str, text: str, kind: str, number: int, listed: int, more: int
) -> None:
    others = [planned(f"other={index}", EXCLUDED, "excluded (x)") for index in range(3)]
    many = [planned(f"a={index}", decision, detail) for index in range(number)]
    lines = describe([*many, *others, planned("new=1")], [], 1).splitlines()
    assert [line for line in lines if line.startswith("  a=")] == [f"  a={index}: {text}" for index in range(listed)]
    assert [line for line in lines if " more: " in line] == ([f"  and {more} more: {kind}"] if more else [])
    assert sum(line.startswith("  other=") for line in lines) == 3
    assert lines[-1].startswith(f"{number + 4} combinations: ")


@pytest.mark.parametrize(
    ("seconds", "concurrency", "text"),
    [
        ([40.0, 30.0, 20.0], 1, "3 to run; about 2 min"),
        ([40.0, 30.0, 20.0], 2, "3 to run; about 50 s, 2 at a time"),
        ([40.0, 30.0, 20.0], 9, "3 to run; about 40 s, 9 at a time"),
        ([40.0, 30.0, 20.0], None, "3 to run; about 2 min of training in total"),
        ([40.0, None, 20.0], 1, "3 to run; about 60 s and 1 of unknown duration"),
        ([40.0, None, None], 2, "3 to run; about 40 s, 2 at a time and 2 of unknown duration"),
        ([None, None, 7.0], None, "3 to run; about 7 s of training in total and 2 of unknown duration"),
        ([None, None, None], 2, "3 to run"),
    ],
)
def test_the_duration_of_a_plan(seconds: Sequence[float | None], concurrency: int | None, text: str) -> None:
    to_run = [planned(f"seed={number}", seconds=estimate) for number, estimate in enumerate(seconds)]
    done = [planned("seed=8", FINISHED), planned("seed=9", DUPLICATE, "duplicate of x", 1e9)]
    assert describe(to_run, [], concurrency) == f"3 combinations: {text}"
    expected = f"5 combinations: {text.replace('3 to run', '3 to run, 1 finished, 1 duplicate')}"
    assert describe([*to_run, *done], [], concurrency).splitlines()[-1] == expected


def test_a_saved_plan_is_read_as_it_was(tmp_path: Path) -> None:
    decisions = {"a": NEW, "b": resumed(3), "c": STALE, "d": FINISHED, "e": DIVERGED, "f": DUPLICATE, "g": EXCLUDED}
    combinations = [
        Planned(
            [f"seed={key}"], Config(epochs=7, output_dir=str(tmp_path)), spec_of(f"id-{key}"), decision, seconds=1.5
        )
        for key, decision in decisions.items()
    ]
    combinations[0].seconds, combinations[-1].spec, combinations[1].heartbeat = None, None, 9.5
    save_plan(tmp_path / "sweeps" / "a-sweep", combinations, "python train.py -m", 2)
    saved = read_plan(tmp_path / "sweeps/a-sweep")
    assert abs(saved.pop("created") - (tmp_path / "sweeps/a-sweep/sweep.json").stat().st_mtime) < 60
    jobs = [
        {
            "overrides": [f"seed={key}"],
            "run_id": "" if key == "g" else f"id-{key}",
            "action": decision.action,
            "reason": decision.reason,
            "epoch": 3 if key == "b" else None,
            "changed": ["training/loop.fit", "training/optimizers.adam"] if key == "c" else [],
            "epochs": 7,
            "seconds": None if key == "a" else 1.5,
            "heartbeat": 9.5 if key == "b" else None,
        }
        for key, decision in decisions.items()
    ]
    expected = {"schema": 2, "name": "a-sweep", "command": "python train.py -m", "concurrency": 2, "jobs": jobs}
    assert saved == expected | {"outputs": str(tmp_path), "design": "product", "precision": None}
    assert own_jobs(saved) == jobs[:5]


def test_a_plan_keeps_the_time_at_which_the_sweep_was_first_planned(tmp_path: Path) -> None:
    folder, plan = tmp_path / "sweeps" / "a-sweep", [planned("seed=0")]
    save_plan(folder, plan, "python train.py -m", 2)
    first = read_plan(folder)["created"]
    write_json(folder / "sweep.json", read_plan(folder) | {"created": first - 1000})
    save_plan(folder, plan, "python train.py -m", 2)
    assert read_plan(folder)["created"] == first - 1000


def test_runs_that_were_lost_before_they_started_are_named(tmp_path: Path) -> None:
    config = Config(output_dir=str(tmp_path))
    lost = [Planned([f"seed={seed}"], config, spec_of(f"run-{seed}", config), NEW) for seed in (1, 2)]
    sentence = r"2 of 2 runs did not finish: run-1 \(waiting\); run-2 \(waiting\)"
    with pytest.raises(UserError, match=sentence):
        conclude([*lost, Planned(["seed=3"], config, None, EXCLUDED, "seed=3")], config, print_runs)

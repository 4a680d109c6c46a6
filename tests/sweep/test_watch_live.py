"""`watch` in a terminal and as a command."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import REPOSITORY, environment, sweeper
from watching import cells, job, make, row, save, watched_live

from sweeper.errors import UserError
from sweeper.sweep.watch import watch
from sweeper.sweep.watch_table import WIDE


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
    with pytest.raises(UserError, match="is damaged or was written by another version"):
        watched_live(tmp_path, monkeypatch, lambda _: shutil.rmtree(folder))


def test_runs_that_a_new_plan_adds_are_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path, [job("a")])

    def plan_again(_: float) -> None:
        shutil.rmtree(folder)
        save(tmp_path, [job("a"), job("b")])
        make(tmp_path, "a", "finished")
        make(tmp_path, "b", "failed")

    assert "2 runs: 1 failed, 1 finished" in watched_live(tmp_path, monkeypatch, plan_again)


def test_a_terminal_that_cannot_redraw_gets_a_line_for_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    save(tmp_path, [job("a", "seed=0"), job("b", "seed=1")])
    states = iter([["running", "running"], ["running", "running"], ["finished", "running"], ["finished", "failed"]])

    def train(_: float) -> None:
        for name, state in zip("ab", next(states), strict=True):
            make(tmp_path, name, state)

    drawn = watched_live(tmp_path, monkeypatch, train)
    assert [line for line in drawn.splitlines() if line.startswith("2 runs")] == [
        "2 runs: 2 waiting; nothing is running; to resume: python train.py -m seed=1,2",
        "2 runs: 2 running",
        "2 runs: 1 running, 1 finished",
        "2 runs: 1 failed, 1 finished",
    ]
    assert [row[:2] for row in cells(drawn)] == [
        *(["seed=0 a", "waiting"], ["seed=1 b", "waiting"]),
        *(["seed=1 b", "failed"], ["seed=0 a", "finished"]),
    ]
    assert "\x1b" not in drawn


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
    save(tmp_path, [job("a", name), job("b", "seed=2")], command=command)
    watch(tmp_path, None, once=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"2 runs: 2 waiting; nothing is running; to resume: {command}"
    assert max(map(len, lines[:-1])) == WIDE
    rows = cells("\n".join(lines))
    assert "".join(row[0] for row in rows) == f"{name} aseed=2 b"
    assert rows[0][1:] == ["waiting", "0/10", "-", "-", "-"]


def test_ctrl_c_ends_the_watching_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, [job("a")])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    assert "1 run: 1 waiting" in watched_live(tmp_path, monkeypatch, interrupt)


def test_the_command_prints_a_sweep_once_and_without_torch(tmp_path: Path) -> None:
    make(tmp_path, "a", "running", [row(0.5, 2.0)])
    make(tmp_path, "foreign", "running")
    name = f"{'long' * 20}[red]"
    save(tmp_path, [job("a", "seed=1"), job("b", f"seed={name}", seconds=9.0)])
    command = [sys.executable, "-X", "importtime", "-m", "sweeper", "watch", "--once", "--output-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert cells(done.stdout) == [
        ["seed=1 a", "running", "1/10", "0.5000", "100", "0:00:18"],
        [f"seed={name} b", "waiting", "0/10", "-", "-", "0:00:27"],
    ]
    assert done.stdout.splitlines()[0].rstrip() == "sweep a-sweep: 0 of 2 ended"
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
def test_a_wrong_sweep_is_a_user_error(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    save(tmp_path, [job("a")])
    (save(tmp_path, [], "damaged") / "sweep.json").write_text("{")
    done = sweeper(*arguments, "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence.format(tmp_path)}")
    assert done.stderr.count("\n") == 1


def test_the_summary_of_a_sweep_has_only_its_runs(tmp_path: Path) -> None:
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
    done = sweeper("summary", "a-sweep", "--output-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout
    assert "1 run: 1 finished" in done.stdout
    assert not any(name in done.stdout for name in ("equal", "left-out", "foreign", "unreadable", "late"))
    done = sweeper("summary", "a-sweep", "--format", "csv", "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout.count("\n")) == (0, 2)
    assert not (tmp_path / "summary.csv").exists()  # which has all runs

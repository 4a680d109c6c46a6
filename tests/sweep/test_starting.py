"""The mark of a sweep that is being planned."""

import shutil
import time
from pathlib import Path

import pytest
from watching import job, make, save, watched_live

from sweeper.sweep.starting import MARK, going, is_going, is_starting, starting
from sweeper.sweep.watch import watch


def test_a_sweep_is_starting_until_its_plan_is_saved(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    with starting(tmp_path):
        assert is_starting(tmp_path)
        with starting(tmp_path):  # another one, at the same time
            assert is_starting(tmp_path)
    assert not is_starting(tmp_path)
    assert not list((tmp_path / "sweeps").iterdir())


def test_without_earlier_sweeps_nothing_is_written(tmp_path: Path) -> None:
    with starting(tmp_path / "outputs"):
        assert not is_starting(tmp_path / "outputs")
    assert not list(tmp_path.iterdir())


def test_a_mark_whose_process_has_died_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / MARK).touch()
    assert not is_starting(tmp_path)


def test_watch_waits_for_the_sweep_that_retries_or_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path, [job("a", "seed=0")])
    make(tmp_path, "a", "finished")
    mark = going(folder)
    mark.__enter__()

    def go_on(_: float) -> None:
        shutil.rmtree(folder)
        save(tmp_path, [job("a", "seed=0"), job("b", "seed=1")])
        make(tmp_path, "b", "finished")

    assert is_going(folder)
    assert "seed=1 b" in watched_live(tmp_path, monkeypatch, go_on)
    mark.__exit__(None, None, None)
    assert not is_going(folder)


def test_watch_waits_for_the_sweep_that_is_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, [job("a")], name="earlier")
    make(tmp_path, "a", "finished")

    def plan(_: float) -> None:
        save(tmp_path, [job("b")], name="later")
        (tmp_path / "sweeps" / "later" / "sweep.json").touch()
        mark.__exit__(None, None, None)

    mark = starting(tmp_path)
    mark.__enter__()
    monkeypatch.setattr(time, "sleep", plan)
    watch(tmp_path, None, once=True)
    printed = capsys.readouterr().out
    assert printed.startswith("a sweep is being planned\nsweep later: 0 of 1 ended")

"""Where a run comes from: the commit of the program, not of a repository around it."""

import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.runs import provenance
from sweeper.runs.provenance import command_as_typed, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in a folder of a repository that does not track it."""
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "a")
    file = tmp_path / "tools" / "sweeper" / "runs" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(provenance, "__file__", str(file))
    return tmp_path / "tools"


def test_a_repository_around_the_program_is_not_its_checkout(program: Path) -> None:
    assert git_state() == {"commit": None, "dirty": None}


def test_changes_elsewhere_in_the_repository_do_not_count(program: Path) -> None:
    git(program, "add", ".")
    git(program, "commit", "--message", "b")
    (program.parent / "notes.txt").touch()
    commit = git(program, "rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (program / "sweeper" / "new.py").touch()
    assert git_state() == {"commit": commit, "dirty": True}


def test_a_repository_that_a_hook_names_is_not_asked(
    program: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(program, "add", ".")
    git(program, "commit", "--message", "b")
    expected = git_state()
    other = tmp_path_factory.mktemp("other")
    git(other, "init")
    git(other, "commit", "--allow-empty", "--message", "c")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state() == expected


@pytest.mark.parametrize(
    ("typed", "without"),
    [
        ("sweep.wait=false", ""),
        ("sweep.wait=False seed=1", " seed=1"),
        ("++sweep.wait=off sweep.wait=0", ""),
        ("sweep={wait:false}", " 'sweep={wait:false}' sweep.wait=true"),
        ("experiment=detached", " experiment=detached sweep.wait=true"),
    ],
)
def test_a_command_has_the_default_of_a_setting_however_it_was_typed(
    typed: str, without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *typed.split()])
    assert command_as_typed(wait="true") == f"python train.py -m{without}"

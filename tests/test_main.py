"""The command line of `python -m sweeper`: its help, and how a run is named."""

import subprocess
import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, environment

from sweeper.__main__ import find_run
from sweeper.errors import UserError


def sweeper(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sweeper", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)


def test_without_a_command_the_help_is_printed() -> None:
    done = sweeper()
    assert "Missing command" not in done.stdout + done.stderr
    assert all(name in done.stdout + done.stderr for name in ("summary", "effects", "curves", "evaluate"))


def test_a_run_is_named_by_its_directory_its_id_or_the_ids_last_digits(tmp_path: Path) -> None:
    for name in ("mlp-s0-0a1", "cnn-s0-0b1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    run = tmp_path / "runs" / "mlp-s0-0a1"
    for text in (run, Path("mlp-s0-0a1"), Path("a1")):
        assert find_run(text, tmp_path) == run
    assert find_run(Path("nowhere"), tmp_path) == Path("nowhere")
    with pytest.raises(UserError, match=r"^1 matches 2 runs: cnn-s0-0b1, mlp-s0-0a1$"):
        find_run(Path("1"), tmp_path)


@pytest.mark.parametrize("arguments", [(), ("0a1", "--best")])
def test_evaluate_takes_either_a_run_or_the_best(arguments: tuple[str, ...]) -> None:
    done = sweeper("evaluate", *arguments)
    assert done.returncode == 1
    assert done.stderr == "error: give either a run (its ID, the ID's last digits, or its directory) or --best\n"

"""The command line of `python -m sweeper`: its help."""

import pytest
from processes import sweeper

COMMANDS = ("summary", "effects", "curves", "evaluate", "predict", "errors", "diff", "export")


def test_without_a_command_the_help_is_printed() -> None:
    done = sweeper()
    assert "Missing command" not in done.stdout + done.stderr
    assert all(name in done.stdout + done.stderr for name in COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("0a1", "--best")])
def test_evaluate_takes_either_a_run_or_the_best(arguments: tuple[str, ...]) -> None:
    done = sweeper("evaluate", *arguments)
    assert done.returncode == 1
    assert done.stderr == "error: give either a run (its ID, the ID's last digits, or its directory) or --best\n"

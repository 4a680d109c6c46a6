"""The command line of `python -m sweeper`: its help, and what it makes of arguments."""

import sys

import pytest
from processes import sweeper

from sweeper import __main__ as commands

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


@pytest.mark.parametrize("argument", ["--output-dir={}/x", "data.root={}", "extend={}/my.py", "--where=a={}/x", "{}/x"])
def test_the_home_folder_is_replaced_after_an_equals_sign(argument: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(commands, "app", given.extend)
    monkeypatch.setattr(sys, "argv", ["sweeper", "evaluate", argument.format("~")])
    commands.main()
    replaced = "=" in argument and "where" not in argument
    assert given == ["evaluate", argument.format("/home/me" if replaced else "~")]

"""The text of an evaluation: no number is lost, whatever the width and the names of classes."""

import re

import numpy as np
import pytest

from sweeper.runs.evaluate import Reevaluation
from sweeper.trained.evaluation_text import print_evaluation


def printed(classes: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    confusion = 1000 + np.arange(len(classes) ** 2).reshape(len(classes), -1)
    print_evaluation("a-run", Reevaluation(0.5, 0.5, 0, classes, confusion, "cpu", "cpu"))
    return capsys.readouterr().out


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("width", [None, 60, 120])
def test_every_number_is_printed(
    width: int | None, forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed([f"class-{index:02}" for index in range(20)], capsys))
    lines = text.splitlines()
    words = " ".join(lines).replace("│", " ").split()
    assert {f"{1000 + index:,}" for index in range(400)} <= set(words)
    tables = sum("┏" in line for line in lines) - 1
    assert tables == 1 if width is None else tables > 1
    assert width is None or max(map(len, lines)) <= width


def test_names_of_classes_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[red]ant[/red]", ":bee:", "[/]", "a\x1b[31mb"]
    text = printed(names, capsys)
    for name in ("[red]ant[/red]", ":bee:", "[/]", "a [31mb"):
        assert text.count(name) == 3, name  # in the scores, and as a row and a column


def test_a_class_that_is_never_predicted_has_no_precision(capsys: pytest.CaptureFixture[str]) -> None:
    print_evaluation("a-run", Reevaluation(0.5, 0.5, 0, ["ant", "bee"], np.array([[3, 0], [1, 0]]), "cpu", "cpu"))
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["ant", "0.7500", "1.0000", "3"] in lines
    assert ["bee", "-", "0.0000", "1"] in lines


def test_a_class_that_does_not_count_has_no_scores(capsys: pytest.CaptureFixture[str]) -> None:
    confusion = np.array([[0, 0], [1, 3]])  # a pixel that is bee was predicted as the ignored ant
    print_evaluation("a-run", Reevaluation(0.75, 0.75, 0, ["ant", "bee"], confusion, "cpu", "cpu", "miou", ignored=0))
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["ant", "-", "-", "-", "0"] in lines
    assert ["bee", "1.0000", "0.7500", "0.7500", "4"] in lines

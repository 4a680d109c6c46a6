"""The display of a run's training: a bar in a terminal, short lines elsewhere."""

import io
import logging
import sys
from typing import Any

import pytest
import torch

from sweeper.runs import console as module
from sweeper.runs.console import Console, fit, time_left
from sweeper.runs.naming import RunName
from sweeper.training.state import LoopState


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ROW: dict[str, Any] = {"epoch": 1, "train_loss": 0.5, "train_acc": 0.75, "val_loss": 0.25, "val_acc": 0.875}
ROW |= {"train_seconds": 3.0, "eval_seconds": 1.0, "images_per_second": 1234.0}


def lines(name: RunName, rows: int, caplog: pytest.LogCaptureFixture, *, verbose: bool = False) -> list[str]:
    caplog.set_level(logging.INFO)
    with Console(name, 9, 10, verbose=verbose) as console:
        for epoch in range(1, rows + 1):
            console.epoch(ROW | {"epoch": epoch})
    return [record.getMessage() for record in caplog.records]


def test_outside_of_a_terminal_a_single_run_has_a_short_line_for_each_epoch(caplog: pytest.LogCaptureFixture) -> None:
    found = lines(RunName("mlp-0123456789"), 2, caplog)
    assert found[0] == "epoch 1/9  train_loss 0.5000  val_acc 0.8750  4.0 s"
    assert len(found) == 2


def test_a_run_of_a_sweep_has_a_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lines(RunName("seed=0 0123456789", "1 of 2"), 2, caplog) == []
    monkeypatch.setattr(module, "PERIOD", 0.0)
    assert lines(RunName("seed=0 0123456789", "1 of 2"), 1, caplog) == ["seed=0 0123456789: epoch 1/9  val_acc 0.8750"]


def test_a_run_in_a_live_table_has_no_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.0)
    assert lines(RunName("a", "1 of 2", in_table=True), 3, caplog) == []


def test_verbose_lines_have_every_measure(caplog: pytest.LogCaptureFixture) -> None:
    assert lines(RunName("seed=0 0123456789", "1 of 2"), 1, caplog, verbose=True) == [
        "seed=0 0123456789: epoch 1/9  train_loss 0.5000  train_acc 0.7500  val_loss 0.2500  val_acc 0.8750  3.0 s  "
        "1,234 images/s"
    ]


def loop_of(**changes: Any) -> LoopState:
    fields: dict[str, Any] = {"epoch": 2, "step_in_epoch": 5, "history": [ROW], "num_samples": 32, "seconds": 2.0}
    return LoopState(**(fields | {"loss_sum": torch.tensor(16.0, dtype=torch.float64)} | changes))


@pytest.mark.parametrize("width", [200, 66, 65, 53, 52, 38, 23, 22, 9, 3])
def test_a_bar_shows_the_most_important_facts_that_fit(width: int) -> None:
    facts = Console(RunName("a"), 9, 10).facts(loop_of())
    assert facts == ["epoch 2/9", "0:00:30 left", "loss 0.5000", "val_acc 0.8750", "16 images/s"]
    prefixes = ["  ".join(facts[:number]) for number in range(1, 6)]
    assert fit(facts, width) == max((text for text in prefixes if len(text) <= width), key=len, default=facts[0])


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 8 * 4.0 - 2.0),
        ({"history": [ROW, ROW | {"train_seconds": 7.0}, ROW], "epoch": 4, "seconds": 0.0}, 6 * 4.0),
        ({"history": [], "epoch": 1}, 9 * 4.0 - 2.0),  # five of ten steps took two seconds
        ({"history": [], "epoch": 1, "step_in_epoch": 0}, None),
        ({"epoch": 10, "seconds": 0.0}, 0.0),
    ],
)
def test_time_left(changes: dict[str, Any], seconds: float | None) -> None:
    assert time_left(loop_of(**changes), epochs=9, batches=10) == seconds


def test_a_bar_is_drawn_in_a_terminal_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    with Console(RunName("norm=batch 0123456789", "2 of 5"), 9, 10) as console:
        console.step(loop_of())
    drawn = stream.getvalue()
    assert "2 of 5  norm=batch 0123456789" in drawn
    assert "epoch 2/9  0:00:30 left  loss 0.5000" in drawn
    assert "images/s" not in drawn  # no room in 60 columns
    assert drawn.rstrip("\x1b[?25h").endswith("\x1b[1A\x1b[2K")  # both lines are erased

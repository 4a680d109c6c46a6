"""Runs beside a screen: left out and named, the effects are those of the screen alone."""

import itertools
from typing import Any

import numpy as np
import pytest
from paired import found, table

from sweeper.summary.effects import Effects
from sweeper.summary.effects_text import as_table
from sweeper.sweep.designs import screening

NAMES = ("averaging", "init", "loss", "mixing", "norm", "views", "width")


def row(signs: Any, seed: int, **changes: Any) -> dict[str, Any]:
    settings = {name: "on" if sign > 0 else "off" for name, sign in zip(NAMES, signs, strict=False)}
    acc = 0.6 + 0.01 * signs[0] + 0.001 * seed * signs[1] + 0.002 * seed
    return settings | {"seed": seed, "test_acc": acc} | changes


def screened(number: int, *others: dict[str, Any], **same: Any) -> Effects:
    """Three seeds of a screen, and other runs."""
    made = [row(signs, seed, **same) for seed in range(3) for signs in screening(number)]
    return found(table(*made, *others), dict.fromkeys(NAMES[:number], "off"))


OFF = -np.ones(7, int)
ONE_ON = [np.where(np.arange(7) == number, 1, -1) for number in range(7)]


@pytest.mark.parametrize("number", [5, 6, 7])
@pytest.mark.parametrize(
    "others",
    [
        [row(-OFF, 0, norm="layer")],  # another value of a trick
        [row(OFF, 0, epochs=9)],  # another setting
        [row(np.maximum(ONE_ON[0], ONE_ON[1]), 0)],  # two tricks on
        [row(ONE_ON[0], seed, init="x") for seed in range(3)],
    ],
)
def test_runs_beside_a_screen_are_left_out_and_named(number: int, others: list[dict[str, Any]]) -> None:
    others = [{key: value for key, value in run.items() if key not in NAMES[number:]} for run in others]
    alone = screened(number, epochs=5)
    result = screened(number, *({"epochs": 5} | run for run in others), epochs=5)
    assert result.comparisons == alone.comparisons and len(result.comparisons) == number
    (note,) = [note for note in result.notes if note.startswith("left out")]
    runs = 3 * len(screening(number))
    what = "1 run that is" if len(others) == 1 else f"{len(others)} runs that are"
    assert note.startswith(f"left out {what} no part of the screen: run-{runs:04}")
    assert note in as_table(result)


def test_a_design_of_single_changes_beside_a_screen_is_left_out() -> None:
    others = [row(signs, seed) for seed in range(3) for signs in ONE_ON]
    result = screened(7, *others)
    assert result.comparisons == screened(7).comparisons
    assert any(note.startswith("left out 21 runs that are no part of the screen: ") for note in result.notes)


def test_other_runs_of_a_seed_are_told_from_a_seed_that_lacks_runs() -> None:
    others = [row(screening(7)[0], 0, torch="another"), row(screening(7)[0], 9)]
    made = [row(signs, seed, torch="usual") for seed in range(3) for signs in screening(7)]
    notes = found(table(*made, *others), dict.fromkeys(NAMES, "off")).notes
    assert "digits: seed 0: left out 1 run of other code or environment" in notes
    assert "digits: seed 9 is left out, 23 of its runs are missing" in notes


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_an_incomplete_product_of_five_is_no_screen(missing: int) -> None:
    signs = list(itertools.product((-1, 1), repeat=5))
    made = [row(one, seed) for seed in range(3) for one in signs[missing:]]
    result = found(table(*made), dict.fromkeys(NAMES[:5], "off"))
    assert not any("screen" in note for note in result.notes) and result.interactions


def test_single_changes_alone_are_no_screen() -> None:
    made = [row(signs, seed) for seed in range(3) for signs in (OFF, *ONE_ON)]
    result = found(table(*made), dict.fromkeys(NAMES, "off"))
    assert not any("screen" in note for note in result.notes) and len(result.comparisons) == 7

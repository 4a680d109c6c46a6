"""Effects of screened tricks: contrasts of each seed that has all runs, from settings as effects reads them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweeper.summary.screening import Screening, screen
from sweeper.sweep.designs import screening

EFFECTS = np.array([1, 0.6, -0.5, 0.3, 0, 0, 0, 0, 0, 0, 0, 0])
TRICK_IN_SEED = (0.0, 0.1, -0.2)
BASELINE = {f"trick{number:02}": "off" for number in range(1, 13)}


def sweep(seeds: int = 3, num_tricks: int = 12) -> pd.DataFrame:
    """A screen of twelve tricks, with an effect of the seed, of seed x trick 1, and an interaction of tricks 1, 2."""
    signs = screening(num_tricks)
    rows = []
    for seed in range(seeds):
        for row in signs:
            settings = {name: "on" if sign > 0 else "off" for name, sign in zip(BASELINE, row, strict=False)}
            result = 65 + seed + row @ EFFECTS[:num_tricks] / 2
            result += TRICK_IN_SEED[seed] * row[0] / 2 + 0.3 * row[0] * row[1] / 4
            rows.append(settings | {"seed": seed, "data": "f00d", "code of core": "c", "result": result})
    return pd.DataFrame(rows)


def screened(frame: pd.DataFrame, baseline: dict[str, Any]) -> Screening | None:
    return screen(frame.drop(columns="result").astype(object), frame["result"], baseline)


def effects_of(found: Screening | None) -> dict[str, list[float]]:
    assert found is not None
    return {trick[0][0]: list(seeds.values()) for trick, seeds in found.effects.items()}


def test_the_effects_of_a_screen_are_exact_in_every_seed() -> None:
    found = effects_of(screened(sweep(), BASELINE))
    assert found["trick01"] == pytest.approx([1.0, 1.1, 0.8])
    for number, effect in enumerate(EFFECTS[1:], start=2):
        assert found[f"trick{number:02}"] == pytest.approx([effect] * 3)
    interval = stats.t.interval(0.95, 2, np.mean(found["trick01"]), stats.sem(found["trick01"]))
    assert np.mean(found["trick01"]) == pytest.approx(0.966667, abs=5e-7)
    assert interval == pytest.approx((0.587208, 1.346125), abs=5e-7)
    assert stats.ttest_1samp(found["trick01"], 0).pvalue == pytest.approx(0.008221, abs=5e-7)


@pytest.mark.parametrize("num_tricks", [3, 5, 6])
def test_screens_of_every_size(num_tricks: int) -> None:
    screen = screened(sweep(2, num_tricks), dict(list(BASELINE.items())[:num_tricks]))
    found = effects_of(screen)
    assert screen is not None and screen.is_full == (num_tricks == 3)
    assert [np.mean(values) for values in found.values()] == pytest.approx([1.05, *EFFECTS[1:num_tricks]])


@pytest.mark.parametrize("fixed", ["trick01", "trick12"])
def test_half_of_a_screen_is_confounded(fixed: str) -> None:
    frame = sweep(2)
    screen = screened(frame, BASELINE)
    assert screen is not None and not screen.is_confounded
    half = frame[frame[fixed] == "off"].drop(columns=fixed)
    screen = screened(half, {name: "off" for name in BASELINE if name != fixed})
    assert screen is not None and screen.is_confounded


def test_the_order_of_runs_does_not_matter() -> None:
    shuffled = sweep().sample(frac=1, random_state=0).sort_values("seed")
    assert effects_of(screened(shuffled, BASELINE))["trick01"] == pytest.approx([1.0, 1.1, 0.8])


def test_a_seed_without_a_run_is_left_out() -> None:
    missing, unfinished = sweep().drop(index=30), sweep()
    unfinished.loc[[30, 31], "result"] = np.nan
    for frame, lacking in ((missing, 1), (unfinished, 2)):
        found = screened(frame, BASELINE)
        assert found is not None and found.left_out == {1: lacking}
        assert effects_of(found)["trick01"] == pytest.approx([1.0, 0.8])


def test_the_runs_of_a_contrast_are_named() -> None:
    frame = sweep(1)
    found = screened(frame, BASELINE)
    assert found is not None
    for trick in found.effects:
        axis = trick[0][0]
        assert trick == ((axis, "on", "off"),)
        assert found.on[trick][0] == list(frame.index[frame[axis] == "on"])
        assert found.off[trick][0] == list(frame.index[frame[axis] == "off"])


def test_settings_that_change_together_are_one_trick() -> None:
    frame = sweep()
    frame["zipped"] = np.where(frame["trick02"] == "on", 0.1, 0.2)
    frame["step"] = pd.Series(["random" if value == "on" else None for value in frame["trick02"]], dtype=object)
    found = screened(frame, BASELINE | {"zipped": 0.1, "step": None})
    assert found is not None
    together = (("trick02", "on", "off"), ("zipped", 0.1, 0.2), ("step", "random", None))
    assert list(found.effects)[1] == together
    assert list(found.effects[together].values()) == pytest.approx([0.6] * 3)


def test_own_settings_and_code_of_a_trick_may_change_with_it() -> None:
    frame = sweep()
    frame["trick03.width"] = np.where(frame["trick03"] == "on", 2.0, np.nan)
    frame["code of trick03"] = frame["trick03"]
    assert effects_of(screened(frame, BASELINE))["trick03"] == pytest.approx([-0.5] * 3)


def test_runs_of_other_code_are_not_compared() -> None:
    frame = sweep()
    frame.loc[0, "code of core"] = "other"
    found = screened(frame, BASELINE)
    assert found is not None and 0 in found.left_out
    assert effects_of(found)["trick02"] == pytest.approx([0.6] * 2)


@pytest.mark.parametrize("kept", [slice(0, 12), slice(0, 23)])
def test_runs_whose_columns_are_not_orthogonal_are_no_screen(kept: slice) -> None:
    assert screened(sweep(1).iloc[kept], BASELINE) is None


def test_an_axis_of_three_values_is_no_screen() -> None:
    frame = sweep()
    frame.loc[0, "trick01"] = "half"
    assert screened(frame, BASELINE) is None
    assert screened(sweep(), {}) is None

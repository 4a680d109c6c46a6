"""Effects of a screen, through `effects`: contrasts of each seed in place of pairs."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paired import found, table
from records import finish
from scipy import stats

from sweeper.files import write_json
from sweeper.summary.effect_options import EffectOptions
from sweeper.summary.effects_text import show_effects
from sweeper.summary.outcomes import Tally
from sweeper.summary.report import render
from sweeper.summary.verdicts import verdict
from sweeper.sweep.designs import screening
from sweeper.sweep.saved import precision_of

TRICKS = ("norm", "loss", "mixing", "averaging", "views", "init", "augmentation.flip")
EFFECTS = np.array([0.02, 0.01, -0.01, 0.0, 0.0, 0.0, 0.0])


def runs(seeds: int = 4, **same: Any) -> list[dict[str, Any]]:
    """A screen of seven tricks whose first has an effect of another size in each seed, with some noise."""
    generator = np.random.default_rng(1)
    return [
        {name: "on" if sign > 0 else "off" for name, sign in zip(TRICKS, row, strict=True)}
        | {"seed": seed, "test_acc": 0.6 + row @ EFFECTS / 2 + generator.normal(scale=0.002), "test_images": 10_000}
        | same
        for seed in range(seeds)
        for row in screening(7)
    ]


BASELINE = dict.fromkeys(TRICKS, "off")


def test_a_screen_is_compared_by_the_contrasts_of_its_seeds() -> None:
    made = runs()
    result = found(table(*made), BASELINE)
    assert [comparison.changes[0].axis for comparison in result.comparisons] == sorted(TRICKS)
    accs = np.array([run["test_acc"] for run in made]).reshape(4, 24)
    for comparison in result.comparisons:
        column = screening(7)[:, TRICKS.index(comparison.changes[0].axis)]
        contrasts = 2 / 24 * accs @ column
        assert comparison.means == pytest.approx(contrasts)
        assert comparison.p == pytest.approx(stats.ttest_1samp(contrasts, 0).pvalue)
        interval = stats.t.interval(0.95, 3, contrasts.mean(), stats.sem(contrasts))
        assert comparison.interval == pytest.approx(interval, abs=1e-9)  # means are rounded
    assert result.interactions == []
    assert result.notes == [
        "digits: a screen of 7 tricks with 24 runs per seed; each effect is averaged over the other tricks; "
        "interactions are not estimated",
        "Intervals are for these 10,000 test images and do not cover the choice of other test images",
    ]


def test_a_seed_with_a_diverged_run_is_left_out_by_name() -> None:
    made = runs()
    made[30] |= {"state": "diverged", "test_acc": None}
    result = found(table(*made), BASELINE)
    assert {comparison.seeds for comparison in result.comparisons} == {3}
    assert "digits: seed 1 is left out, 1 of its runs is missing" in result.notes
    for comparison in result.comparisons:
        sign = screening(7)[30 - 24, TRICKS.index(comparison.changes[0].axis)]
        expected = (1, 48, 0, 48) if sign > 0 else (0, 48, 1, 48)
        assert comparison.diverged == Tally(*expected)
    norm = sorted(TRICKS).index("norm")
    assert verdict(result.comparisons[norm]).startswith("helps where all runs finish; diverged: ")
    scored = found(table(*(run | {"num_classes": 10} for run in made)), BASELINE, is_chance=True)
    assert {comparison.seeds for comparison in scored.comparisons} == {4}


def test_settings_that_change_together_are_named() -> None:
    made = [run | {"augmentation.crop_padding": 4 if run["norm"] == "on" else None} for run in runs()]
    result = found(table(*made), BASELINE | {"augmentation.crop_padding": "null"})
    assert len(result.comparisons) == 7
    (norm,) = [it.changes[0] for it in result.comparisons if "norm" in it.changes[0].name]
    assert (norm.name, norm.base_text) == ("augmentation.crop_padding=4 + norm=on", "null + off")


def test_runs_of_another_dataset_are_pairs_still() -> None:
    other = {"data": "cifar10", "data.fingerprint": "beef"}
    pairs: list[dict[str, Any]] = [
        {**dict.fromkeys(TRICKS, "off"), "norm": norm, "seed": seed, "test_acc": 0.5 + seed / 100, **other}
        for norm in ("off", "on")
        for seed in (0, 1)
    ]
    result = found(table(*runs(), *pairs), BASELINE)
    by_data = [
        (comparison.data, comparison.changes[0].axis)
        for comparison in result.comparisons
        if comparison.metric == "test_acc"
    ]
    assert by_data == [("cifar10", "norm"), *(("digits", name) for name in sorted(TRICKS))]


@pytest.mark.parametrize(
    ("precision", "anytime", "warns"), [(0.01, False, True), (0.01, True, False), (None, False, False)]
)
def test_a_sweep_with_a_precision_says_what_to_report(
    precision: float | None, anytime: bool, warns: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        for lr in (0.1, 0.2):
            finish(tmp_path, f"run-{seed}-{lr}", [0.5], test_acc=0.5 + lr * seed, seed=seed, batch_size=lr)
    folder = tmp_path / "sweeps" / "mine"
    folder.mkdir(parents=True)
    job = {"action": "train", "reason": "new", "epochs": 1, "changed": [], "overrides": []}
    job |= dict.fromkeys(("epoch", "seconds", "heartbeat"))
    jobs = [job | {"run_id": path.name} for path in (tmp_path / "runs").iterdir()]
    plan = {"command": "c", "created": 1.0, "concurrency": 1, "jobs": jobs, "precision": precision}
    write_json(folder / "sweep.json", plan)
    text = html.unescape(render(tmp_path, "mine"))
    assert ("test_acc: sweep.precision=0.01 chose the number of seeds" in text) == (precision is not None)
    show_effects(tmp_path, None, EffectOptions(anytime=anytime), precision=precision)
    assert ("test_acc: sweep.precision=0.01 chose the number of seeds" in capsys.readouterr().out) == warns


@pytest.mark.parametrize("asked", [{}, {"precision": None}, {"precision": 0.01}])
def test_the_precision_of_a_saved_plan(asked: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "mine"
    folder.mkdir(parents=True)
    write_json(folder / "sweep.json", {"command": "c", "created": 1.0, "concurrency": 1, "jobs": []} | asked)
    assert precision_of(tmp_path, "mine") == asked.get("precision")
    assert precision_of(tmp_path, None) is None

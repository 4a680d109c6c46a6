"""The answer in sentences: it claims what the statistics show, and no more."""

import io
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from paired import found, of_axis, runs, table
from records import finish
from rich.console import Console

from sweeper.summary.effects import Effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_lines import print_lines
from sweeper.summary.effects_rows import as_json
from sweeper.summary.effects_text import as_table, print_effects
from sweeper.summary.inference import Comparison
from sweeper.summary.other_images import ImageVariance
from sweeper.summary.outcomes import Tally
from sweeper.summary.report import render
from sweeper.summary.sentences import answers, digits_for, points, sentence

FAST = {"images_per_second": 100.0, "machine": "here", "batch_size": 32}


def norms(**accs: list[float]) -> Effects:
    """Runs of `norm`, the layer norm 10% slower, compared with none."""
    rows = [
        {**run, **FAST, "images_per_second": 100 / 1.1 if run["norm"] == "layer" else 100.0}
        for run in runs("norm", accs)
    ]
    return found(table(*rows), {"norm": "none"})


def lines(result: Effects) -> list[str]:
    (answer,) = answers(result)
    return answer.sentences


def test_what_helps_is_first_and_what_is_not_seen_has_bounds() -> None:
    result = norms(none=[0.5, 0.5, 0.5, 0.5], layer=[0.51, 0.49, 0.5, 0.5], batch=[0.55, 0.56, 0.57, 0.56])
    (answer,) = answers(result)
    assert answer.heading == "Test accuracy compared with norm=none (intervals: at least 95%):"
    # batch: sd 0.00816, 4 seeds; Holm's first of two: t(3) at 0.0125 is 4.177, half-width 0.0171. layer: t(3) at 0.025,
    # 3.182, the same sd: 0.0130.
    assert answer.sentences == [
        "norm=batch: +6.0 points (4.3 to 7.7; 4 seeds).",
        "norm=layer: no clear difference: 0.0 points, between -1.3 and +1.3 (4 seeds), 10% slower a step.",
    ]


def test_a_loss_is_a_loss_and_a_faster_step_is_said() -> None:
    result = norms(layer=[0.5, 0.5, 0.5], none=[0.55, 0.56, 0.57])
    comparison = of_axis(result, "norm")
    assert sentence(comparison) == "norm=layer: -6.0 points (-8.5 to -3.5; 3 seeds), 10% slower a step"
    assert comparison.cost is not None
    faster = replace(comparison, cost=replace(comparison.cost, step_time=0.75))
    assert sentence(faster).endswith("3 seeds), 25% faster a step")
    assert sentence(replace(comparison, cost=replace(comparison.cost, step_time=12.0))).endswith(
        "12 times the time a step"
    )
    assert sentence(replace(comparison, cost=replace(comparison.cost, step_time=1.004))).endswith("seeds)")


def test_one_seed_and_no_spread_give_no_interval() -> None:
    assert lines(norms(none=[0.5], batch=[0.55])) == [
        "norm=batch: +5.0 points with one seed, which shows nothing yet: more seeds needed."
    ]
    assert lines(norms(none=[0.5, 0.5], batch=[0.55, 0.55])) == [
        "norm=batch: the same in every seed: no spread to test against."
    ]


def main_comparison() -> Comparison:
    return of_axis(norms(none=[0.5] * 3, batch=[0.55, 0.56, 0.57]), "norm")


def test_restrictions_of_a_verdict_are_restrictions_of_its_sentence() -> None:
    one = main_comparison()
    text = sentence(replace(one, diverged=Tally(2, 5, 0, 5)))
    assert text == "norm=batch: +6.0 points where both runs finish (3.5 to 8.5; 3 seeds); diverged: 2 of 5 vs. 0 of 5"
    assert sentence(replace(one, precision=0.001)).endswith("; precision not reached")
    averaged = sentence(replace(one, averaged=("norm.lr",)))
    assert averaged == "norm=batch: no verdict: averaged over norm.lr; use --tune norm.lr"


def test_an_interval_for_other_images_that_reaches_0_is_beside_the_other() -> None:
    one = replace(main_comparison(), images=ImageVariance(1.0, 100, 0.1))
    assert one.is_significant
    text = sentence(one)
    low, high = one.other_images or (0, 0)
    assert low < 0 < high
    assert f"(3.5 to 8.5; 3 seeds; for other test images {points(low, 1)} to {points(high, 1)})" in text


def test_models_that_disagree_are_named() -> None:
    accs: dict[tuple[str, str], list[float]] = {
        ("cnn", "none"): [0.5, 0.5, 0.5, 0.5],
        ("cnn", "batch"): [0.7, 0.71, 0.7, 0.71],
        ("mlp", "none"): [0.5, 0.5, 0.5, 0.5],
        ("mlp", "batch"): [0.49, 0.49, 0.49, 0.48],
    }
    rows = [run for (model, norm), values in accs.items() for run in runs("norm", {norm: values}, model=model)]
    by_norm = next(text for text in lines(found(table(*rows), {"norm": "none"})) if text.startswith("norm="))
    assert by_norm.endswith(" on average, from -1.2 (mlp) to +20.5 (cnn).") and "points (" in by_norm
    opposed = {("mlp", "batch"): [0.3, 0.29, 0.31, 0.29]}
    rows = [
        run for (model, norm), values in (accs | opposed).items() for run in runs("norm", {norm: values}, model=model)
    ]
    by_norm = next(text for text in lines(found(table(*rows), {"norm": "none"})) if text.startswith("norm="))
    assert "opposite effects: " in by_norm and " on average, from -20.25 (mlp) to +20.50 (cnn); the mean is" in by_norm


def test_a_cost_that_other_load_hides_is_not_stated() -> None:
    rows = [
        {**run, **FAST, "images_per_second": 100 * (0.6 if (run["seed"] + (run["norm"] == "layer")) % 2 else 1.0)}
        for run in runs("norm", {"none": [0.5, 0.5, 0.5, 0.5], "layer": [0.55, 0.56, 0.57, 0.56]})
    ]
    result = found(table(*rows), {"norm": "none"})
    (comparison,) = [it for it in result.comparisons if it.metric == "test_acc"]
    assert comparison.cost is not None and comparison.cost.step_time is None and not comparison.cost.is_steady
    assert "a step" not in sentence(comparison)


def test_effects_that_depend_on_another_setting_are_named_with_the_remedy() -> None:
    accs = {0.5: [0.75, 0.754, 0.746], 0.1: [0.65, 0.648, 0.654]}
    rows = [
        run
        for lr, values in accs.items()
        for run in runs("activation", {"relu": [0.7, 0.7, 0.7], "selu": values}, optimizer__lr=lr)
    ]
    result = found(table(*rows), {"activation": "relu", "optimizer.lr": 0.1})
    text = next(text for text in lines(result) if text.startswith("activation="))
    assert "opposite effects: " in text and "from -4.93 (optimizer.lr=0.1) to +5.00 (optimizer.lr=0.5)" in text
    assert any("use --tune optimizer.lr" in line for line in caption(result))


def test_models_that_agree_are_given_with_their_range() -> None:
    rows = [
        run
        for model, gain in (("cnn", 0.04), ("mlp", 0.02))
        for run in runs(
            "norm", {"none": [0.5, 0.51, 0.52], "batch": [0.5 + gain, 0.51 + gain, 0.521 + gain]}, model=model
        )
    ]
    (text, *_) = [text for text in lines(found(table(*rows), {"norm": "none"})) if text.startswith("norm=")]
    assert "on average, from +2.03 (mlp) to +4.03 (cnn)" in text


def test_a_change_that_never_finishes_is_in_the_answer() -> None:
    frame = table(*runs("activation", {"relu": [0.5, 0.6], "gelu": [0.5, 0.6], "selu": [0.1, 0.1]}))
    frame.loc[frame["activation"] == "selu", "state"] = "diverged"
    assert lines(found(frame, {"activation": "relu"}))[-1] == "activation=selu: no run finished, 2 diverged."
    nothing = found(frame[frame["activation"] != "gelu"]).nothing or ""
    assert "activation=selu: no run finished, 2 diverged" in nothing and "Sweep over another trick" in nothing


def test_each_dataset_has_a_heading_and_other_measures_have_none() -> None:
    rows = [
        {**run, "data": data, "data__fingerprint": data}
        for data in ("digits", "other")
        for run in runs("norm", {"none": [0.5, 0.5], "batch": [0.6, 0.7]})
    ]
    headings = [answer.heading for answer in answers(found(table(*rows), {"norm": "none"}))]
    assert headings == [
        f"Test accuracy on {data} compared with norm=none (intervals: at least 95%):" for data in ("digits", "other")
    ]
    losses = runs("norm", {"none": [0.5, 0.6], "batch": [0.4, 0.6]}, measure="test_loss")
    assert answers(found(table(*losses), measures=("test_loss",))) == []


@pytest.mark.parametrize(
    "numbers, digits", [((0.016, 0.085), 1), ((-0.001, 0.003), 2), ((0.0004, 0.08), 2), ((0.05,), 1), ((0.0, 0.0), 2)]
)
def test_no_end_of_an_interval_is_rounded_to_0(numbers: tuple[float, ...], digits: int) -> None:
    assert digits_for(*numbers) == digits


def test_points_have_a_sign_unless_they_are_0() -> None:
    assert [points(number, 1) for number in (0.05, -0.05, 0.0, -0.00001)] == ["+5.0", "-5.0", "0.0", "0.0"]


def test_sentences_open_every_output(tmp_path: Path) -> None:
    for seed, (none, batch) in enumerate([(0.5, 0.6), (0.4, 0.6), (0.5, 0.7)]):
        for name, acc in (("none", none), ("batch", batch)):
            finish(tmp_path, f"{name}-{seed}", [0.5], acc, norm={"name": name}, seed=seed)
    result = norms(none=[0.5, 0.4, 0.5], batch=[0.6, 0.6, 0.7])
    (sentence_,) = lines(result)
    first, second, empty, *_ = as_table(result).splitlines()
    assert first.startswith("Test accuracy compared") and second == sentence_ and empty == ""
    assert json.loads(as_json(result))["answers"] == [{"heading": first, "sentences": [sentence_]}]
    page = render(tmp_path)
    start, end = page.index('<ul class="findings">'), page.index('id="d1-title"')
    name, _, text = sentence_.partition(": ")
    assert f"<b>{name}</b>: {text}" in page[start:end] and " points (" in text


@cache
def ten_axes() -> Effects:
    rows: list[dict[str, Any]] = []
    for axis in range(10):
        value = f"a-value-of-many-letters-{axis}"
        for name, accs in (("usual", [0.5, 0.51, 0.5]), (value, [0.9, 0.91, 0.91])):
            settings = {f"group__axis_{index}": "usual" for index in range(10)} | {f"group__axis_{axis}": name}
            rows += [{**settings, "seed": seed, "test_acc": acc, **FAST} for seed, acc in enumerate(accs)]
    return found(table(*rows), {f"group.axis_{index}": "usual" for index in range(10)})


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_every_width_shows_all_of_an_effect(width: int) -> None:
    """Ten axes with long values: at no width is a comparison cut."""
    result = ten_axes()
    file = io.StringIO()
    print_effects(result, Console(file=file, width=width, force_terminal=True, color_system=None))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    words = " ".join(text.split())
    assert len(result.comparisons) == 10
    for comparison in result.comparisons:
        name = f"{comparison.changes[0].axis}={comparison.changes[0].value}"
        assert words.count(f"{name}: +") == 1 and words.count(name) >= 2
        assert "[{:+.4f}, {:+.4f}]".format(*comparison.family or ()) in words


def test_lines_hold_what_the_table_does() -> None:
    rows = [
        run
        for model in ("cnn", "mlp")
        for run in runs("norm", {"none": [0.5] * 3, "batch": [0.6, 0.62, 0.61]}, model=model)
    ]
    result = found(table(*rows), {"norm": "none"})
    one = of_axis(result, "norm")
    file = io.StringIO()
    print_lines("test_acc", [one], Console(file=file, width=40, color_system=None))
    title, sides, *numbers, last = [line.rstrip() for line in file.getvalue().splitlines()]
    assert (title, sides) == ("test_acc", "norm=batch vs. none") and last.startswith("    mlp: +0.1100 [")

    for text in ("+0.1100", f"p {one.corrected:.4f}", "3 seeds", "2 of 2 models up", "helps"):
        assert re.search(rf"^  (.*  )?{re.escape(text)}(  .*)?$", "\n".join(numbers), re.MULTILINE), text

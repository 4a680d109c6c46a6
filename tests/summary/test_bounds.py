"""What a table and a sentence may not say: differences that are impossible, accuracies that were selected."""

from typing import Any

import pandas as pd
import pytest
from paired import found, of_axis, runs, table

from sweeper.summary.caption import caption as caption_of_runs
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table
from sweeper.summary.sentences import answers, sentence
from sweeper.summary.verdicts import verdict

RUINED = {"none": [0.90, 0.91], "batch": [0.10, 0.89]}  # differences -0.80 and -0.02: 95% is -5.4 to +4.5


def ruined(**more: Any) -> pd.DataFrame:
    return table(*runs("norm", RUINED, **more))


def test_seeds_that_disagree_exclude_no_possible_difference() -> None:
    result = found(ruined(), {"norm": "none"})
    one = of_axis(result, "norm")
    assert one.family == one.interval == (-1.0, 1.0) and one.is_vacuous
    disagree = "the seeds disagree too much to exclude any difference"
    assert sentence(one) == f"norm=batch: no clear difference: -41.0 points; {disagree} (2 seeds)"
    row = to_frame(result).iloc[0]
    assert tuple(row[["low", "high", "low_family", "high_family"]]) == (-1, 1, -1, 1)
    assert row["result"] == f"not significant: {disagree}"
    text = as_table(result)
    assert (
        "[-1.0000, +1.0000]" in text
        and "intervals end where no larger difference is possible, at ±1 or the epoch budget" in text
    )
    (plan,) = [line for line in caption(result) if line.startswith("test_acc: with 2 seeds")]
    assert plan.startswith("test_acc: with 2 seeds no possible difference of norm is")


def test_one_end_may_be_cut_and_epochs_and_losses_are_not() -> None:
    half = found(table(*runs("norm", {"none": [0.3, 0.3], "batch": [0.5, 0.42]})), {"norm": "none"})
    one = of_axis(half, "norm")
    assert one.family == pytest.approx((0.16 - 12.7062 * 0.04, 0.16 + 12.7062 * 0.04), abs=1e-4) and not one.is_cut
    high = of_axis(found(table(*runs("norm", {"none": [0.1, 0.1], "batch": [0.9, 0.8]})), {"norm": "none"}), "norm")
    assert high.family is not None and high.family[1] == 1.0 and high.family[0] > 0 and high.is_cut
    losses = table(*runs("norm", {"none": [0.1, 0.1], "batch": [9.0, 2.0]}, "test_loss"))
    loss = of_axis(found(losses, {"norm": "none"}, measures=["test_loss"]), "norm", "test_loss")
    assert loss.family is not None and loss.family[1] > 40


def test_models_and_precision_have_the_same_bounds() -> None:
    rows = [run for model in ("mlp", "cnn", "vit") for run in runs("norm", RUINED, model=model)]
    one = of_axis(found(table(*rows), {"norm": "none"}), "norm")
    assert one.new_model == (-1.0, 1.0) and all(model.family == (-1.0, 1.0) for model in one.models)
    fixed = of_axis(found(ruined(), {"norm": "none"}, precision=0.005), "norm")
    assert fixed.family == (-1.0, 1.0) and not fixed.is_precise


def test_sentences_say_that_test_images_selected_the_epochs() -> None:
    accs = {"none": [0.5, 0.51, 0.53], "batch": [0.6, 0.62, 0.63]}
    (answer,) = answers(found(table(*runs("norm", accs, data__val_size=0)), {"norm": "none"}))
    optimistic = "the test images selected the epochs, so both sides are optimistic"
    assert answer.heading == f"Test accuracy compared with norm=none (intervals: at least 95%; {optimistic}):"
    (answer,) = answers(found(table(*runs("norm", accs, data__val_size=50)), {"norm": "none"}))
    assert answer.heading == "Test accuracy compared with norm=none (intervals: at least 95%):"


def test_the_top_row_is_not_said_to_hold_where_test_images_selected_it() -> None:
    frame = table(*runs("norm", {"none": [0.5], "batch": [0.6]}, data__val_size=0)).assign(stale=False)
    lines = caption_of_runs(frame, [])
    assert "its best_val_acc is optimistic; its test_acc too, since it is of the same images" in lines[1]
    lines = caption_of_runs(frame.assign(**{"data.val_size": 9}), [])
    assert "its test_acc holds for these weights" in lines[1]


def test_a_seed_whose_run_diverged_is_not_said_to_be_of_other_code() -> None:
    rows: list[dict[str, Any]] = runs("norm", {"none": [0.5, 0.52, 0.53], "batch": [0.6, 0.61, None]})
    rows[-1] |= {"state": "diverged"}
    result = found(table(*rows, {"norm": "none", "seed": 3, "test_acc": 0.5}), {"norm": "none"})
    one = of_axis(result, "norm")
    assert one.left_out == ("seed 3 (lacks norm=batch)",) and one.diverged is not None and one.diverged.value == 1


def test_epochs_differ_by_no_more_than_their_budget() -> None:
    curves = {"none": ["0.1 0.5 0.5", "0.1 0.5 0.5"], "batch": ["0.5 0.5 0.5", "0.1 0.5 0.5"]}
    frame = table(*runs("norm", curves, "val_curve", epochs=3))
    one = of_axis(found(frame, {"norm": "none"}), "norm", "epochs_to_level")
    assert one.mean == -0.5 and one.family == (-2.0, 2.0) and one.is_vacuous
    unknown = of_axis(found(frame.drop(columns="epochs"), {"norm": "none"}), "norm", "epochs_to_level")
    assert unknown.family is not None and unknown.family[0] < -5
    tied = frame.assign(val_curve="0.1 0.5 0.5")
    assert verdict(of_axis(found(tied, {"norm": "none"}), "norm", "epochs_to_level")).endswith("difference in any pair")
    result = found(tied.assign(epochs=1), {"norm": "none"})
    short = of_axis(result, "norm", "epochs_to_level")
    assert short.family == (0, 0) and not short.is_vacuous
    assert not any(line.startswith("epochs") and "true difference" in line for line in caption(result))
    target = frame.assign(epochs_to_target=[3, 2, ">3", 1])
    assert of_axis(found(target, {"norm": "none"}), "norm", "epochs_to_target").family == (-3.0, 3.0)

"""The baseline: the value of each axis with which the others are compared."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from paired import found, runs, table

from sweeper.errors import UserError
from sweeper.summary.effects import effects
from sweeper.summary.effects_tables import name_change
from sweeper.summary.effects_text import as_table
from sweeper.summary.table import lay_out
from sweeper.sweep.baseline import center, config_defaults


def test_the_baseline_is_the_given_value_then_the_configs_then_the_most_common() -> None:
    frame = table(*runs("model", {"mlp": [1, 2], "cnn": [3, 4, 5]}))
    assert found(frame).baseline == {"model": "cnn"}
    assert effects(frame, defaults={"model": "mlp"}).baseline == {"model": "mlp"}
    assert effects(frame, defaults={"model": "vit"}).baseline == {"model": "cnn"}
    assert effects(frame, {"model": "cnn"}, defaults={"model": "mlp"}).baseline == {"model": "cnn"}
    assert "Baseline: model=cnn" in as_table(found(frame))


def test_ties_go_to_the_smallest() -> None:
    assert found(table(*runs("batch_size", {128: [1], 64: [2], 256: [2]}))).baseline == {"batch_size": 64}
    assert found(table(*runs("activation", {"tanh": [1], "selu": [2]}))).baseline == {"activation": "selu"}


def test_the_baseline_of_a_recipe_is_the_recipe() -> None:
    """In leave_one_out, all differ from the full recipe in one setting; two settings could be a part of all four."""
    tricks: dict[str, Any] = {"norm": "batch", "activation": "gelu", "scheduler": "cosine"}
    without = {"norm": "none", "activation": "relu", "scheduler": "constant"}
    recipes = [tricks, *(tricks | {name: value} for name, value in without.items())]
    made = [recipe | {"seed": seed, "test_acc": 0.5 + seed / 9} for recipe in recipes for seed in (0, 1, 2)]
    assert effects(table(*made), defaults=without).baseline == tricks
    assert effects(table(*made), {"norm": "none"}, defaults=without).baseline == tricks | {"norm": "none"}
    two = [run for run in made if run["scheduler"] == "cosine"]
    assert effects(table(*two), defaults=without).baseline == {"norm": "none", "activation": "relu"}
    both = tricks | {"norm": "none", "activation": "relu"}
    few = [*made, *(both | {"seed": seed, "test_acc": 0.4} for seed in (0, 1))]
    result = effects(table(*few), defaults=without)
    assert result.baseline == tricks  # one configuration of five does not hide the recipe
    chosen = "the others are single changes of the baseline, which was chosen without 2 runs that change several of its"
    assert f"{chosen} settings: run-0012, run-0013" in result.notes
    others = [without, {"norm": "layer", "activation": "selu", "scheduler": "step"}]
    many = [*few, *(other | {"seed": 0, "test_acc": 0.4} for other in others)]
    result = effects(table(*many), defaults=without)
    assert result.baseline == without and not any("single changes" in note for note in result.notes)


@pytest.mark.parametrize(
    "rows, middle",
    [
        (["000", "100", "010", "001", "002"], "000"),
        (["111", "011", "101", "110"], "111"),
        (["000", "100", "010", "001", "011"], "000"),
        (["000", "100", "010", "001", "002", "011", "121"], "000"),
        (["000", "100", "010", "001", "011", "110"], None),
        (["000", "100", "010", "110", "111"], "110"),
        (["11", "01", "10"], None),
        (["000", "111"], None),
        (["100", "010", "001"], None),
        (["0", "1", "2"], None),
        ([], None),
    ],
)
def test_the_center_of_configurations(rows: list[str], middle: str | None) -> None:
    assert center(map(tuple, rows)) == (None if middle is None else tuple(middle))


def test_the_baseline_run_is_read_from_conf() -> None:
    defaults = config_defaults()
    assert (defaults["activation"], defaults["model"], defaults["optimizer"]) == ("relu", "cnn_pool", "adam")
    assert (defaults["dropout.rate"], defaults["optimizer.lr"]) == (0, 0.0005)
    assert effects(table(*runs("activation", {"gelu": [1, 2, 3], "relu": [2, 2]}))).baseline == {"activation": "relu"}


def test_without_conf_there_are_no_defaults(tmp_path: Path) -> None:
    assert config_defaults(tmp_path) == {}


@pytest.mark.parametrize("text", ["0.001", "1e-3", "0.0010"])
def test_a_number_may_be_spelled_in_any_way(text: str) -> None:
    frame = table(*runs("optimizer__lr", {0.1: [1, 2], 0.001: [2, 3]}, optimizer="sgd"))
    assert found(frame, {"optimizer.lr": text}).baseline == {"optimizer.lr": 0.001}


def test_lists_and_booleans_may_be_spelled_in_any_way_too() -> None:
    frame = table(*runs("model__hidden", {"[64, 64]": [1, 2], "[128]": [2, 3]}))
    assert found(frame, {"model.hidden": "[64,64]"}).baseline == {"model.hidden": "[64, 64]"}
    frame = table(*runs("nesterov", {True: [1, 2], False: [2, 3]}))
    assert found(frame, {"nesterov": "true"}).baseline == {"nesterov": True}


@pytest.mark.parametrize(
    "baseline, sentence",
    [
        (
            {"activatoin": "relu"},
            "--baseline: unknown axis activatoin (did you mean activation?); axes that vary: activation",
        ),
        ({"seed": "0"}, "--baseline: unknown axis seed; axes that vary: activation"),
        ({"model": "mlp"}, "--baseline: unknown axis model; axes that vary: activation"),
        (
            {"activation": "rely"},
            "--baseline activation=rely: no finished run has it (did you mean relu?); values: relu, selu",
        ),
        ({"activation": ""}, "--baseline activation=: no finished run has it; values: relu, selu"),
    ],
)
def test_an_unknown_baseline_is_a_user_error(baseline: dict[str, str], sentence: str) -> None:
    frame = table(*runs("activation", {"relu": [1, 2], "selu": [2, 4]}))
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        found(frame, baseline)


def test_layers_of_its_own_follow_from_a_network() -> None:
    """model=fcn32s,unet as typed: the one brings its norm, the other's is chosen by its preset."""
    chosen = {"unet": "batch", "fcn32s": "own"}
    made = [
        {"model": model, "norm": norm, "code": json.dumps({"model": model, "norm": norm, "core": "0"}), "seed": seed}
        for model, norm in chosen.items()
        for seed in (0, 1, 2)
    ]
    frame = table(*(row | {"test_acc": 0.5 + number / 9} for number, row in enumerate(made)))
    answer = found(frame)
    assert answer.baseline == {"model": "fcn32s"} and answer.comparisons[0].changes[0].axis == "model"
    assert "model=unet implies norm=batch" in lay_out(frame, over="seed")[1]
    more = [*made, {**made[0], "norm": "none", "code": str(made[0]["code"]).replace("batch", "none")}]
    frame = table(*(row | {"test_acc": 0.5 + number / 9} for number, row in enumerate(more)))
    assert {comparison.changes[0].axis for comparison in found(frame).comparisons} == {"norm"}
    plain = [{**row, "norm": {"own": "none"}.get(str(row["norm"]), row["norm"])} for row in made]
    frame = table(*(row | {"test_acc": 0.5 + number / 9} for number, row in enumerate(plain)))
    (both,) = {name_change(one) for one in found(frame).comparisons}
    assert both == "model=unet + norm=batch"  # of layers that are chosen, either may be the cause


def test_a_model_without_slots_is_a_single_change_of_the_center() -> None:
    recipe = {"model": "mlp", "activation": "relu", "norm": "none", "loss": "ce"}
    single: list[dict[str, Any]] = [recipe, *(recipe | {name: "other"} for name in ("activation", "norm", "loss"))]
    single += [recipe | {"model": name, "activation": None, "norm": None} for name in ("softmax", "linear")]
    made = [{**config, "seed": seed, "test_acc": seed / 9} for config in single for seed in (0, 1)]
    result = effects(table(*made), defaults={"activation": "other"})
    assert result.baseline == recipe and not any("chosen without" in note for note in result.notes)

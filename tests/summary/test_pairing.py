"""Pairs of runs that differ in one setting alone."""

import json
import math
from typing import Any

import pandas as pd
import pytest
from paired import changes, found, of_axis, runs, table

from sweeper.summary.effects import effects
from sweeper.summary.effects_text import as_table
from sweeper.summary.gather import Skipped

SOFTMAX: dict[str, Any] = {"model": "softmax", "activation": None, "norm": None}


def test_unmatched_and_unfinished_runs_are_left_out() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2, 100], "selu": [3, 5]}),  # relu's seed 2 has no partner
        {"activation": "selu", "seed": 2, "test_acc": 7, "state": "failed"},
        {"activation": "selu", "seed": 3, "test_acc": 7, "state": "running"},
        {"activation": "selu", "seed": 4, "state": "running"},
        {"activation": "tanh", "seed": 0, "test_acc": 9, "batch_size": 32},  # and differs in more than activation
    )
    result = effects(frame, defaults={}, skipped=Skipped(unreadable=["foreign"]))
    assert changes(result.comparisons) == {"activation=selu<relu": (2.5, 2)}  # (3 - 1 + 5 - 2) / 2
    assert (result.runs, result.left_out) == (6, {"failed": 1, "running": 2, "unreadable": 1})
    assert "6 finished runs; 4 left out: 1 failed, 2 running, 1 unreadable" in as_table(result)
    note = "activation=tanh has no matching pair: the nearest runs of activation=relu also differ in batch_size"
    assert note in result.notes


def test_pairs_agree_in_everything_else_and_in_the_seed() -> None:
    frame = table(
        *({"activation": name, "seed": seed, "epochs": 3, "test_acc": 1} for name, seed in (("relu", 0), ("selu", 1))),
        *(
            {"activation": name, "seed": 5, "epochs": epochs, "test_acc": 1}
            for name, epochs in (("relu", 3), ("selu", 4))
        ),
    )
    result = found(frame)
    assert result.comparisons == []
    assert result.nothing is not None and "activation=selu has no matching pair" in result.nothing
    # Nearest: relu and selu of epochs 3, whose seeds are 0 and 1.
    assert "the nearest runs of activation=relu also differ in seed" in result.nothing
    # Of epochs 3, one differs from selu's of 4 in seed as well and one in activation; the first counts.
    assert "the nearest runs of epochs=3 also differ in seed" in result.nothing


def test_a_choice_is_compared_with_its_own_settings() -> None:
    mlp, cnn = {"model": "mlp", "model__hidden": "[1024]"}, {"model": "cnn", "model__channels": "[16]"}
    frame = table(
        *(
            {**run, "seed": seed, "test_acc": seed * run["factor"]}
            for seed in (1, 2)
            for run in (mlp | {"factor": 2}, cnn | {"factor": 5})
        )
    )
    frame = frame.drop(columns="factor")
    result = found(frame, {"model": "mlp"})
    assert result.baseline == {"model": "mlp"}
    assert changes(result.comparisons) == {"model=cnn<mlp": (4.5, 2)}  # (5 - 2 + 10 - 4) / 2


def test_a_setting_that_varies_within_a_choice_is_an_axis() -> None:
    sizes = {"[64]": [1.0, 2.0], "[512]": [4.0, 6.0]}
    frame = table(*runs("model__hidden", sizes), *runs("model", {"cnn": [10.0, 20.0, 30.0]}))
    result = found(frame, {"model": "mlp", "model.hidden": "[64]"})
    assert changes(result.comparisons) == {
        "model=cnn<mlp": (13.5, 2),  # against the baseline's mlp, not against the mean of both: (10 - 1 + 20 - 2) / 2
        "model.hidden=[512]<[64]": (3.5, 2),  # (4 - 1 + 6 - 2) / 2
    }
    assert "model=cnn is compared with model=mlp at model.hidden=[64]" in result.notes
    assert found(frame).baseline["model.hidden"] == "[512]"  # as text the smaller one; not cnn's null, though 3 have it


def test_a_learning_rate_is_compared_within_its_optimizer() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2], 0.01: [3, 5]}, optimizer="sgd", optimizer__momentum=0.9),
        *runs("optimizer__lr", {0.1: [10, 11], 0.01: [20, 20]}, optimizer="adam"),
    )
    result = found(frame, {"optimizer": "sgd", "optimizer.lr": 0.1})
    assert changes(result.comparisons) == {
        "optimizer=adam<sgd": (12.5, 2),  # seeds: (10 + 20 - 1 - 3) / 2 = 13, (11 + 20 - 2 - 5) / 2 = 12
        "optimizer.lr=0.01<0.1": (6, 4),  # 2, 3, 10, 9
    }
    assert changes(result.interactions) == {"optimizer=adam<sgd optimizer.lr=0.01<0.1": (7, 2)}  # 10 - 2, 9 - 3


def one_at_a_time() -> pd.DataFrame:
    """Return optimizer=adam,sgd optimizer.weight_decay=0,0.1 of the design one_at_a_time, two seeds."""
    return table(
        *runs("optimizer__weight_decay", {0.0: [10, 20], 0.1: [14, 28]}, optimizer="adam"),
        *runs("optimizer__weight_decay", {0.0: [11, 23]}, optimizer="sgd"),
    )


def test_a_choice_run_once_is_compared_with_the_baseline_run() -> None:
    result = found(one_at_a_time(), {"optimizer": "adam", "optimizer.weight_decay": 0.0})
    assert changes(result.comparisons) == {
        "optimizer=sgd<adam": (2, 2),  # 11 - 10 and 23 - 20, not (11 - 12) and (23 - 24)
        "optimizer.weight_decay=0.1<0.0": (6, 2),
    }
    assert not any(comparison.averaged for comparison in result.comparisons)


@pytest.mark.parametrize("state", ["failed", "diverged"])
def test_a_baseline_run_without_result_is_not_replaced_by_another(state: str) -> None:
    frame = one_at_a_time()
    frame.loc[0, "state"] = state  # adam, weight decay 0, the first seed
    result = found(frame, {"optimizer": "adam", "optimizer.weight_decay": 0.0})
    comparison = result.comparisons[0]
    assert changes([comparison]) == {"optimizer=sgd<adam": (3, 1)}
    tally = comparison.failed if state == "failed" else comparison.diverged
    assert tally is not None and tally.text == "0 of 2 vs. 1 of 2"


def test_an_incomplete_grid_without_the_baselines_value_is_compared_at_a_value_of_both() -> None:
    frame = table(
        *runs("optimizer__weight_decay", {0.0: [10, 20], 0.1: [14, 28]}, optimizer="adam"),
        *runs("optimizer__weight_decay", {0.1: [11, 23]}, optimizer="sgd"),
    )
    comparison = found(frame, {"optimizer": "adam", "optimizer.weight_decay": 0.0}).comparisons[0]
    assert changes([comparison]) == {"optimizer=sgd<adam": (-4, 2)}  # 11 - 14 and 23 - 28
    assert not comparison.averaged


def test_seeds_without_the_baselines_own_value_are_left_out() -> None:
    """They are not compared at another value, which would be the effect of both."""
    frame = table(
        *runs("optimizer__lr", {0.0005: [60, 61], 0.001: [50, 52, 30, 31]}, optimizer="adam"),
        *runs("optimizer__lr", {0.1: [62, 64, 62, 64]}, optimizer="sgd"),
    )
    result = found(frame, {"optimizer": "adam", "optimizer.lr": 0.0005})
    comparison = of_axis(result, "optimizer")
    assert comparison.means == (2, 3)
    assert comparison.left_out == ("seeds 2, 3 (lack optimizer=adam at optimizer.lr=0.0005)",)
    assert "optimizer=sgd at optimizer.lr=0.1 is compared with optimizer=adam at optimizer.lr=0.0005" in result.notes


BASE = {"optimizer": "sgd", "optimizer.lr": 0.1}


def test_an_average_has_the_same_values_in_every_seed() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2, 3], 0.01: [3, 5, 7], 1.0: [4, 6, 8]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.5: [10, 11, 12], 0.05: [20, 20]}, optimizer="adam"),
    )
    result = of_axis(found(frame, BASE), "optimizer")
    assert result.means == (14, 13.5)  # (10 + 20) / 2 - 1, (11 + 20) / 2 - 2
    assert len(result.left_out) == 1 and result.left_out[0].startswith("seed 2 (")


def test_a_run_at_another_value_in_one_seed_changes_nothing() -> None:
    pairs = [
        *runs("optimizer__lr", {0.1: [1, 2, 3, 4, 5]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.5: [10, 12, 14, 16, 18]}, optimizer="adam"),
    ]
    more = [
        *runs("optimizer__lr", {0.01: [7]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.05: [20]}, optimizer="adam"),
    ]
    one = of_axis(found(table(*pairs, *more), BASE), "optimizer")
    assert one.means == (9, 10, 11, 12, 13) and not one.averaged and not one.left_out
    (last,) = (run for run in pairs if (run["optimizer"], run["seed"]) == ("adam", 4))
    last["optimizer__lr"] = 0.05
    few = of_axis(found(table(*pairs, more[0]), BASE), "optimizer")
    assert few.means == (9, 10, 11, 12)
    assert few.left_out == ("seed 4 (lacks optimizer=adam at optimizer.lr=0.5)",)


def test_single_runs_at_the_baselines_value_do_not_replace_a_shared_one() -> None:
    frame = table(
        *runs("optimizer__lr", {0.01: [1, 2, 3, 4, 5], 0.1: [9]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.01: [2, 4, 6, 8, 10]}, optimizer="adam"),
        {"optimizer": "adam", "optimizer__lr": 0.1, "seed": 1, "test_acc": 0},
    )
    assert of_axis(found(frame, BASE), "optimizer").means == (1, 2, 3, 4, 5)


def test_a_seed_with_a_part_of_a_full_grid_is_left_out() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2, 3], 0.01: [3, 5, 7]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.1: [10, 11, 12], 0.01: [20, 20, 20]}, optimizer="adam"),
    )
    frame.loc[5, "state"] = "diverged"  # sgd, 0.01, seed 2
    one = of_axis(found(frame, BASE), "optimizer")
    assert one.means == (13, 12)  # (10 + 20 - 1 - 3) / 2, (11 + 20 - 2 - 5) / 2
    assert one.averaged and one.diverged is not None and one.diverged.text == "0 of 6 vs. 1 of 6"


def test_a_rate_at_which_all_runs_diverge_leaves_the_others_to_compare() -> None:
    frame = table(
        *runs("optimizer__lr", {0.1: [1, 2], 1.0: [3, 5]}, optimizer="sgd"),
        *runs("optimizer__lr", {0.1: [10, 11], 1.0: [20, 20]}, optimizer="adam"),
    )
    frame.loc[[2, 3], "state"] = "diverged"  # sgd, 1.0
    assert of_axis(found(frame, BASE), "optimizer").means == (9, 9)


def test_the_note_on_own_settings_is_of_the_pairs() -> None:
    frame = table(
        *runs("model", {"cnn": [60, 61]}, optimizer__lr=0.01, model__hidden=None),
        *runs("model", {"mlp": [50, 51]}, optimizer__lr=0.01, model__hidden="[64]"),
        *runs("model", {"mlp": [52, 53]}, optimizer__lr=0.1, model__hidden="[1024]"),
        *runs("model", {"mlp": [52, 53]}, optimizer__lr=0.2, model__hidden="[1024]"),
    )
    result = found(frame, {"model": "mlp", "model.hidden": "[1024]"})
    assert of_axis(result, "model").means == (10, 10)
    assert "model=cnn is compared with model=mlp at model.hidden=[64]" in result.notes


def test_a_choice_with_its_own_value_is_compared_with_the_baseline_run() -> None:
    frame = table(
        *runs("optimizer__lr", {0.001: [10, 20], 0.01: [14, 28]}, optimizer="adam"),
        *runs("optimizer__lr", {0.1: [11, 23]}, optimizer="sgd"),  # as its preset has it
    )
    comparison = found(frame, {"optimizer": "adam", "optimizer.lr": 0.001}).comparisons[0]
    assert changes([comparison]) == {"optimizer=sgd<adam": (2, 2)} and not comparison.averaged
    notes = found(frame, {"optimizer": "adam", "optimizer.lr": 0.001}).notes
    assert "optimizer=sgd at optimizer.lr=0.1 is compared with optimizer=adam at optimizer.lr=0.001" in notes


def test_runs_of_different_datasets_are_never_paired() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2]}, data__fingerprint="a", data__mean="[0.5]"),
        *runs("activation", {"relu": [5, 5], "selu": [7, 8]}, data__fingerprint="b", data__mean="[0.4]"),
    )
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (2.5, 2)}
    assert list(result.baseline) == ["activation"]  # data.mean follows from the dataset
    only_other = frame[(frame["data.fingerprint"] == "a") | (frame["activation"] == "selu")]
    assert "also differ in data" in (found(only_other).nothing or "")


def test_a_dataset_is_the_same_for_every_reader() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2]}, data="cifar10"),
        *runs("activation", {"selu": [4, 4]}, data="image_folder"),
    )
    assert changes(found(frame).comparisons) == {"activation=selu<relu": (2.5, 2)}


def test_a_rate_of_dropout_is_compared_with_none() -> None:
    frame = table(*runs("dropout__rate", {0.0: [1, 2], 0.5: [2, 4]}), *runs("model", {"softmax": [1, 2]}))
    frame = frame[frame["model"] == "mlp"]
    assert changes(found(frame).comparisons) == {"dropout.rate=0.5<0.0": (1.5, 2)}
    assert changes(found(frame, {"dropout.rate": "0.5"}).comparisons) == {"dropout.rate=0.0<0.5": (-1.5, 2)}
    assert effects(frame).baseline == {"dropout.rate": 0}  # the baseline run's dropout=none


def test_a_model_without_a_slot_counts_as_having_the_baseline_in_it() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2], "selu": [10, 20]}, norm="none"),
        *runs("model", {"softmax": [5, 8]}, activation=None, norm=None),
    )
    result = found(frame, {"model": "softmax", "activation": "relu"})
    assert changes(result.comparisons) == {"activation=selu<relu": (13.5, 2), "model=mlp<softmax": (-5, 2)}
    other = found(frame, {"model": "softmax", "activation": "selu"})
    assert changes(other.comparisons) == {"activation=relu<selu": (-13.5, 2), "model=mlp<softmax": (8.5, 2)}
    assert result.interactions == []  # softmax has no selu
    without = frame[(frame["model"] == "softmax") | (frame["seed"] == 0)]
    assert found(without).baseline["activation"] == "relu"  # not null, though most have that


def test_a_model_without_a_slot_has_pairs_despite_the_slots_settings() -> None:
    leaky = {"activation": "leaky_relu"}
    frame = table(
        *runs("activation__negative_slope", {0.01: [1, 1], 0.1: [2, 2]}, **leaky), {**SOFTMAX, "seed": 1, "test_acc": 4}
    )
    baseline = {"model": "mlp", "activation.negative_slope": 0.1}
    assert changes(found(frame, baseline).comparisons) == {
        "activation.negative_slope=0.01<0.1": (-1, 2),
        "model=softmax<mlp": (2, 1),
    }


def test_a_setting_that_is_null_is_a_value() -> None:
    frame = table(*runs("grad_clip", {None: [1, 2], 1.0: [3, 5]}))
    result = found(frame)
    assert changes(result.comparisons) == {"grad_clip=1.0<None": (2.5, 2)} and result.baseline == {"grad_clip": None}
    assert changes(found(frame, {"grad_clip": "1"}).comparisons) == {"grad_clip=None<1.0": (-2.5, 2)}
    assert "grad_clip=1 │ null " in as_table(result)


@pytest.mark.parametrize("missing", [None, math.nan, "", "text", math.inf])
def test_a_run_without_a_result_is_left_out_of_its_comparisons(missing: Any) -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 3], "selu": [2, 4, missing]}, val_curve="0.5"))
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)}
    assert changes(result.comparisons, "epochs_to_level") == {"activation=selu<relu": (0, 3)}
    assert "1 finished run without test_acc" in result.notes


def code(**groups: str) -> str:
    return json.dumps({"core": "c0", "optimizer": "adam", **groups}, sort_keys=True)


def test_runs_of_different_code_are_not_paired() -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 5], "selu": [2, 4, 9]}))
    versions = ("now", "old", "older", "now", "old", "old")  # relu and selu of seed 2 are stale in two ways
    frame["code"] = [code(core=version) for version in versions]
    frame["stale"] = [version != "now" for version in versions]
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)}
    assert "4 of the finished runs are stale; pairs share all code except that of the compared choice" in result.notes
    sentences = found(frame[frame["seed"] == 2]).nothing or ""
    assert "the nearest runs of activation=relu also differ in code of core" in sentences
    assert sentences.endswith(". Rerun the sweep to retrain stale runs.") and "train.py" not in sentences
    both = frame[(frame["seed"] == 2) & (frame["activation"] == "relu") | (frame["seed"] == 1)].assign(seed=[1, 3, 4])
    assert "Sweep over one trick at a time" in (found(both).nothing or "")  # retrained, they would differ in seed


@pytest.mark.parametrize(
    ("axis", "group", "pairs"),
    [
        ("optimizer", "optimizer", True),
        ("optimizer.lr", "optimizer", False),  # a rate chooses no code
        ("optimizer.lr", "core", False),
        ("optimizer.lr", "model", False),
        ("augmentation.flip", "augmentation", True),
        ("batch_size", "optimizer", False),
    ],
)
def test_pairs_agree_in_all_code_but_that_which_their_axis_chooses(axis: str, group: str, pairs: bool) -> None:
    frame = table(*runs(axis.replace(".", "__"), {1: [1, 2], 2: [2, 4]}))
    frame["code"] = [code(**{group: str(value)}) for value in frame[axis]]
    assert bool(found(frame).comparisons) == pairs
    assert [*found(frame).baseline] == ([axis] if pairs else [])


def test_code_that_not_all_runs_have_is_a_difference_unless_the_slot_is_missing() -> None:
    frame = table(*runs("model", {"mlp": [1, 2]}), *runs("model", {"softmax": [3, 5]}, activation=None))
    frame["code"] = [code(activation="relu"), code(activation="relu"), code(), code()]
    assert changes(found(frame, {"model": "mlp"}).comparisons) == {"model=softmax<mlp": (2.5, 2)}
    frame["code"] = [code(mixing="mixup"), code(mixing="mixup"), code(), code()]
    assert "also differ in code of mixing" in (found(frame).nothing or "")


def test_a_missing_slot_has_the_code_of_the_baselines_value() -> None:
    frame = table(
        *runs("activation", {"relu": [1, 2], "selu": [10, 20]}, model="mlp"),
        *runs("model", {"softmax": [5, 8]}, activation=None),
    )
    frame["code"] = [*[code(activation="relu")] * 2, *[code(activation="selu")] * 2, code(), code()]
    for baseline, mean in (("relu", -5), ("selu", 8.5)):
        comparisons = found(frame, {"model": "softmax", "activation": baseline}).comparisons
        assert changes(comparisons)["model=mlp<softmax"] == (mean, 2)


@pytest.mark.parametrize("column", ["torch", "device_type"])
def test_runs_of_different_environments_are_not_paired(column: str) -> None:
    frame = table(*runs("activation", {"relu": [1, 2, 5], "selu": [2, 4, 9]}))
    frame[column] = ["a", "a", "a", "a", "a", "b"]
    result = found(frame)
    assert changes(result.comparisons) == {"activation=selu<relu": (1.5, 2)} and [*result.baseline] == ["activation"]
    assert f"also differ in {column}" in (found(frame[frame["seed"] == 2]).nothing or "")


def test_a_step_that_is_off_is_null() -> None:
    frame = table(*runs("augmentation__crop_padding", {None: [1, 2], 4: [3, 5]}))
    result = found(frame)
    assert changes(result.comparisons) == {"augmentation.crop_padding=4.0<None": (2.5, 2)}
    assert "augmentation.crop_padding=4 │ null " in as_table(result)
    turned = found(frame, {"augmentation.crop_padding": "4"})
    assert changes(turned.comparisons) == {"augmentation.crop_padding=None<4.0": (-2.5, 2)}


def test_a_group_that_is_absent_by_default_has_null_as_baseline() -> None:
    frame = table(*runs("mixing", {None: [1], "mixup": [3, 5]}))
    assert effects(frame, defaults={"mixing": "none"}).baseline == {"mixing": None}
    assert effects(frame, defaults={}).baseline == {"mixing": "mixup"}  # the most common

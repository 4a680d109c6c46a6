"""Settings that always change together: one change, named in full."""

import json
from typing import Any

import pytest
from paired import changes, found, of_axis, runs, table

from sweeper.errors import UserError
from sweeper.summary.effects import effects
from sweeper.summary.effects_rows import to_frame
from sweeper.summary.effects_text import as_table
from sweeper.summary.sentences import answers

MLP: dict[str, Any] = {"model": "mlp", "optimizer": "adam", "optimizer__lr": 0.001}
CNN: dict[str, Any] = {"model": "cnn", "optimizer": "sgd", "optimizer__lr": 0.1}


def zipped(**more: Any) -> list[dict[str, Any]]:
    return [
        {**config, **more, "seed": seed, "test_acc": acc + seed / 100 + (seed == 2) / 1000}
        for config, acc in ((MLP, 0.5), (CNN, 0.5625))
        for seed in range(3)
    ]


def test_zipped_settings_are_one_change_with_both_names() -> None:
    frame = table(*zipped())
    frame["code"] = [json.dumps({"core": "c", "optimizer": name}) for name in frame["optimizer"]]
    result = found(frame, {"model": "mlp"})
    assert changes(result.comparisons) == {"model=cnn<mlp": (0.0625, 3)}
    (change,) = {it.changes[0] for it in result.comparisons}
    assert (change.name, change.base_name) == ("model=cnn + optimizer=sgd", "model=mlp + optimizer=adam")
    (answer,) = answers(result)
    assert answer.heading.startswith("Test accuracy compared with model=mlp + optimizer=adam (")
    assert answer.sentences[0].startswith("model=cnn + optimizer=sgd: ")
    assert "model=cnn + optimizer=sgd │ mlp + adam" in as_table(result)
    assert "Baseline: model=mlp + optimizer=adam\n" in as_table(result)
    assert to_frame(result)["together"].tolist()[0] == "model=cnn + optimizer=sgd vs. model=mlp + optimizer=adam"


def test_settings_that_two_runs_have_apart_are_not_merged() -> None:
    apart = [{**MLP, "optimizer": "sgd", "optimizer__lr": 0.1, "seed": seed, "test_acc": 0.5} for seed in range(3)]
    result = found(table(*zipped(), *apart), {"model": "mlp"})
    assert {it.changes[0].name for it in result.comparisons} == {"model=cnn", "optimizer=adam"}


def test_a_setting_that_changes_with_a_choices_own_is_still_paired() -> None:
    """sgd's rate and scheduler change together; sgd is not compared with adam at another scheduler."""
    points = {("sgd", 0.1): "cosine", ("sgd", 0.01): "step", ("adam", 0.001): "constant"}
    rows = [
        {"optimizer": optimizer, "optimizer__lr": lr, "scheduler": scheduler, "seed": seed, "test_acc": 0.5}
        for (optimizer, lr), scheduler in points.items()
        for seed in range(3)
    ]
    result = found(table(*rows), {"optimizer": "adam"})
    assert result.comparisons == []
    assert "the nearest runs of optimizer=adam also differ in scheduler, optimizer.lr" in str(result.nothing)
    again = [{**row, "optimizer__lr": 0.001, "scheduler": "constant"} for row in rows[:3]]
    one = of_axis(found(table(*rows, *again), {"optimizer": "adam", "optimizer.lr": "0.001"}), "optimizer")
    assert (one.changes[0].name, one.seeds) == ("optimizer=sgd", 3)


@pytest.mark.parametrize(("lr", "scheduler"), [(0.1, "cosine"), (0.01, "step")])
def test_a_baseline_may_be_what_changes_with_the_setting_that_leads(lr: float, scheduler: str) -> None:
    rows = [
        {"optimizer": optimizer, "optimizer__lr": rate, "scheduler": name, "seed": seed, "test_acc": seed / 10}
        for optimizer in ("sgd", "adam")
        for rate, name in ((0.1, "cosine"), (0.01, "step"))
        for seed in range(3)
    ]
    result = found(table(*rows), {"optimizer.lr": lr})
    assert of_axis(result, "scheduler").changes[0].base_name == f"scheduler={scheduler} + optimizer.lr={lr}"


def test_own_settings_of_two_choices_that_change_within_them_are_one_change() -> None:
    rows = [
        {
            "model": model,
            "optimizer": optimizer,
            "model__hidden": hidden,
            "optimizer__lr": lr,
            "seed": seed,
            "test_acc": lr + seed / 100,
        }
        for model in ("a", "b")
        for optimizer in ("sgd", "adam")
        for hidden, lr in (("[64]", 0.1), ("[512]", 0.01))
        for seed in range(3)
    ]
    one = of_axis(found(table(*rows), {"model.hidden": "[64]"}), "model.hidden")
    assert (one.changes[0].name, one.pairs) == ("model.hidden=[512] + optimizer.lr=0.01", 12)


def test_own_settings_of_two_choices_are_not_one_change() -> None:
    """Each choice is compared at any of its own settings, so neither of these may stand for both."""
    rows = [
        {**config, "seed": seed, "test_acc": acc}
        for acc, config in (
            (0.5, {"model": "mlp", "model__hidden": "[64]", "optimizer": "sgd", "optimizer__lr": 0.1}),
            (0.6, {"model": "mlp", "model__hidden": "[512]", "optimizer": "adam", "optimizer__lr": 0.01}),
            (0.7, {"model": "cnn", "model__hidden": None, "optimizer": "adam", "optimizer__lr": 0.001}),
        )
        for seed in range(3)
    ]
    assert found(table(*rows), {"model": "mlp"}).comparisons == []


def test_each_step_that_is_zipped_is_named_and_a_group_once() -> None:
    steps = {"augmentation__magnitude": 9, "augmentation__number": 2, "loss": "ce"}
    rows = runs("augmentation__magnitude", {None: [0.5, 0.51, 0.53]}, augmentation__number=None, loss="ce")
    rows += [{**steps, "seed": seed, "test_acc": 0.6 + seed / 100} for seed in range(3)]
    rows += [{**steps, "loss": "mse", "seed": seed, "test_acc": 0.5} for seed in range(3)]
    result = found(table(*rows), {"augmentation.magnitude": "null", "loss": "ce"})
    one = of_axis(result, "augmentation.magnitude")
    assert (one.changes[0].name, one.changes[0].base_text) == ("augmentation.magnitude=9 + number=2", "null + null")
    assert of_axis(result, "loss").seeds == 3


@pytest.mark.parametrize("leader", ["model", "activation"])
def test_the_code_of_steps_that_are_zipped_is_not_what_pairs_must_agree_in(leader: str) -> None:
    """As runs record it: code of each setting of a step, and the order of the steps where there are several."""
    pair = ({leader: "a", "augmentation__flip": None}, {leader: "b", "augmentation__flip": "random"})
    configs: list[dict[str, Any]] = [{**config, "augmentation__cutout": size} for config in pair for size in (None, 8)]
    made = [
        {**config, "seed": seed, "test_acc": 0.5 + seed / 9 + number / 7}
        for number, config in enumerate(configs)
        for seed in (0, 1)
    ]
    frame = table(*made)
    codes = []
    for run in made:
        steps = [name for name in ("flip", "cutout") if run[f"augmentation__{name}"] is not None]
        code = {f"augmentation.{step}": step for step in steps} | {leader: str(run[leader])}
        codes.append(json.dumps(code | ({"augmentation": ",".join(steps)} if len(steps) > 1 else {})))
    frame["code"] = codes
    result = found(frame, {leader: "a", "augmentation.cutout": "null"})
    assert of_axis(result, leader).changes[0].name == f"{leader}=b + augmentation.flip=random"
    assert (of_axis(result, leader).pairs, of_axis(result, "augmentation.cutout").pairs) == (4, 4)


@pytest.mark.parametrize("baseline", [{}, {"optimizer": "sgd"}])
def test_a_network_with_layers_of_its_own_may_follow_another_setting(baseline: dict[str, str]) -> None:
    own = {"model": "fcn32s", "norm": "own", "optimizer": "sgd"}
    chosen = {"model": "unet", "norm": "batch", "optimizer": "adam"}
    frame = table(*({**config, "seed": seed, "test_acc": seed / 9} for config in (own, chosen) for seed in (0, 1)))
    assert [one.pairs for one in effects(frame, baseline).comparisons if one.metric == "test_acc"] == [2]


def test_a_failed_run_beside_zipped_settings_does_not_part_them() -> None:
    stray = {**MLP, "optimizer": "sgd", "seed": 0, "state": "failed", "test_acc": None}
    assert {it.changes[0].axis for it in found(table(*zipped(), stray), {"model": "mlp"}).comparisons} == {"model"}


def test_a_diverged_run_of_another_combination_is_counted_by_itself() -> None:
    norms = (("none", 0.1, "finished"), ("none", 1.0, "diverged"), ("batch", 1.0, "finished"))
    rows = [
        {"norm": norm, "optimizer__lr": lr, "state": state, "seed": seed, "test_acc": 0.5 + lr / 10 + seed / 1000}
        for norm, lr, state in norms
        for seed in range(3)
    ]
    result = found(table(*rows), {"norm": "none"})
    (one,) = result.comparisons
    assert one.changes[0].name == "norm=batch + optimizer.lr=1"
    assert one.diverged is not None and one.diverged.text == "0 of 3 vs. 0 of 3"
    assert "norm=none, optimizer.lr=1: no run finished, 3 diverged" in result.notes


def test_a_choice_with_settings_of_its_own_leads() -> None:
    rates = {("sgd", 32): (0.1, 0.01), ("adam", 64): (0.01, 0.001)}
    made = [
        {"optimizer": name, "batch_size": size, "optimizer__lr": rate, "seed": seed, "test_acc": 0.5 + seed / 9}
        for (name, size), of in rates.items()
        for rate in of
        for seed in (0, 1)
    ]
    assert "optimizer" in effects(table(*made), {}).baseline


def test_the_first_setting_with_a_default_decides_the_baseline() -> None:
    frame = table(*zipped())
    assert effects(frame, defaults={"optimizer": "adam"}).baseline == {"model": "mlp"}
    assert effects(frame, defaults={"optimizer": "sgd"}).baseline == {"model": "cnn"}
    assert effects(frame, defaults={"optimizer": "sgd", "model": "mlp"}).baseline == {"model": "mlp"}


def test_a_baseline_may_name_any_of_them_but_no_pair_that_no_run_has() -> None:
    frame = table(*zipped())
    assert effects(frame, {"optimizer": "sgd"}).baseline == {"optimizer": "sgd"}
    assert effects(frame, {"optimizer": "sgd", "model": "cnn"}).baseline == {"model": "cnn"}
    with pytest.raises(UserError, match="--baseline optimizer=adam: optimizer always changes together with model"):
        effects(frame, {"optimizer": "adam", "model": "cnn"})


def test_each_dataset_has_a_baseline_of_its_own_runs() -> None:
    """relu, of the baseline run, occurs on one dataset only; on the other, the most common value is the baseline."""
    other = {"data": "cifar10", "data.fingerprint": "beef"}
    rows = runs("activation", {"relu": [0.5, 0.52], "selu": [0.6, 0.61]})
    rows += runs("activation", {"selu": [0.5, 0.52], "gelu": [0.6, 0.61, 0.62]}, **other)
    result = effects(table(*rows))
    assert result.baselines == {"cifar10": {"activation": "gelu"}, "digits": {"activation": "relu"}}
    assert changes(result.comparisons) == {"activation=selu<gelu": (-0.095, 2), "activation=selu<relu": (0.095, 2)}
    text = as_table(result)
    assert "Baseline on cifar10: activation=gelu\nBaseline on digits: activation=relu\n" in text
    given = effects(table(*rows), {"activation": "relu"})
    assert given.baselines == result.baselines
    assert "cifar10: --baseline activation=relu does not occur" in given.notes
    single = runs("optimizer", {"sgd": [0.5, 0.52], "adam": [0.6, 0.61]}, activation="relu", **other)
    notes = effects(table(*rows[:4], *single), {"activation": "relu"}).notes
    assert not any("does not occur" in note for note in notes)  # all runs there have it
    with pytest.raises(UserError, match="--baseline activation=tanh: no finished run has it"):
        effects(table(*rows), {"activation": "tanh"})


def test_notes_name_the_datasets_that_they_are_about() -> None:
    other: dict[str, Any] = {"data": "cifar10", "data.fingerprint": "beef", "test_images": 10000, "stale": True}
    accs = {"none": [0.5, 0.52], "batch": [0.6, 0.61]}
    same = runs("norm", accs, stale=True, test_images=297)
    notes = found(table(*same, *runs("norm", accs, **other)), {"norm": "none"}).notes
    stale = "4 of the finished runs are stale; pairs share all code except that of the compared choice"
    assert f"cifar10, digits: {stale}" in notes
    assert any(note.startswith("digits: Intervals are for these 297 test images") for note in notes)
    assert stale in found(table(*same), {"norm": "none"}).notes


def test_the_recipe_of_one_dataset_is_not_hidden_by_another() -> None:
    recipe = {"norm": "batch", "activation": "gelu", "scheduler": "cosine"}
    single = [recipe, *(recipe | {name: value} for name, value in (("norm", "none"), ("activation", "relu")))]
    single.append(recipe | {"scheduler": "constant"})
    rows: list[dict[str, Any]]
    rows = [{**config, "seed": seed, "test_acc": seed / 9} for config in single for seed in (0, 1)]
    pair = [recipe | {"norm": "none", "activation": value, "scheduler": "step"} for value in ("relu", "selu", "elu")]
    other = {"data": "cifar10", "data.fingerprint": "beef"}
    rows += [{**config, "seed": seed, "test_acc": seed / 9, **other} for config in pair for seed in (0, 1)]
    result = effects(table(*rows), defaults={"norm": "none", "activation": "relu"})
    assert result.baselines == {"digits": recipe, "cifar10": {"activation": "relu"}}


def test_a_dataset_on_which_no_setting_varies_is_named() -> None:
    other = runs("activation", {"relu": [0.5, 0.52]}, data="cifar10", data__fingerprint="beef")
    rows = [*runs("activation", {"relu": [0.5, 0.52], "selu": [0.6, 0.61]}), *other]
    notes = found(table(*rows), {"activation": "relu"}).notes
    assert "cifar10: no setting varies, so nothing is compared" in notes
    assert not any(note.startswith("digits: no setting") for note in notes)

"""A group of steps as one axis: presets of several settings, and settings that vary by themselves."""

import json
from typing import Any

import pytest
from paired import changes, found, of_axis, table

from sweeper.errors import UserError
from sweeper.summary.columns import STEP_GROUPS
from sweeper.summary.effects import Effects, effects
from sweeper.summary.run_row import presets_of
from sweeper.summary.table import where
from sweeper.sweep.designs import screening

Steps = dict[str, Any]
FLIP: Steps = {"flip": "random"}
CROP: Steps = {"crop_padding": 4}
FLIP_CROP = FLIP | CROP
TRIVIAL: Steps = {**FLIP_CROP, "trivial_augment": "wide"}
PRESETS: dict[str, Steps] = {"none": {}, "flip": FLIP, "flip_crop": FLIP_CROP, "trivial_augment": TRIVIAL}


def augmented(steps: Steps, acc: float, group: str = "augmentation", **same: Any) -> list[dict[str, Any]]:
    """Return runs of two seeds with these steps, labeled where they equal a preset."""
    label = next((name for name, preset in PRESETS.items() if preset == steps), None)
    label = same.pop("label", label)
    presets = json.dumps({group: label} if label else {"courses": "none"})
    settings = {f"{group}__{name}": value for name, value in steps.items()}
    return [{"seed": seed, "test_acc": acc + seed / 8, "presets": presets, **settings, **same} for seed in (0, 1)]


def means(result: Effects) -> dict[str, float | None]:
    """Return the mean of each comparison by test_acc, each over a pair of both seeds."""
    compared = changes(result.comparisons)
    assert all(pairs == 2 for _, pairs in compared.values())
    return {name: mean for name, (mean, _) in compared.items()}


def test_a_preset_of_several_settings_is_one_change() -> None:
    frame = table(*augmented({}, 0.5), *augmented(TRIVIAL, 0.75), *augmented({}, 0.25, norm="batch"))
    result = effects(frame.assign(norm=frame["norm"].fillna("none")))
    assert means(result) == {
        "augmentation=trivial_augment<none": 0.25,
        "norm=batch<none": -0.25,
    }
    assert result.baseline == {"augmentation": "none", "norm": "none"}


def test_presets_are_compared_with_the_baseline_alone() -> None:
    frame = table(*(run for number, steps in enumerate(PRESETS.values()) for run in augmented(steps, number / 8)))
    assert means(effects(frame)) == {
        "augmentation=flip<none": 0.125,
        "augmentation=flip_crop<none": 0.25,
        "augmentation=trivial_augment<none": 0.375,
    }
    assert means(effects(frame, {"augmentation": "flip_crop"}))["augmentation=trivial_augment<flip_crop"] == 0.125
    with pytest.raises(UserError, match="no finished run has it \\(did you mean flip\\?\\)"):
        effects(frame, {"augmentation": "flop"})


def test_the_product_of_single_settings_has_the_pairs_of_each() -> None:
    accs: list[tuple[Steps, float]] = [({}, 0.0), (FLIP, 0.125), (CROP, 0.25), (FLIP_CROP, 0.5)]
    result = effects(table(*(run for steps, acc in accs for run in augmented(steps, acc))))
    assert changes(result.comparisons) == {
        "augmentation.crop_padding=4.0<None": (0.3125, 4),
        "augmentation.flip=random<None": (0.1875, 4),
    }
    assert changes(result.interactions) == {
        "augmentation.crop_padding=4.0<None augmentation.flip=random<None": (0.125, 2)
    }


def test_a_setting_varied_without_a_preset_is_an_axis_beside_presets() -> None:
    accs: list[tuple[Steps, float]] = [({}, 0.0), (CROP, 0.25), (TRIVIAL, 0.5), (TRIVIAL | {"crop_padding": 2}, 0.625)]
    result = effects(table(*(run for steps, acc in accs for run in augmented(steps, acc))))
    assert means(result) == {
        "augmentation=trivial_augment<none": 0.5,  # not the mean over the runs that change crop_padding
        "augmentation.crop_padding=4.0<None": 0.25,
    }
    assert not any("averaged" in note for note in result.notes)
    nearest = "the nearest runs of augmentation.crop_padding=null also differ in augmentation"
    assert f"augmentation.crop_padding=2 has no matching pair: {nearest}" in result.notes


def test_a_choice_is_compared_where_a_setting_changes_both_sides_equally() -> None:
    cut: Steps = {"cutout": 8}
    accs: list[tuple[Steps, float]] = [({}, 0.0), (TRIVIAL, 0.25), (cut, 0.125), (TRIVIAL | cut, 0.5)]
    result = effects(table(*(run for steps, acc in accs for run in augmented(steps, acc))))
    assert changes(result.comparisons) == {
        "augmentation=trivial_augment<none": (0.3125, 4),  # (0.25 - 0 + 0.5 - 0.125) / 2
        "augmentation.cutout=8.0<None": (0.1875, 4),
    }
    assert changes(result.interactions) == {
        "augmentation=trivial_augment<none augmentation.cutout=8.0<None": (0.125, 2)
    }


def test_steps_without_a_preset_are_named_by_their_settings() -> None:
    steps = {"flip": "random", "crop_padding": 2}
    frame = table(*augmented({}, 0.5), *augmented(steps, 0.75))
    assert means(effects(frame)) == {"augmentation={crop_padding:2,flip:random}<none": 0.25}
    turned = effects(frame, {"augmentation": "{crop_padding:2,flip:random}"})
    assert means(turned) == {"augmentation=none<{crop_padding:2,flip:random}": -0.25}


def test_a_setting_that_is_named_as_baseline_is_an_axis() -> None:
    frame = table(*augmented({}, 0.5), *augmented(FLIP, 0.75))
    assert means(effects(frame)) == {"augmentation=flip<none": 0.25}
    assert means(effects(frame, {"augmentation.flip": "random"})) == {"augmentation.flip=None<random": -0.25}


def test_tuned_settings_of_a_preset() -> None:
    rows = [
        run | {"best_val_acc": val, "norm": norm}
        for norm, vals in (("none", (0.2, 0.3, 0.1)), ("batch", (0.4, 0.2, 0.3)))
        for padding, val in zip((2, 4, 8), vals, strict=True)
        for run in augmented({"flip": "random", "crop_padding": padding}, val)
    ]
    result = found(table(*rows), tuned=["augmentation.crop_padding"])
    assert means(result) == {"norm=none<batch": pytest.approx(-0.1)}


def test_equal_steps_have_one_label_and_a_label_of_several_names_none() -> None:
    frame = table(*augmented({}, 0.5), *augmented(FLIP_CROP, 0.75))
    frame.loc[2, "presets"] = None  # as a run that was trained before the preset existed
    assert means(effects(frame)) == {"augmentation=flip_crop<none": 0.25}
    edited = {"flip": "random", "crop_padding": 2}
    result = effects(table(*augmented({}, 0.5), *augmented(FLIP_CROP, 0.75), *augmented(edited, 1, label="flip_crop")))
    assert means(result) == {
        "augmentation={crop_padding:2,flip:random}<none": 0.5,
        "augmentation.crop_padding=4.0<2.0": -0.25,
    }


def test_without_labels_each_setting_is_an_axis() -> None:
    frame = table(*augmented({}, 0.5), *augmented(FLIP, 0.75), *augmented(TRIVIAL, 0.75)).assign(presets=None)
    assert means(effects(frame)) == {"augmentation.crop_padding=4.0<None": 0.0, "augmentation.flip=random<None": 0.25}


def test_each_group_of_steps_has_its_own_axis() -> None:
    for group in STEP_GROUPS:
        frame = table(*augmented({}, 0.5, group, label="none"), *augmented({"a": 1, "b": 2}, 0.75, group, label="both"))
        frame["code"] = [json.dumps({"core": "c", group: str(number // 2)}) for number in range(4)]
        assert means(effects(frame)) == {f"{group}=both<none": 0.25}
        codes: list[dict[str, str]] = [{}, {}, {f"{group}.a": "new"}, {f"{group}.a": "new"}]  # of a single step
        frame["code"] = [json.dumps({"core": "c", **code}) for code in codes]
        assert means(effects(frame)) == {f"{group}=both<none": 0.25}


def test_a_screen_of_presets_has_an_effect_for_each() -> None:
    names = ("norm", "loss", "mixing", "averaging", "views", "init", "augmentation")
    made = []
    for row in screening(7):
        run = {name: "on" if sign > 0 else "off" for name, sign in zip(names[:-1], row, strict=False)}
        made += [
            augmentation | run | {"test_acc": 0.5 + row[-1] / 100}
            for augmentation in augmented(TRIVIAL if row[-1] > 0 else {}, 0.0)
        ]
    result = effects(table(*made), dict.fromkeys(names[:-1], "off"))
    assert len([one for one in result.comparisons if one.metric == "test_acc"]) == 7
    assert of_axis(result, "augmentation").mean == pytest.approx(0.02)
    assert not any("change together" in note for note in result.notes)


def test_cost_and_where_know_the_choice() -> None:
    same: dict[str, Any] = {"machine": "here", "parameters": 10}
    frame = table(
        *augmented({}, 0.5, images_per_second=100, **same), *augmented(TRIVIAL, 0.5, images_per_second=80, **same)
    )
    cost = of_axis(effects(frame), "augmentation").cost
    assert cost is not None and cost.step_time == pytest.approx(1.25)
    assert where(frame, ["augmentation=trivial_augment"])["augmentation.trivial_augment"].tolist() == ["wide"] * 2
    with pytest.raises(UserError, match="no such run; values of augmentation: none, trivial_augment"):
        where(frame, ["augmentation=cutout"])
    with pytest.raises(UserError, match="unknown column mixing"):
        where(frame, ["mixing=none"])


def test_presets_are_those_of_groups_of_steps() -> None:
    labels = {"model": "mlp", "augmentation": "cutout", "courses": 7}
    assert presets_of({"labels": labels}) == '{"augmentation": "cutout"}'
    assert presets_of({"labels": ["model"]}) is None and presets_of({"labels": {"model": "mlp"}}) is None


def test_steps_that_were_typed_as_settings_are_shown_so() -> None:
    """architecture.logit_scale=null leaves a step of a recipe out; what is left may be a preset, fixed_scale."""
    run = {"labels": {"architecture": "fixed_scale", "courses": "none"}, "command": "python train.py architecture.x=1"}
    assert presets_of(run) == '{"courses": "none"}'

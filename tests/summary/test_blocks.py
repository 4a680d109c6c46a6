"""Complete blocks, models and datasets: what is averaged is one quantity, and what is left out is named."""

from typing import Any

import numpy as np
import pytest
from paired import changes, found, of_axis, runs, table
from scipy import stats

from sweeper.summary.blocks import choose_blocks, complete_blocks
from sweeper.summary.effects import effects
from sweeper.summary.effects_caption import caption
from sweeper.summary.effects_text import as_table
from sweeper.summary.pairing import Difference
from sweeper.summary.verdicts import verdict

MODELS = ("cnn", "cnn_pool", "mlp", "mlp_deep")


def by_model(gains: dict[str, list[float]], **same: Any) -> list[dict[str, Any]]:
    """Return runs of norm none and batch, of seeds 0, 1, ...; each model gains these."""
    return [
        run
        for model, values in gains.items()
        for run in runs(
            "norm", {"none": [0.5] * len(values), "batch": [0.5 + gain for gain in values]}, model=model, **same
        )
    ]


def test_seeds_without_all_models_are_left_out_and_named() -> None:
    # The true effects are 0.06, 0, 0, 0; seeds 2 and 3 have the first model only.
    noise = np.random.default_rng(7).normal(0, 0.004, (4, 4))
    gains = {
        model: list((0.06 if model == "cnn" else 0.0) + noise[index, : 4 if model == "cnn" else 2])
        for index, model in enumerate(MODELS)
    }
    result = found(table(*by_model(gains)), {"norm": "none", "model": "cnn"})
    one = of_axis(result, "norm")
    means = [np.mean([gains[model][seed] for model in MODELS]) for seed in (0, 1)]
    expected = stats.ttest_1samp(means, 0)
    assert (one.pairs, one.seeds) == (8, 2) and one.means == pytest.approx(means, abs=1e-9)
    assert one.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-5)
    assert one.p == pytest.approx(expected.pvalue, rel=1e-5)
    assert "norm=batch: left out seeds 2, 3 (lack cnn_pool, mlp, mlp_deep)" in caption(result)


def test_seeds_that_lack_all_runs_of_a_setting_are_reported_by_that_setting() -> None:
    rows = [run for rate in (0.1, 0.01) for run in by_model({"cnn": [0.01] * 4, "mlp": [0.02] * 4}, optimizer__lr=rate)]
    kept = [run for run in rows if run["seed"] < 2 or run["model"] == "cnn"]
    line = "norm=batch: left out seeds 2, 3 (lack mlp)"
    assert line in caption(found(table(*kept), {"norm": "none", "model": "cnn", "optimizer.lr": 0.1}))
    kept = [run for run in rows if run["seed"] < 3 or (run["model"], run["optimizer__lr"]) != ("mlp", 0.1)]
    line = "norm=batch: left out seed 3 (lacks mlp optimizer.lr=0.1)"
    assert line in caption(found(table(*kept), {"norm": "none", "model": "cnn", "optimizer.lr": 0.1}))


def test_a_model_without_most_seeds_is_left_out() -> None:
    gains = {"cnn": [0.01, 0.02, 0.03, 0.02], "mlp": [0.02, 0.01, 0.02, 0.03], "vit": [0.5]}
    result = found(table(*by_model(gains)), {"norm": "none"})
    one = of_axis(result, "norm")
    assert (one.pairs, one.seeds) == (8, 4) and one.mean == pytest.approx(0.02)
    assert "norm=batch: left out vit (lacks seeds 1, 2, 3)" in caption(result)


@pytest.mark.parametrize(
    ("present", "rows", "columns"),
    [
        (["11", "11"], "11", "11"),
        (["1110", "1101"], "11", "1100"),
        (["1111", "1000", "1000", "1000"], "1000", "1111"),  # one seed of four models has no test
        (["1100", "0011"], "10", "1100"),
        (["111", "110", "110"], "111", "110"),
        (["1"], "1", "1"),
    ],
)
def test_blocks_keep_most_pairs_and_two_seeds(present: list[str], rows: str, columns: str) -> None:
    masks = choose_blocks(np.array([[cell == "1" for cell in row] for row in present]))
    assert ["".join("01"[int(kept)] for kept in mask) for mask in masks] == [rows, columns]


def test_blocks_are_complete_whatever_is_missing() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        cells, seeds = generator.integers(1, 6, 2)
        present = generator.random((cells, seeds)) < 0.6
        pairs = [Difference(0.0, seed, (cell,)) for cell, seed in np.argwhere(present).tolist()]
        if not pairs:
            continue
        blocks = complete_blocks(pairs, ["model"])
        assert len(blocks.differences) == len(blocks.seeds) * len(blocks.cells) > 0
        left = len({pair.seed for pair in pairs}) + len({pair.cell for pair in pairs})
        assert bool(blocks.left_out) == (len(blocks.seeds) + len(blocks.cells) < left)


def test_versions_of_torch_do_not_divide_the_seeds() -> None:
    frame = table(*by_model({"cnn": [0.01, 0.02, 0.03], "mlp": [0.01, 0.03, 0.02]}))
    frame["torch"] = ["a" if seed < 2 else "b" for seed in frame["seed"]]
    one = of_axis(found(frame, {"norm": "none"}), "norm")
    assert (one.pairs, one.seeds, one.left_out) == (6, 3, ())


# Models.


def exactly(gains: dict[str, float]) -> list[dict[str, Any]]:
    """Return runs whose models gain these on average over three seeds, with a little noise."""
    return by_model({model: [gain - 0.001, gain, gain + 0.001] for model, gain in gains.items()})


def test_models_that_disagree_make_an_effect_on_average() -> None:
    gains = {"cnn": 0.02, "cnn_pool": 0.015, "mlp": 0.02, "mlp_deep": -0.012}
    result = found(table(*exactly(gains)), {"norm": "none", "model": "cnn"})
    one = of_axis(result, "norm")
    assert (one.models_up, len(one.models)) == (3, 4) and one.mean == pytest.approx(0.01075)
    assert {part.name: part.mean for part in one.models} == pytest.approx(gains)
    assert verdict(one) == "helps on average: from -0.0120 (mlp_deep) to +0.0200 (cnn)"
    low, high = one.new_model or (0, 0)
    of_seeds = stats.t.ppf(1 - one.level / 2, 2) * 0.001 / 3**0.5  # the models' noise is equal in each seed
    assert (high - low) / 2 == pytest.approx((0.05461204**2 + of_seeds**2) ** 0.5, abs=5e-9)
    line = "95% prediction intervals (each): norm=batch -0.0440 to +0.0655"
    assert any(each.endswith(line) for each in caption(result))
    assert "│ 3 of 4 up │" in as_table(result)


def test_significantly_opposed_models_are_named_without_a_significant_mean() -> None:
    one = of_axis(found(table(*exactly({"cnn": 0.02, "mlp": -0.02})), {"norm": "none", "model": "cnn"}), "norm")
    assert verdict(one) == "not significant on average: from -0.0200 (mlp) to +0.0200 (cnn)"
    one = of_axis(found(table(*exactly({"cnn": 0.002, "mlp": -0.002})), {"norm": "none", "model": "cnn"}), "norm")
    assert verdict(one) == "not significant"  # the models' intervals contain 0


def test_models_that_agree_make_an_effect() -> None:
    result = found(table(*exactly({"cnn": 0.02, "mlp": 0.01})), {"norm": "none", "model": "cnn"})
    one = of_axis(result, "norm")
    assert verdict(one) == "helps" and one.models_up == 2 and one.new_model is None
    assert not any("on another model" in line for line in caption(result))


def test_the_intervals_of_models_hold_at_once() -> None:
    result = found(table(*exactly({"cnn": 0.02, "mlp": 0.01})), {"norm": "none", "model": "cnn"})
    for part in of_axis(result, "norm").models:
        low, high = part.family or (0, 0)
        assert (high - low) / 2 == pytest.approx(stats.t.ppf(1 - 0.025 / 2, 2) * 0.001 / 3**0.5)


def test_a_model_whose_seeds_agree_to_the_last_digit_has_the_interval_of_rounding() -> None:
    frame = table(*by_model({"cnn": [0.02] * 3, "mlp": [0.01, 0.02, 0.03]})).assign(test_images=100)
    cnn, _ = of_axis(found(frame, {"norm": "none", "model": "cnn"}), "norm").models
    low, high = cnn.family or (0, 0)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(1 - 0.025 / 2, 2) * 0.01 / 6**0.5 / 3**0.5)


def test_settings_that_disagree_make_an_effect_on_average_too() -> None:
    rates = {0.0005: (0.640, 0.662), 0.005: (0.650, 0.630), 0.05: (0.600, 0.300)}
    rows = [
        run
        for rate, (relu, selu) in rates.items()
        for run in runs(
            "activation",
            {"relu": [relu - 0.001, relu, relu + 0.001], "selu": [selu, selu + 0.001, selu + 0.001]},
            optimizer__lr=rate,
        )
    ]
    result = found(table(*rows), {"activation": "relu", "optimizer.lr": 0.005})
    one = of_axis(result, "activation")
    assert verdict(one) == "hurts on average: from -0.2993 (optimizer.lr=0.05) to +0.0227 (optimizer.lr=0.0005)"
    note = (
        "activation=selu: its mean changes sign over optimizer.lr; "
        "use --tune optimizer.lr to compare each configuration at its best"
    )
    assert note in caption(result)
    assert not any("--tune activation" in line for line in caption(result))
    sizes = found(table(*({**row, "data__train_size": row.pop("optimizer__lr")} for row in rows)))
    (line,) = (line for line in caption(sizes) if "changes sign" in line)
    assert line.endswith("over data.train_size; use --where data.train_size=VALUE to compare at one value")


# Datasets.


def test_each_dataset_has_a_table_of_its_own() -> None:
    three = {"cnn": [0.02, 0.021, 0.019], "mlp": [0.02, 0.019, 0.021], "vit": [0.02, 0.021, 0.02]}
    frame = table(
        *by_model(three, data="cifar10", data__fingerprint="a"),
        *by_model({"cnn": [-0.02, -0.021, -0.019]}, data="digits", data__fingerprint="b"),
    )
    result = found(frame, {"norm": "none", "model": "cnn"})
    norm = [one for one in result.comparisons if one.changes[0].axis == "norm"]
    assert [(one.data, one.pairs) for one in norm] == [("cifar10", 9), ("digits", 3)]
    assert [one.mean for one in norm] == pytest.approx([0.0201, -0.02], abs=1e-4)
    assert [verdict(one) for one in norm] == ["helps", "hurts"]
    assert norm[1].corrected == norm[1].p  # corrected within its own table
    titles = [line for line in as_table(result).splitlines() if line.startswith("test_acc on ")]
    assert titles[:2] == ["test_acc on cifar10", "test_acc on digits"]


def test_datasets_with_the_same_name_are_distinguished_by_fingerprint() -> None:
    frame = table(
        *by_model({"cnn": [0.02, 0.03]}, data__fingerprint="a" * 64),
        *by_model({"cnn": [0.02, 0.03]}, data__fingerprint="b" * 64),
    )
    assert {one.data for one in found(frame).comparisons} == {"digits aaaaaaaa", "digits bbbbbbbb"}


def test_a_table_of_one_dataset_does_not_name_it() -> None:
    result = effects(table(*by_model({"cnn": [0.02, 0.03]})), defaults={})
    assert "\ntest_acc\n" in as_table(result) and changes(result.comparisons).keys() == {"norm=none<batch"}


def test_seeds_without_a_pair_are_named() -> None:
    made = [
        *runs("norm", {"none": [0.5, 0.51, 0.52, 0.53, 0.5], "batch": [0.55, 0.56]}),
        {"norm": "batch", "seed": 7, "test_acc": 0.6},
        *runs("norm", {"none": [0.5] * 4}, epochs=9),  # of other settings, which have no pairs
    ]
    made[4] |= {"torch": "older"}
    made.append(made[4] | {"torch": "newer", "norm": "batch"})
    result = found(table(*made), {"norm": "none"})
    one = of_axis(result, "norm")
    assert one.left_out == (
        "seeds 2, 3 (lack norm=batch)",
        "seed 4 (runs of different code or environment)",
        "seed 7 (lacks norm=none)",
    )
    assert f"norm=batch: left out {'; '.join(one.left_out)}" in caption(result)

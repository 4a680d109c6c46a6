"""The best configuration: means over the same validation splits, against least squares and the exercises' records."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from records import finish, make

from sweeper.errors import UserError
from sweeper.summary.best import adjust, best_configuration, best_run
from sweeper.summary.find import best_record
from sweeper.summary.learning_curves import learning_curves
from sweeper.summary.table import lay_out, read_runs

EXERCISES = pd.read_csv(Path(__file__).parent / "exercises_01.csv").assign(code="").drop(columns="sweeps")
SMALL = EXERCISES[EXERCISES["model"] != "resnet18"].reset_index(drop=True)


def runs_of(accs: dict[tuple[str, int], float], **changes: Any) -> pd.DataFrame:
    """Return finished runs: a best_val_acc for each model and seed."""
    rows = [
        {
            "run_id": f"{model}-{seed}",
            "model": model,
            "seed": seed,
            "best_val_acc": acc,
            "state": "finished",
            "code": "",
        }
        for (model, seed), acc in accs.items()
    ]
    return pd.DataFrame(rows).assign(**changes)


def test_the_best_small_network_of_the_exercises() -> None:
    """Not the highest run, which is a CNN with batch normalization on the easiest split."""
    best = "cnn_pool-relu-adam-dropout0.1-image_folder-s0-51de966b21"
    assert best_run(SMALL) == best
    assert best_run(SMALL.sample(frac=1, random_state=0)) == best
    assert SMALL.set_index("run_id")["test_acc"][best] == 0.689
    highest = SMALL.iloc[int(SMALL["best_val_acc"].argmax())]
    assert (highest["norm"], highest["seed"], highest["test_acc"]) == ("batch", 1, 0.6905)


def test_where_every_configuration_has_every_seed_means_are_as_measured() -> None:
    adjusted = adjust(SMALL)
    assert not adjusted.uneven
    assert len(adjusted.configurations) == 30
    plain = SMALL["best_val_acc"].groupby(adjusted.configuration_of).mean()
    assert adjusted.configurations == pytest.approx(plain.to_numpy(), abs=1e-9)
    seeds = SMALL.groupby("seed")["best_val_acc"].transform("mean") - SMALL["best_val_acc"].mean()
    assert adjusted.runs == pytest.approx((SMALL["best_val_acc"] - seeds).to_numpy(), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_uneven_seeds_against_dense_least_squares(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cells = [(model, number) for model in "abcde" for number in range(4) if generator.random() < 0.6 or number == 0]
    frame = runs_of({cell: generator.random() for cell in cells})
    adjusted = adjust(frame)
    assert adjusted.uneven
    design = pd.get_dummies(frame[["model", "seed"]].astype(str)).to_numpy(dtype=float)
    solution = np.linalg.lstsq(design, frame["best_val_acc"].to_numpy(), rcond=None)[0]
    effects = design[:, 5:] @ solution[5:]
    expected = frame["best_val_acc"].to_numpy() - (effects - effects.mean())
    assert adjusted.runs == pytest.approx(expected, abs=1e-9)
    means = pd.Series(expected).groupby(frame["model"]).mean()  # in the order of the models: that of their first runs
    assert adjusted.configurations == pytest.approx(means.to_numpy(), abs=1e-9)


def test_configurations_compete_over_the_seeds_that_they_share() -> None:
    """b has the higher mean, from an easier split; on the seed that both have, a is better."""
    accs = {("a", 0): 0.60, ("b", 0): 0.58, ("b", 1): 0.70, ("c", 0): 0.10, ("c", 1): 0.22}
    frame = runs_of(accs)
    assert best_run(frame) == "a-0"
    table, caption = lay_out(complete(frame), over="seed")
    assert table["model"].tolist() == ["a", "b", "c"]
    assert table["best_val_acc"].tolist() == pytest.approx([0.60, 0.64, 0.16])
    ranked = "Rows have different seeds: ranked by best_val_acc minus the effect of each seed's validation split"
    assert ranked in caption.splitlines()
    assert ranked not in lay_out(complete(frame[frame["seed"] == 0]), over="seed")[1]
    by_test, caption = lay_out(complete(frame).assign(test_acc=frame["best_val_acc"]), over="seed", by="test_acc")
    assert by_test["model"].tolist() == ["b", "a", "c"]
    assert ranked not in caption


def test_images_have_splits_of_their_own() -> None:
    """Seed 1 is easy with images x and hard with images y; neither says anything about the other's configurations."""
    accs = {("a", 0): 0.5, ("a", 1): 0.9, ("b", 0): 0.52, ("b", 1): 0.91}
    hard = {("a", 0): 0.7, ("a", 1): 0.3, ("b", 0): 0.6, ("b", 1): 0.2}
    frame = pd.concat([runs_of(accs, data="x"), runs_of(hard, data="y")], ignore_index=True)
    adjusted = adjust(frame)
    assert not adjusted.uneven
    assert adjusted.configurations == pytest.approx([0.7, 0.715, 0.5, 0.4])
    frame = pd.concat([frame, runs_of({("c", 0): 0.53}, data="x")], ignore_index=True)
    assert adjust(frame).uneven
    assert adjust(frame).configurations == pytest.approx([0.6605, 0.6755, 0.5, 0.4, 0.688])


def test_configurations_without_a_shared_seed_are_as_measured() -> None:
    adjusted = adjust(runs_of({("a", 0): 0.6, ("a", 1): 0.7, ("b", 2): 0.5, ("b", 3): 0.9}))
    assert adjusted.uneven
    assert adjusted.configurations == pytest.approx([0.65, 0.7])


def test_the_run_of_the_best_configuration() -> None:
    accs = {("a", 0): 0.6, ("a", 1): 0.69, ("b", 0): 0.5, ("b", 1): 0.65}  # seed 1 is easier by 0.12
    assert best_run(runs_of(accs)) == "a-0"
    assert best_run(runs_of({("a", 0): 0.6, ("a", 1): 0.7})) == "a-1"  # one configuration: the splits are unknown
    assert best_run(runs_of({("a", 1): 0.6, ("a", 0): 0.6})) == "a-0"
    assert best_run(runs_of({("a", 0): 0.6}, best_val_acc=None)) is None
    assert best_run(runs_of({("a", 0): 0.6}, state="failed")) is None


def test_runs_that_did_not_finish_are_ranked_and_never_the_best() -> None:
    accs = {("a", 0): 0.6, ("a", 1): 0.7, ("b", 0): 0.5, ("b", 1): 0.6, ("c", 1): 0.95, ("a", 2): 0.99}
    frame = runs_of(accs)
    frame["state"] = ["finished"] * 4 + ["interrupted"] * 2
    adjusted = adjust(frame)
    assert adjusted.configurations == pytest.approx([0.65, 0.55, 0.9])
    assert not adjusted.uneven
    assert best_run(frame) == "a-1"  # both of its runs are above their splits by as much


def test_the_best_configuration_begins_with_the_best_run(tmp_path: Path) -> None:
    for model, accs in (("mlp", (0.60, 0.70)), ("cnn", (0.66, 0.68))):
        for seed, acc in enumerate(accs):
            finish(tmp_path, f"{model}-{seed}", [acc], seed=seed, model={"name": model})
    make(tmp_path, "gone", [0.99], "failed", model={"name": "gone"})
    frame, _ = read_runs(tmp_path)
    assert best_configuration(frame) == ["cnn-0", "cnn-1"]  # the first is 0.03 above the mean of its split
    assert best_record(tmp_path).folder == tmp_path / "runs" / "cnn-0"
    make(tmp_path / "other", "gone", [0.99], "failed")
    with pytest.raises(UserError, match=r"^no run in .*other/runs is finished$"):
        best_record(tmp_path / "other")
    with pytest.raises(UserError, match=r"^no run in .*runs with model=gone is finished$"):
        best_record(tmp_path, where=["model=gone"])


def test_learning_curves_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    for model, seed, acc in (("a", 0, 0.60), ("b", 0, 0.58), ("b", 1, 0.70), ("c", 0, 0.10), ("c", 1, 0.22)):
        finish(tmp_path, f"{model}-{seed}", [acc], seed=seed, model={"name": model})
    make(tmp_path, "failed", [0.05], "failed", model={"name": "d"})
    frame, _ = read_runs(tmp_path)
    models = [curve.settings["model"] for curve in learning_curves(tmp_path, frame)]
    assert models == lay_out(frame, over="seed")[0]["model"].tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        (
            "best_val_acc",
            "The top row is the best of 2 configurations by validation accuracy: its best_val_acc is optimistic; "
            "its test_acc holds for these weights, expect slightly less from other seeds",
        ),
        ("test_acc", "The top row is the best of 2 configurations by test_acc: its test_acc is optimistic"),
    ],
)
def test_the_caption_says_what_the_selection_made_optimistic(by: str, sentence: str, tmp_path: Path) -> None:
    for model in ("mlp", "cnn"):
        for seed in (0, 1):
            finish(tmp_path, f"{model}-{seed}", [0.6], seed=seed, model={"name": model})
    frame, skipped = read_runs(tmp_path)
    assert sentence in lay_out(frame, skipped, over="seed", by=by)[1].splitlines()
    runs = sentence.replace("2 configurations", "4 runs")
    assert runs in lay_out(frame, skipped, by=by)[1].splitlines()
    one = frame[frame["model"] == "mlp"]
    assert "The top row" not in lay_out(one, over="seed", by=by)[1]


@pytest.mark.parametrize("over", ["seed", None])
def test_a_row_without_a_finished_run_is_not_called_the_best(over: str | None, tmp_path: Path) -> None:
    for model in ("mlp", "cnn"):
        for seed in (0, 1):
            finish(tmp_path, f"{model}-{seed}", [0.6], seed=seed, model={"name": model})
    make(tmp_path, "resnet-0", [0.7], "diverged", model={"name": "resnet"})
    table, caption = lay_out(*read_runs(tmp_path), over=over)
    assert table["model"].iloc[0] == "resnet"
    number = "2 configurations" if over else "4 runs"
    assert f"The first row of a finished run is the best of {number} by validation accuracy" in caption


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the columns that a table needs."""
    lacking = ("torch", "device_type", "error", "test_acc", "epochs_to_target")
    return frame.assign(**dict.fromkeys(lacking), stale=False).reset_index(drop=True)

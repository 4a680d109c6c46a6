"""The API of notebooks: frames and modules, without torch until a network is loaded; and the notebooks themselves."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from processes import REPOSITORY
from records import finish

import sweeper
from sweeper.errors import UserError
from sweeper.runs.predictions import write_predictions
from sweeper.summary.table import read_runs

NOTEBOOKS = REPOSITORY / "docs" / "notebooks"


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Return a folder with two configurations of two seeds each."""
    for name in ("none", "batch"):
        for seed in (0, 1):
            accs = [0.5, 0.6 + (name == "batch") / 10 + seed / 100]
            record = finish(tmp_path, f"{name}-{seed}", accs, accs[-1], norm={"name": name}, seed=seed)
            write_predictions(record.predictions, np.eye(3, dtype=np.float32), np.array([0, 1, seed]))
    return tmp_path


def test_runs_curves_and_effects_are_frames(output_dir: Path) -> None:
    results = sweeper.results(output_dir)
    runs, curves, effects = results.runs(), results.curves(), results.effects({"norm": "none"})
    assert list(runs["run_id"]) == list(read_runs(output_dir)[0]["run_id"])
    assert list(runs["norm"]) == ["batch", "batch", "none", "none"] and "val_curve" not in runs
    assert len(curves) == 8 and list(curves.columns[:3]) == ["run_id", "epoch", "val_acc"]
    best = curves.groupby("run_id")["val_acc"].max()
    assert (best[runs["run_id"]].to_numpy() == runs["best_val_acc"].to_numpy()).all()
    (row,) = effects[effects["measure"] == "test_acc"].to_dict(orient="records")
    assert (row["axis"], row["value"], row["baseline"]) == ("norm", "batch", "none")
    assert row["mean"] == pytest.approx(0.1)


def test_effects_take_the_options_of_the_command(tmp_path: Path) -> None:
    for norm, lr, acc in (("none", 0.1, 0.5), ("none", 0.2, 0.6), ("batch", 0.1, 0.9), ("batch", 0.2, 0.7)):
        for seed in (0, 1):
            settings = {"norm": {"name": norm}, "optimizer": {"name": "sgd", "lr": lr}}
            finish(tmp_path, f"{norm}-{lr}-{seed}", [acc + seed / 100], acc + seed / 100, seed=seed, **settings)
    results = sweeper.results(tmp_path)
    tuned = results.effects({"norm": "none"}, ["test_acc"], tune=["optimizer.lr"])
    assert tuned[["axis", "value"]].to_numpy().tolist() == [["norm", "batch"]]
    assert tuned["mean"].tolist() == pytest.approx([0.3])  # each norm at its own rate
    assert set(results.effects({"norm": "none"}, ["test_acc"])["axis"]) == {"norm", "optimizer.lr"}
    with pytest.raises(UserError, match="--tune lr: no such axis"):
        results.effects(tune=["lr"])
    with pytest.raises(UserError, match="--diverged-as-chance affects only"):
        results.effects(measures=["test_ece"], diverged_as_chance=True)


def test_runs_may_be_chosen(output_dir: Path) -> None:
    assert len(sweeper.results(output_dir, where=["norm=batch"]).curves()) == 4
    assert len(sweeper.results(output_dir, where=["norm=batch"]).effects()) == 0
    with pytest.raises(UserError, match=r"^--where norm=layer: no such run"):
        sweeper.results(output_dir, where=["norm=layer"])
    with pytest.raises(UserError, match="there are no runs in"):
        sweeper.results(output_dir / "none")
    with pytest.raises(UserError, match=r"^no sweeps in"):
        sweeper.results(output_dir, "nothing")


def test_one_text_is_a_list_of_one(output_dir: Path) -> None:
    results = sweeper.results(output_dir, where="norm=batch")
    assert len(results.runs("test_ece")) == 2 and results.runs("test_ece")["test_ece"].notna().all()
    effects = sweeper.results(output_dir).effects({"norm": "none"}, "test_acc")
    assert list(effects["measure"]) == ["test_acc"]
    with pytest.raises(UserError, match="--tune lr: no such axis"):
        sweeper.results(output_dir).effects(tune="lr")


def test_an_unknown_measure_names_the_valid_ones(output_dir: Path) -> None:
    with pytest.raises(
        UserError, match=r"^unknown measure test_f1 .did you mean test_macro_f1.*; choose from class_accs, .*test_ece, "
    ):
        sweeper.results(output_dir).runs(["test_f1"])


def test_what_a_network_cannot_do_is_refused(output_dir: Path, tmp_path: Path) -> None:
    results = sweeper.results(output_dir)
    for refused in (lambda: results.load("none-0", "gpu"), lambda: results.predict("none-0", tmp_path, "gpu")):
        with pytest.raises(UserError, match=r"^device=gpu is invalid: must be one of auto, cpu, cuda"):
            refused()
    finish(output_dir, "masks", [0.5], task={"name": "segmentation"})
    with pytest.raises(UserError, match=r"^masks is of segmentation: .* python -m sweeper predict masks IMAGE"):
        results.predict("masks", tmp_path)


def test_two_runs_are_compared(output_dir: Path) -> None:
    found = sweeper.results(output_dir).diff("none-0", "batch-0")
    assert found.settings == {"norm": ("none", "batch")} and found.test is not None and found.test.p == 1


def test_a_network_classifies_images(trained: Path, image_root: Path, tmp_path: Path) -> None:
    results = sweeper.results(trained)
    network = results.load("best", "cpu")
    assert isinstance(network, torch.nn.Module) and network.run_id == results.runs()["run_id"][0]
    file = image_root / "test" / "bee" / "000.png"
    shares = network(network.transform(file)[None]).softmax(1)[0]
    (tmp_path / "bad.png").write_text("no image")
    with pytest.warns(UserWarning, match=r"bad\.png cannot be read as an image"):
        found = results.predict("best", [tmp_path / "bad.png", file], "cpu")
    assert list(found.index) == [str(file)]
    assert np.allclose(found.iloc[0], shares.numpy(), atol=1e-6)
    assert len(results.predict("best", file.parent, "cpu")) == 10
    errors = results.errors("best", data_root=image_root)
    assert (errors["true"] != errors["predicted"]).all() and errors["file"].str.startswith("test/").all()
    with pytest.raises(UserError, match="--true 3: unknown class"):
        results.errors("best", true=3, data_root=image_root)


def test_torch_is_imported_where_a_network_is_loaded(output_dir: Path) -> None:
    program = f"import sys, sweeper; sweeper.results({str(output_dir)!r}).effects(); assert 'torch' not in sys.modules"
    program = f"{program}; assert not hasattr(sweeper, 'nothing')"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["results", "trained-model"])
def test_the_notebooks_run(
    name: str, trained: Path, output_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their cells are run one after the other, as Jupyter does, in a folder that has outputs/."""
    matplotlib.use("agg")
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "outputs").symlink_to(output_dir if name == "results" else trained)
    monkeypatch.chdir(folder)
    content = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), names)
    assert all(cell["outputs"] for cell in content["cells"][2:] if cell["cell_type"] == "code")  # shown on GitHub

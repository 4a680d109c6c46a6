"""How a command names a run: its directory, its ID, the ID's last digits, or `best`."""

import json
from pathlib import Path

import pytest
from records import finish, make
from watching import job, save

from sweeper.errors import UserError
from sweeper.summary.find import best_records, find_ensemble, find_finished, find_run


def test_a_run_is_named_by_its_directory_its_id_or_the_ids_last_digits(tmp_path: Path) -> None:
    for name in ("mlp-s0-0a1", "cnn-s0-0b1", "x-cnn-s0-0b1"):
        make(tmp_path, name, [0.5])
    run = tmp_path / "runs" / "mlp-s0-0a1"
    for text in (str(run), f"{run}/", "mlp-s0-0a1", "a1"):
        assert find_run(text, tmp_path).folder == run
    assert find_run("cnn-s0-0b1", tmp_path).run_id == "cnn-s0-0b1"  # a whole ID, though another ends with it
    with pytest.raises(UserError, match=r"^b1 matches 2 runs: cnn-s0-0b1, x-cnn-s0-0b1$"):
        find_run("b1", tmp_path)


def test_several_runs_are_separated_by_commas(tmp_path: Path) -> None:
    for name in ("mlp-0a1", "cnn-0b1", "a,b"):
        finish(tmp_path, name, [0.5])
    assert [record.run_id for record in find_ensemble("0b1,mlp-0a1", tmp_path)] == ["cnn-0b1", "mlp-0a1"]
    assert [record.run_id for record in find_ensemble(str(tmp_path / "runs" / "a,b"), tmp_path)] == ["a,b"]
    with pytest.raises(UserError, match=r"^0b1,b1: a run is named twice; an ensemble needs different runs$"):
        find_ensemble("0b1,b1", tmp_path)


def test_a_path_is_no_name(tmp_path: Path) -> None:
    finish(tmp_path, "mlp-0a1", [0.5])
    for path in ("/nowhere/backup/runs/mlp-0a1", "backups/1"):
        with pytest.raises(UserError, match=rf"^{path} not found: give a run ID"):
            find_run(path, tmp_path)


def test_ids_of_an_ensemble_may_be_long_together(tmp_path: Path) -> None:
    names = [f"{number}-{'a' * 150}" for number in range(3)]
    for name in names:
        finish(tmp_path, name, [0.5])
    assert [record.run_id for record in find_ensemble(",".join(names), tmp_path)] == names
    with pytest.raises(UserError, match="not found: give a run ID"):
        find_run("a" * 300, tmp_path)


def test_best_and_another_run_take_the_conditions_of_the_best(tmp_path: Path) -> None:
    finish(tmp_path, "low", [0.4])
    finish(tmp_path, "high", [0.6], model={"name": "cnn"})
    finish(tmp_path, "mid", [0.5], model={"name": "cnn"}, seed=1)
    found = find_ensemble("best,mid", tmp_path, where=["model=mlp"])
    assert [record.run_id for record in found] == ["low", "mid"]
    with pytest.raises(UserError, match=r"^--sweep and --where choose among runs for best; high is a run$"):
        find_ensemble("high,mid", tmp_path, where=["model=mlp"])


def test_the_current_directory_may_be_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path, "mlp-s0-0a1", [0.5]).folder)
    assert find_run(".", tmp_path).run_id == "mlp-s0-0a1"


def test_best_is_the_best_run(tmp_path: Path) -> None:
    finish(tmp_path, "low", [0.4])
    finish(tmp_path, "high", [0.6], model={"name": "cnn"})
    assert find_run("best", tmp_path).run_id == "high"
    with pytest.raises(UserError, match="there are no runs in"):
        find_run("best", tmp_path / "other")


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    make(tmp_path, "new", [0.5])
    for name, content in (("old", {"schema": 1, "effective": {}}), ("torn", None), ("foreign", {"schema": 3})):
        folder = tmp_path / "runs" / name
        folder.mkdir()
        if content is not None:
            (folder / "run.json").write_text(json.dumps(content))
    for name, sentence in (
        ("nowhere", "nowhere not found: give a run ID, its last digits, best or a run directory"),
        (".", "has no readable run.json"),
        ("old", "is a run of version 0.1 .schema 1.; train it again"),
        ("torn", "torn has no readable run.json"),
        ("foreign", "foreign has no readable run.json"),
    ):
        with pytest.raises(UserError, match=sentence):
            find_run(name, tmp_path)


@pytest.mark.parametrize("state, finishes", [("interrupted", True), ("diverged", False), ("running", False)])
def test_a_run_without_a_result_is_not_finished(state: str, finishes: bool, tmp_path: Path) -> None:
    make(tmp_path, "mlp-0a1", [0.5], state, run={"command": "python train.py model=mlp"})
    advice = "; to finish it: python train.py model=mlp" if finishes else ""
    with pytest.raises(UserError, match=rf"^mlp-0a1 has no result \(state: {state}\){advice}$"):
        find_finished("0a1", tmp_path)


def test_best_is_chosen_among_the_runs_of_a_sweep_or_a_dataset(tmp_path: Path) -> None:
    for name, acc, data in (("low", 0.4, "digits"), ("middle", 0.5, "digits"), ("high", 0.6, "cifar10")):
        effective = {"name": data, "fingerprint": data}
        finish(tmp_path, name, [acc], data=effective, model={"name": f"net-{name}"})
    save(tmp_path, [job("low")])
    assert find_run("best", tmp_path, "a-sweep").run_id == "low"
    assert find_run("best", tmp_path, where=["data=digits"]).run_id == "middle"
    several = r"^best: the finished runs have several datasets, data=cifar10, data=digits; choose one with --where "
    with pytest.raises(UserError, match=several):
        find_run("best", tmp_path)
    found = {data: record.run_id for data, record in best_records(tmp_path).items()}
    assert found == {"data=cifar10": "high", "data=digits": "middle"}
    with pytest.raises(UserError, match=r"^--sweep and --where choose among runs for best; low is a run$"):
        find_run("low", tmp_path, "a-sweep")


def test_datasets_of_one_name_are_told_apart_by_their_images(tmp_path: Path) -> None:
    for name in ("aaaaaaaaaa", "bbbbbbbbbb"):
        finish(tmp_path, name, [0.5], data={"name": "image_folder", "fingerprint": name})
    found = best_records(tmp_path)
    assert list(found) == ["data.fingerprint=aaaaaaaa", "data.fingerprint=bbbbbbbb"]
    for condition, record in found.items():
        assert find_run("best", tmp_path, where=[condition]).run_id == record.run_id

"""Sweeps: expansion as Hydra does it, zip, exclude, collapse, skip, and an exit status that tells the truth."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from support import Train

from sweeper.errors import UserError
from sweeper.sweep.execute import derived_name
from sweeper.sweep.expand import expand


def parsed(*overrides: str) -> Any:
    return OverridesParser.create().parse_overrides(list(overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ("a=1",),
        ("a=1,2", "b=x,y"),
        ("a=range(1,4)", "b=choice(p,q)", "c=3"),
        ("a='x,y',z", 'b="q"', "+c=[1,2],[3]"),
        ("a=1,2", "b=1,2", "a=3"),
        ("~a", "b={x:1},{x:2}"),
        ("a=sort(3,1,2)", "b=shuffle(1)"),
    ],
    ids=" ".join,
)
def test_expansion_is_hydras(overrides: tuple[str, ...]) -> None:
    assert expand(parsed(*overrides)) == BasicSweeper.split_arguments(parsed(*overrides), None)[0]


@pytest.mark.parametrize(
    ("overrides", "zips", "jobs"),
    [
        (("a=1,2", "b=x,y"), [["a", "b"]], ["a=1 b=x", "a=2 b=y"]),
        (("a=1,2", "c=7,8", "b=x,y"), [["b", "a"]], ["c=7 b=x a=1", "c=7 b=y a=2", "c=8 b=x a=1", "c=8 b=y a=2"]),
        (("a=1,2", "b=x,y", "c=3,4", "d=5,6"), [["a", "b"], ["c", "d"]], ["a=1 b=x c=3 d=5", "a=1 b=x c=4 d=6"]),
    ],
)
def test_zipped_keys_advance_together(overrides: tuple[str, ...], zips: list[list[str]], jobs: list[str]) -> None:
    assert [" ".join(job) for job in expand(parsed(*overrides), zips)][: len(jobs)] == jobs


@pytest.mark.parametrize(
    ("zips", "sentence"),
    [
        ([["a", "z"]], "sweep.zip names z, but what is swept is a, b"),
        ([["a", "c"]], "sweep.zip names c, but what is swept is a, b"),
        ([["a", "b"]], "sweep.zip needs keys of equally many values, but a has 2, b has 3"),
        ([["a", "b"], ["a", "c"]], "must name every key once, and no list may be empty"),
        ([["a", "a"]], "must name every key once, and no list may be empty"),
        ([[]], "must name every key once, and no list may be empty"),
    ],
)
def test_a_wrong_zip_is_a_sentence(zips: list[list[str]], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        expand(parsed("a=1,2", "b=1,2,3", "c=1"), zips)


def test_an_interval_is_no_grid() -> None:
    with pytest.raises(HydraException, match="a grid needs values"):
        expand(parsed("a=interval(0,1)"))


def plan(folder: Path) -> list[dict[str, Any]]:
    (file,) = (folder / "outputs" / "sweeps").glob("*/sweep.json")
    jobs: list[dict[str, Any]] = json.loads(file.read_text())["jobs"]
    return jobs


def test_equal_combinations_collapse_and_finished_ones_are_skipped(train: Train, tmp_path: Path) -> None:
    command = ("model=softmax,mlp", "activation=relu,selu", "epochs=2")
    dry = train(*command, "sweep.dry_run=true", flags=("-m",))
    assert "4 combinations: 3 to run, 1 equal to another" in dry.stdout
    assert "  model=mlp activation=selu: run (new)\n" in dry.stdout
    assert not (tmp_path / "outputs").exists()
    first = train(*command, flags=("-m",))
    assert first.returncode == 0, first.stderr
    assert [job["fate"] for job in plan(tmp_path)] == ["run", "equal", "run", "run"]
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 3
    again = train(*command, "target_acc=0.01", flags=("-m",))
    assert "4 combinations: 3 finished, 1 equal to another" in again.stdout
    assert "epoch 1/2" not in again.stdout
    results = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/result.json")]
    assert [result["epochs_to_target"] for result in results] == [1, 1, 1]
    same = train(*command, flags=("-m",))
    shown = [output.stdout[output.stdout.index("┏") :] for output in (first, same)]
    assert shown[0] == shown[1]


def test_one_failing_run_is_shown_when_it_fails_and_the_others_finish(train: Train) -> None:
    rules = "sweep.exclude=[{model:softmax,optimizer.lr:1e30}]"
    done = train("model=softmax,mlp", "optimizer=sgd", "optimizer.lr=1e30,0.1,0.2", "epochs=1", rules, flags=("-m",))
    assert done.returncode == 1
    assert "6 combinations: 5 to run, 1 excluded" in done.stdout
    assert done.stdout.index("diverged: the training loss") < done.stdout.rindex("epoch 1/1")  # said when it happened
    assert "5 runs: 1 diverged, 4 finished" in done.stdout
    assert "error: 1 of 5 runs did not finish: mlp-relu-sgd-image_folder-s0-" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("[{modl:mlp}]", "sweep.exclude names modl, which is neither a group nor a setting"),
        ("[{model:cnn}]", "sweep.exclude names model=cnn, but the sweep has mlp, softmax"),
        ("[{data:image_folder}]", "sweep.exclude leaves none of the 2 combinations"),
    ],
)
def test_a_wrong_exclusion_is_a_sentence(rule: str, sentence: str, train: Train, tmp_path: Path) -> None:
    done = train("model=softmax,mlp", f"sweep.exclude={rule}", flags=("-m",))
    assert done.returncode == 1
    assert f"error: {sentence}" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_an_exclusion_is_shown_as_it_is_written(train: Train) -> None:
    rule = ("sweep.exclude=[{patience:null,sweep.fail_fast:false}]", "sweep.dry_run=true")
    shown = train("model=softmax", "patience=null,3", *rule, flags=("-m",)).stdout
    assert "patience=null: excluded (patience=null,sweep.fail_fast=false)" in shown


def test_an_exclusion_may_name_a_list(train: Train) -> None:
    hidden = ("model=mlp", "model.hidden=[8],[9]", "sweep.dry_run=true")
    assert (
        "2 combinations: 1 to run, 1 excluded"
        in train(*hidden, "sweep.exclude=[{model.hidden:[8]}]", flags=("-m",)).stdout
    )
    refused = train(*hidden, "sweep.exclude=[{model.hidden:[7]}]", flags=("-m",)).stderr
    assert "sweep.exclude names model.hidden=[7], but the sweep has [8], [9]" in refused


def test_a_sweeps_name_fits_a_file_system() -> None:
    axes = [f"optimizer.a_long_name_{number}=1,2" for number in range(40)]
    assert len(derived_name(parsed(*axes))) < 120
    assert derived_name(parsed(*axes)) != derived_name(parsed(*axes[:-1], "optimizer.another=1,2"))


def test_an_experiment_that_is_a_sweep_by_itself(train: Train, tmp_path: Path) -> None:
    alone = train("experiment=o8_activations", "model=mlp,softmax", "model.hidden=null", "sweep.dry_run=true")
    assert "error: model.hidden=null" in alone.stderr  # the sweep was planned: mlp needs its hidden layers
    planned = train("experiment=o8_activations", "model=softmax", "sweep.dry_run=true")
    assert "3 combinations: 1 to run, 2 equal to another" in planned.stdout
    swept = train("experiment=o8_activations,p6_dropout", flags=("-m",))
    assert "an experiment that is a sweep by itself cannot be" in swept.stderr
    assert not (tmp_path / "outputs").exists()


def test_optuna_searches_with_the_value_a_run_returns_and_finds_its_trials_again(train: Train, tmp_path: Path) -> None:
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "model=mlp", "model.hidden=[8]", "epochs=1")
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "activation=relu,selu")
    first = train(*search, *space, flags=("-m",))
    assert first.returncode == 0, first.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/result.json")]
    assert len(results) == 3
    found = (tmp_path / "outputs" / "sweeps" / "optimization_results.yaml").read_text()
    assert f"best_value: {max(result['best_val_acc'] for result in results)}" in found
    again = train(*search, *space, flags=("-m",))
    assert again.stdout.count("finished already") == 3


def test_a_plan_of_another_version_is_refused_and_kept(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "outputs" / "sweeps" / "mine" / "sweep.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 99, "runs": []}')
    done = train("model=softmax,mlp", "sweep.name=mine", flags=("-m",))
    assert done.returncode == 1
    assert "sweep.json is damaged or of another version: remove" in done.stderr
    assert file.read_text() == '{"schema": 99, "runs": []}'
    assert not (tmp_path / "outputs" / "runs").exists()

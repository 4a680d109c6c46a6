"""Sweeps: expansion as Hydra does it, zip, exclusions, duplicates, finished runs, and the exit status."""

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
from sweeper.runs.states import State
from sweeper.sweep.compose import Composer
from sweeper.sweep.exclude import check_exclusions, matches
from sweeper.sweep.execute import advice, derived_name
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
        ([["a", "z"]], "sweep.zip: z is not swept; swept parameters: a, b"),
        ([["a", "c"]], "sweep.zip: c is not swept; swept parameters: a, b"),
        ([["a", "b"]], "sweep.zip: keys need the same number of values; a has 2, b has 3"),
        ([["a", "b"], ["a", "c"]], "sweep.zip=[['a', 'b'], ['a', 'c']]: a key occurs twice, or a list is empty"),
        ([["a", "a"]], "sweep.zip=[['a', 'a']]: a key occurs twice, or a list is empty"),
        ([[]], "sweep.zip=[[]]: a key occurs twice, or a list is empty"),
    ],
)
def test_a_wrong_zip_is_a_user_error(zips: list[list[str]], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        expand(parsed("a=1,2", "b=1,2,3", "c=1"), zips)


def test_an_interval_is_not_a_list_of_values() -> None:
    with pytest.raises(
        HydraException, match=r"a=interval\(0,1\) is not a list of values; use a=1,2,3 or a=range\(1,4\)"
    ):
        expand(parsed("a=interval(0,1)"))


def plan(folder: Path) -> list[dict[str, Any]]:
    (file,) = (folder / "outputs" / "sweeps").glob("*/sweep.json")
    jobs: list[dict[str, Any]] = json.loads(file.read_text())["jobs"]
    return jobs


def test_duplicates_train_once_and_finished_runs_are_skipped(train: Train, tmp_path: Path) -> None:
    command = ("model=softmax,mlp", "activation=relu,selu", "epochs=2")
    dry = train(*command, "sweep.dry_run=true", flags=("-m",))
    assert "4 combinations: 3 to run, 1 duplicate" in dry.stdout
    assert "  model=mlp activation=selu: new\n" in dry.stdout
    assert not (tmp_path / "outputs").exists()
    first = train(*command, flags=("-m",))
    assert first.returncode == 0, first.stderr
    assert [job["action"] for job in plan(tmp_path)] == ["train", "duplicate", "train", "train"]
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 3
    again = train(*command, flags=("-m",))
    assert "4 combinations: 3 finished, 1 duplicate" in again.stdout
    assert "3 of 3  model=softmax" in first.stdout
    assert " of 3  " not in again.stdout
    shown = [output.stdout[output.stdout.index("┏") :] for output in (first, again)]
    assert shown[0] == shown[1]


def test_a_failure_is_reported_immediately_and_the_other_runs_finish(train: Train) -> None:
    rules = "sweep.exclude=[{model:softmax,optimizer.lr:1e30}]"
    done = train("model=softmax,mlp", "optimizer=sgd", "optimizer.lr=1e30,0.1,0.2", "epochs=1", rules, flags=("-m",))
    assert done.returncode == 1
    assert "6 combinations: 5 to run, 1 excluded" in done.stdout
    failed = re.search(r"^failed: model=mlp optimizer.lr=1e\+?30 \w{10}: diverged: training loss is", done.stdout, re.M)
    assert failed is not None
    assert failed.start() < done.stdout.index("5 of 5  model=softmax optimizer.lr=0.")
    assert "to finish them: a smaller optimizer.lr" in done.stderr
    assert "5 runs: 1 diverged, 4 finished" in done.stdout
    assert "error: 1 of 5 runs did not finish: mlp-relu-sgd-image_folder-s0-" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("[{modl:mlp}]", "sweep.exclude: modl is neither a group nor a setting (did you mean model?)"),
        ('[{epochs:"30"}]', 'sweep.exclude: epochs="30" is a text, which no combination has; write 30'),
        ("[{model:cnn}]", "sweep.exclude: no combination has model=cnn; the sweep's values: mlp, softmax"),
        (
            "[{model:mlp,optimizer:adam}] optimizer=sgd,adam sweep.design=one_at_a_time",
            "sweep.exclude: no combination has model=mlp with optimizer=adam; leave that rule out",
        ),
        ("[{data:image_folder}]", "sweep.exclude: all 2 combinations are excluded"),
    ],
)
def test_a_wrong_exclusion_is_a_user_error(rule: str, sentence: str, train: Train, tmp_path: Path) -> None:
    done = train("model=softmax,mlp", *f"sweep.exclude={rule}".split(" "), flags=("-m",))
    assert done.returncode == 1
    assert f"error: {sentence}" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_an_exclusion_is_shown_as_typed(train: Train) -> None:
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
    assert "sweep.exclude: no combination has model.hidden=[7]; the sweep's values: [8], [9]" in refused


@pytest.mark.parametrize(
    ("overrides", "rule", "excluded"),
    [
        (("model=mlp_deep,mlp", "model.hidden=[8]"), "model:mlp_deep", ["model=mlp_deep"]),
        (("model=mlp_deep,mlp", "model.hidden=[8]"), "model:mlp", ["model=mlp"]),
        (("model=mlp_deep,mlp,softmax", "model.hidden=null"), "model.name:softmax", ["model=softmax"]),
        (("model=softmax", "dropout=none,light"), "dropout:light", ["dropout=light"]),
        (("model=softmax", "dropout=none,light,heavy"), "dropout.rate:0.1", ["dropout=light"]),
        (("model=softmax", "augmentation=none,flip"), "augmentation:flip", ["augmentation=flip"]),
        (("model=softmax", "augmentation=none,flip,flip_crop"), "augmentation.flip:random", ["flip", "flip_crop"]),
        (
            ("model=softmax,cnn", "augmentation=none,flip"),
            "augmentation:flip,model:cnn",
            ["model=cnn augmentation=flip"],
        ),
    ],
)
def test_a_preset_or_a_setting_is_excluded(
    overrides: tuple[str, ...], rule: str, excluded: list[str], small: list[str], composer: Composer
) -> None:
    parsed_overrides = parsed(*small, *overrides, f"sweep.exclude=[{{{rule}}}]")
    combinations = [(job, composer(job)) for job in expand(parsed_overrides)]
    check_exclusions([composed for _, composed in combinations])
    left_out = [" ".join(job) for job, composed in combinations if matches(composed, composed.config.sweep.exclude[0])]
    assert len(left_out) == len(excluded)
    assert all(text in job for text, job in zip(excluded, left_out, strict=True))


def test_presets_of_the_same_settings_are_one_run(train: Train, tmp_path: Path) -> None:
    models = ("model=mlp_deep,mlp", "model.hidden=[1024,512,256]", "sweep.dry_run=true")
    shown = train(*models, flags=("-m",)).stdout
    assert re.search(r"  model=mlp: duplicate of mlp-relu-adam-\S+\n", shown)
    assert "model has no effect: all values map to the same runs" in shown
    assert "2 combinations: 1 to run, 1 duplicate" in shown
    rates = train("model=mlp", "dropout=light,heavy", "dropout.rate=0.1", "sweep.dry_run=true", flags=("-m",)).stdout
    assert "2 combinations: 1 to run, 1 duplicate" in rates
    steps = ("augmentation=none,flip", "augmentation.flip=random,none", "sweep.dry_run=true")
    assert "4 combinations: 2 to run, 2 duplicates" in train("model=softmax", *steps, flags=("-m",)).stdout


@pytest.mark.parametrize(("launcher", "is_ignored"), [("basic", True), ("slurm", False)])
def test_a_launcher_that_always_waits_warns_of_wait_false(launcher: str, is_ignored: bool, train: Train) -> None:
    planned = train(
        *("model=softmax", f"hydra/launcher={launcher}", "sweep.wait=false", "sweep.dry_run=true"), flags=("-m",)
    )
    assert planned.returncode == 0, planned.stderr
    warning = f"sweep.wait=false is ignored: hydra/launcher={launcher} waits for its runs"
    assert (warning in planned.stdout) == is_ignored


def test_a_sweeps_name_fits_a_file_system() -> None:
    axes = [f"optimizer.a_long_name_{number}=1,2" for number in range(40)]
    assert len(derived_name(parsed(*axes))) < 120
    assert derived_name(parsed(*axes)) != derived_name(parsed(*axes[:-1], "optimizer.another=1,2"))


def test_an_experiment_that_defines_a_sweep(train: Train, tmp_path: Path) -> None:
    alone = train("experiment=o8_activations", "model=mlp,softmax", "model.hidden=null", "sweep.dry_run=true")
    assert "error: model.hidden=null" in alone.stderr  # the sweep was planned: mlp needs its hidden layers
    planned = train("experiment=o8_activations", "model=softmax", "sweep.dry_run=true")
    assert "3 combinations: 1 to run, 2 duplicates" in planned.stdout
    swept = train("experiment=o8_activations,p6_dropout", flags=("-m",))
    assert "an experiment that defines its own sweep cannot be swept over" in swept.stderr
    assert not (tmp_path / "outputs").exists()


def test_optuna_searches_with_the_value_a_run_returns(train: Train, tmp_path: Path) -> None:
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "model=mlp", "model.hidden=[8]", "epochs=1")
    done = train(*search, "optimizer.lr=tag(log,interval(1e-4,1e-1))", flags=("-m",))
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/result.json")]
    assert len(results) == 2
    (found,) = tmp_path.glob("outputs/sweeps/optuna-*/optimization_results.yaml")
    assert f"best_value: {max(result['best_val_acc'] for result in results)}" in found.read_text()
    assert "best of 2 trials" in done.stdout


def test_a_plan_of_an_earlier_version_is_replaced(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "outputs" / "sweeps" / "mine" / "sweep.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 1, "jobs": []}')
    assert train("model=softmax", "epochs=1", "sweep.name=mine", flags=("-m",)).returncode == 0
    assert '"schema": 2' in file.read_text()


def test_a_plan_of_another_version_is_refused_and_kept(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "outputs" / "sweeps" / "mine" / "sweep.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"schema": 99, "runs": []}')
    done = train("model=softmax,mlp", "sweep.name=mine", flags=("-m",))
    assert done.returncode == 1
    assert "sweep.json is damaged or was written by another version: remove" in done.stderr
    assert "sweep.name=NAME" in done.stderr
    assert file.read_text() == '{"schema": 99, "runs": []}'
    assert not (tmp_path / "outputs" / "runs").exists()


def test_a_retraining_that_never_starts_is_no_finished_run(train: Train, tmp_path: Path) -> None:
    """The record is still that of the earlier attempt, which the plan replaces."""
    sweep = ("model=softmax", "epochs=1", "seed=0,1")
    assert train(*sweep, flags=("-m",)).returncode == 0
    (tmp_path / "outputs" / "stale").touch()  # where the earlier attempts would go
    done = train(*sweep, "sweep.reuse=none", flags=("-m",))
    assert done.returncode == 1
    assert "2 runs did not finish; retrying" in done.stdout + done.stderr
    assert "error: 2 of 2 runs did not finish: " in done.stderr and done.stderr.count("(waiting)") == 2
    (tmp_path / "outputs" / "stale").unlink()
    assert train(*sweep, "++sweep.reuse='none'", flags=("-m",)).returncode == 0
    assert len(list((tmp_path / "outputs" / "stale").iterdir())) == 2
    (file,) = (tmp_path / "outputs" / "sweeps").glob("*/sweep.json")
    assert json.loads(file.read_text())["command"].endswith("seed=0,1")  # to resume, without training all again


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ({State.FAILED, State.LOST}, "rerun the same command to train them again"),
        ({State.DIVERGED}, "a smaller optimizer.lr, or gradient clipping (grad_clip=1), for runs that diverged"),
        ({State.DIVERGED, State.FAILED}, "; rerun the same command to train the others again"),
    ],
)
def test_an_end_with_failures_says_what_to_do(states: set[State], text: str) -> None:
    assert advice(states).endswith(text)
